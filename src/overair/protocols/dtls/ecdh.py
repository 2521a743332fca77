"""The ephemeral key share of the ECDHE suites, on secp256r1 (RFC 8422 section 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from overair.protocols.dtls.errors import WireError

_CURVE: Final = ec.SECP256R1()
_POINT_BYTES: Final = 65
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class KeyShare:
    """A private key made from the engine's own random bytes; `point` is what the peer gets."""

    __slots__ = ("_key", "point")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        # 64 bits more than the order has, so that the remainder favours no key (FIPS 186-5 A.2.1).
        scalar = int.from_bytes(random(40), "big") % (_ORDER - 1) + 1
        self._key = ec.derive_private_key(scalar, _CURVE)
        self.point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def exchange(self, point: bytes) -> bytes:
        """The shared secret, 32 bytes; WireError if the point is not on the curve, or compressed."""
        if len(point) != _POINT_BYTES:
            raise WireError("point: not on secp256r1, or not uncompressed")
        try:
            peer = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
        except ValueError:
            raise WireError("point: not on secp256r1") from None
        return self._key.exchange(ec.ECDH(), peer)
