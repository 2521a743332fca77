"""What the doors and the command line do with keys of devices."""

import asyncio
import secrets
from collections.abc import Sequence

from overair.credentials import rules
from overair.credentials.model import KeysRefused, Known, NewPsk, PskTimes, StoredPsk, UnknownIdentity
from overair.credentials.ring import KeyRing
from overair.credentials.store import CredentialStore
from overair.credentials.watch import KeyWatch
from overair.platform.clock import Clock
from overair.platform.limits import Limits
from overair.platform.sealing import Sealer
from overair.platform.secrets import same


class CredentialService:
    """The use cases. None of them returns a key that is stored; the key ring, for handshakes, does.

    It does not know devices: whether an IMEI is one, and whose, is asked before.
    """

    def __init__(self, store: CredentialStore, sealer: Sealer, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._limits = limits

    async def start(self) -> None:
        """Have the master key at hand, made when it is first needed; :class:`MasterKeyError` if unusable.

        To be called before :meth:`key_ring` is used. What adds keys calls it by itself.
        """
        sample = await self._store.sample()
        await asyncio.to_thread(self._sealer.unlock, sample)

    def prepared(self, imei: int, *, identity: bytes | None = None, key: bytes | None = None) -> NewPsk:
        """Return what is to be added: *identity* is ``urn:imei:…`` and *key* 16 random bytes by default."""
        return NewPsk(
            imei,
            rules.checked_identity(rules.default_identity(imei) if identity is None else identity),
            rules.checked_key(secrets.token_bytes(rules.NEW_KEY_BYTES) if key is None else key),
        )

    async def add_psk(
        self, account_id: int, imei: int, *, identity: bytes | None = None, key: bytes | None = None
    ) -> NewPsk:
        """Add a key to a device and return it, this once; see :meth:`prepared` for what is left out.

        The keys that the identity had stay valid for some days. The same key again changes nothing.
        Raises :class:`InvalidPsk`, :class:`IdentityTaken`, :class:`TooManyIdentities` or
        :class:`TooManyKeys`.
        """
        made = self.prepared(imei, identity=identity, key=key)
        try:
            await self.add(account_id, [made])
        except KeysRefused as refused:
            raise refused.errors[0][1] from None
        return made

    async def add(self, account_id: int, wanted: Sequence[NewPsk]) -> None:
        """Add keys of several devices of an account: all, or none with a :class:`KeysRefused`."""
        if wanted:
            await self._store.add(await self._sealed(account_id, wanted), self._decide)

    async def check(self, account_id: int, wanted: Sequence[NewPsk]) -> None:
        """Raise the :class:`KeysRefused` that :meth:`add` would raise now, for identities all different."""
        if wanted:
            await self._store.check(await self._sealed(account_id, wanted), self._decide)

    async def identities(self, imei: int) -> list[PskTimes]:
        """Return the valid keys of a device, by identity, the current one of each first; times only."""
        now_ms = self._clock.now_ms()
        keys = await self._store.of_device(imei)
        return [key for key in keys if rules.is_valid(key.expires_ms, now_ms)]

    async def remove(self, imei: int, identity: bytes) -> None:
        """Delete all keys of a device's identity; :class:`UnknownIdentity` if it has none of that name."""
        if not await self._store.remove(imei, identity):
            raise UnknownIdentity(imei, identity)

    async def purge(self) -> int:
        """Delete the keys that have expired; return how many. Call it now and then."""
        return await self._store.purge(self._clock.now_ms())

    def key_ring(self) -> KeyRing:
        """Return what handshakes find keys by; the caller closes it."""
        return KeyRing(self._store.reader(), self._sealer, self._clock)

    def key_watch(self, ring: KeyRing) -> KeyWatch:
        """Return what notices that keys came or went, for this *ring* and for whoever listens."""
        return KeyWatch(self._store, ring, self._clock)

    async def _sealed(self, account_id: int, wanted: Sequence[NewPsk]) -> list[StoredPsk]:
        await self.start()
        now_ms = self._clock.now_ms()
        seal = self._sealer.seal
        return [
            StoredPsk(new.identity, new.imei, account_id, seal(new.identity, new.key), now_ms)
            for new in wanted
        ]

    def _decide(self, wanted: StoredPsk, known: Known) -> tuple[StoredPsk, ...]:
        if not known.keys:
            return rules.keys_after(wanted, known, (), self._limits)
        key = self._sealer.open(wanted.identity, wanted.sealed)
        alike = [old for old in known.keys if same(self._sealer.open(old.identity, old.sealed), key)]
        return rules.keys_after(wanted, known, alike, self._limits)
