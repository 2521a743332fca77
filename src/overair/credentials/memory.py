"""The in-memory twin of the credential store: same contract, nothing kept. For tests and simulations."""

from collections.abc import Sequence

from overair.credentials.model import (
    CredentialError,
    Decide,
    KeysRefused,
    KeysState,
    Known,
    Owned,
    PskTimes,
    StoredPsk,
)
from overair.credentials.ring import PskRow
from overair.credentials.rules import is_valid


class MemoryCredentialStore:
    """Keys in a dictionary, by identity, newest first; it is its own reader."""

    def __init__(self) -> None:
        self._keys: dict[bytes, tuple[StoredPsk, ...]] = {}

    async def add(self, wanted: Sequence[StoredPsk], decide: Decide) -> None:
        before = self._keys.copy()
        errors: list[tuple[int, CredentialError]] = []
        for place, one in enumerate(wanted):
            try:
                self._keys[one.identity] = decide(one, self._known(one))
            except CredentialError as refused:
                errors.append((place, refused))
        if errors:
            self._keys = before
            raise KeysRefused(errors)

    async def check(self, wanted: Sequence[StoredPsk], decide: Decide) -> None:
        errors: list[tuple[int, CredentialError]] = []
        for place, one in enumerate(wanted):
            try:
                decide(one, self._known(one))
            except CredentialError as refused:
                errors.append((place, refused))
        if errors:
            raise KeysRefused(errors)

    async def of_device(self, imei: int) -> list[PskTimes]:
        return [
            PskTimes(key.identity, key.created_ms, key.expires_ms)
            for _, keys in sorted(self._keys.items())
            for key in keys
            if key.imei == imei
        ]

    async def remove(self, imei: int, identity: bytes) -> bool:
        keys = self._keys.get(identity, ())
        if not keys or keys[0].imei != imei:
            return False
        del self._keys[identity]
        return True

    async def purge(self, now_ms: int) -> int:
        before = self._keys
        self._keys = {
            identity: left
            for identity, keys in before.items()
            if (left := tuple(key for key in keys if is_valid(key.expires_ms, now_ms)))
        }
        return sum(map(len, before.values())) - sum(map(len, self._keys.values()))

    async def sample(self) -> tuple[bytes, bytes] | None:
        return next(((keys[0].identity, keys[0].sealed) for keys in self._keys.values()), None)

    async def state(self) -> KeysState:
        keys = [key for keys in self._keys.values() for key in keys]
        ids, times = (hash(key.sealed) for key in keys), (key.created_ms for key in keys)
        return KeysState(len(keys), sum(ids), sum(times))

    async def owned(self, now_ms: int) -> dict[bytes, Owned]:
        return {
            identity: Owned(keys[0].imei, min(times))
            for identity, keys in self._keys.items()
            if (times := [key.created_ms for key in keys if is_valid(key.expires_ms, now_ms)])
        }

    def reader(self) -> "MemoryCredentialStore":
        return self

    def keys_of(self, identity: bytes) -> Sequence[PskRow]:
        return [(key.imei, key.sealed, key.expires_ms) for key in self._keys.get(identity, ())]

    def expiries_of(self, imei: int) -> Sequence[int | None]:
        return [key.expires_ms for keys in self._keys.values() for key in keys if key.imei == imei]

    def close(self) -> None:
        """Nothing to give back."""

    def _known(self, wanted: StoredPsk) -> Known:
        identities = (keys[0].identity for keys in self._keys.values() if keys[0].imei == wanted.imei)
        return Known(self._keys.get(wanted.identity, ()), frozenset(identities))
