"""Secrets from secrets: the pseudorandom function and what TLS derives with it.

Sources: RFC 5246 sections 5, 6.3, 7.4.9 and 8.1; RFC 7627 section 4 (extended master secret); RFC 4279
section 2 and RFC 5489 section 2 (premaster secret of PSK suites). All suites here use SHA-256.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

_SHA256: Final = SHA256()
DIGEST_BYTES: Final = 32
MASTER_SECRET_BYTES: Final = 48
VERIFY_DATA_BYTES: Final = 12


class Transcript(Protocol):
    """The running hash over the messages of a handshake."""

    def update(self, data: bytes, /) -> None:
        """Take a message."""

    def digest(self) -> bytes:
        """The hash so far; it goes on."""


class Prf:
    """The pseudorandom function under one secret: the keyed HMAC is set up once, then copied."""

    __slots__ = ("_keyed",)

    def __init__(self, secret: bytes) -> None:
        self._keyed = HMAC(secret, _SHA256)

    def __call__(self, label: bytes, seed: bytes, size: int) -> bytes:
        """Return `size` bytes of P_SHA256 over label and seed (RFC 5246 section 5)."""
        keyed = self._keyed
        a = seed = label + seed
        output = b""
        while len(output) < size:
            mac = keyed.copy()
            mac.update(a)
            a = mac.finalize()
            mac = keyed.copy()
            mac.update(a + seed)
            output += mac.finalize()
        return output[:size]


def new_transcript() -> Transcript:
    """One that took nothing yet."""
    # The standard library's costs a quarter of `cryptography`'s to look at; both are OpenSSL's.
    return hashlib.sha256()


def psk_premaster(psk: bytes, other: bytes | None = None) -> bytes:
    """The premaster secret: `other` is the ECDH secret, as many zeros as the key is long without one."""
    if other is None:
        size = len(psk).to_bytes(2, "big")
        return b"".join((size, bytes(len(psk)), size, psk))
    return len(other).to_bytes(2, "big") + other + len(psk).to_bytes(2, "big") + psk


def master_secret(premaster: bytes, client_random: bytes, server_random: bytes) -> bytes:
    """48 bytes, the old way (RFC 5246 section 8.1)."""
    return Prf(premaster)(b"master secret", client_random + server_random, MASTER_SECRET_BYTES)


def extended_master_secret(premaster: bytes, session_hash: bytes) -> bytes:
    """48 bytes bound to the whole handshake (RFC 7627 section 4)."""
    return Prf(premaster)(b"extended master secret", session_hash, MASTER_SECRET_BYTES)


def key_block(master: Prf, client_random: bytes, server_random: bytes, size: int) -> bytes:
    """The keys of both directions; here the server's random comes first (RFC 5246 section 6.3)."""
    return master(b"key expansion", server_random + client_random, size)


def client_verify_data(master: Prf, transcript: Transcript) -> bytes:
    """What the client's Finished says: 12 bytes."""
    return master(b"client finished", transcript.digest(), VERIFY_DATA_BYTES)


def server_verify_data(master: Prf, transcript: Transcript) -> bytes:
    """What the server's Finished says: 12 bytes."""
    return master(b"server finished", transcript.digest(), VERIFY_DATA_BYTES)


def key_fingerprint(psk: bytes) -> bytes:
    """8 bytes that tell whether a session was made with this key, and nothing else of it."""
    return hashlib.sha256(b"overair dtls session\0" + psk).digest()[:8]
