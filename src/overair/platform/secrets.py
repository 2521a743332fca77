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


def digest(secret: str) -> bytes:
    """Return what is stored of a random secret."""
    return hashlib.sha256(secret.encode()).digest()


def same(left: bytes, right: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left, right)
