"""Passwords under argon2id (RFC 9106), which is meant to be slow, and so has threads of its own."""

import asyncio
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import argon2

# Each hash holds 64 MiB while it runs. More at once would not finish sooner on the cores
# that the rest of the service also needs; later ones wait in line.
HASHING_THREADS = 2


class Passwords:
    """Makes and checks password hashes, at most :data:`HASHING_THREADS` at a time."""

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        self._nobody = _hash_of_nothing(self._hasher)
        # Threads start with the first hash, so a command line that hashes nothing pays nothing.
        self._threads = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="overair-password")

    async def hash(self, password: str) -> str:
        """Return what is stored of *password*: argon2's own text form, with its salt and parameters."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Check *password*. None stands for an unknown user: False, for the same price."""
        known = self._nobody if hashed is None else hashed
        right = await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, known, password)
        return right and hashed is not None

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except argon2.exceptions.VerifyMismatchError:
            return False


def _hash_of_nothing(hasher: argon2.PasswordHasher) -> str:
    """Return a well-formed hash that no known password has, with this hasher's own parameters."""
    salt, hashed = (b64encode(bytes(n)).decode().rstrip("=") for n in (hasher.salt_len, hasher.hash_len))
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${hashed}"
