"""Cookies that prove an address, without a trace of it kept (RFC 6347 section 4.2.1)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from overair.protocols.dtls.rotation import Rotating

COOKIE_BYTES: Final = 16


class Cookies:
    """Makes and checks cookies; one is good for `seconds`, and at most twice as long."""

    __slots__ = ("_secrets",)

    def __init__(self, random: Callable[[int], bytes], seconds: float) -> None:
        self._secrets = Rotating(lambda: HMAC(random(32), SHA256()), seconds)

    def make(self, address: Hashable, bound: bytes, now: float) -> bytes:
        """The cookie for an address and what its ClientHello says."""
        return _cookie(self._secrets.at(now)[0], address, bound)

    def is_valid(self, cookie: bytes, address: Hashable, bound: bytes, now: float) -> bool:
        """Whether `make` gave out this cookie lately."""
        return any(bytes_eq(cookie, _cookie(secret, address, bound)) for secret in self._secrets.at(now))


def _cookie(secret: HMAC, address: Hashable, bound: bytes) -> bytes:
    mac = secret.copy()
    mac.update(repr(address).encode())
    mac.update(b"\0")
    mac.update(bound)
    return mac.finalize()[:COOKIE_BYTES]
