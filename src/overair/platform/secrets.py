"""How secrets are made and kept: passwords under argon2id, random secrets as SHA-256 digests.

A password is guessable, so its hash must be slow. Keys and tokens are 128 random bits or more,
which nobody guesses, so a plain digest keeps them as well, and costs a request nothing.
"""

import hashlib
import hmac
import secrets
import string

_LETTERS = string.ascii_letters + string.digits


def random_text(length: int) -> str:
    """Return random letters and digits: 5.95 bits each."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


class RandomPool:
    """Random bytes of the system, fetched many at a time: asking for a few costs a system call, some µs."""

    def __init__(self, pool_bytes: int = 4096) -> None:
        self._pool_bytes = pool_bytes
        self._pool = b""
        self._used = 0

    def take(self, size: int) -> bytes:
        """Return *size* bytes that were never given out before."""
        start, self._used = self._used, self._used + size
        if self._used > len(self._pool):
            self._pool = secrets.token_bytes(max(self._pool_bytes, size))
            start, self._used = 0, size
        return self._pool[start : self._used]


def digest(secret: str) -> bytes:
    """Return what is stored of a random secret."""
    return hashlib.sha256(secret.encode()).digest()


def same(left: bytes, right: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left, right)
