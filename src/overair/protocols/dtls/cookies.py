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
        current, before = self._secrets.at(now)
        return bytes_eq(cookie, _cookie(current, address, bound)) or bytes_eq(
            cookie, _cookie(before, address, bound)
        )


def _cookie(secret: HMAC, address: Hashable, bound: bytes) -> bytes:
    mac = secret.copy()
    mac.update(b"%a\0%b" % (address, bound))
    return mac.finalize()[:COOKIE_BYTES]
