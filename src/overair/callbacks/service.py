"""What doors and command line do with callbacks: register, look, and look after what was sent."""

import asyncio

from overair.callbacks import outbox, rules, sql
from overair.callbacks.model import Listener, ListenerSecret, ListenerStanding, Logged, NoListener, Version
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.sealing import Sealer
from overair.platform.secrets import random_text

SECRET_CHARACTERS = 43  # 256 bits, the strength of the signature


class CallbackService:
    """The use cases. Secrets are sealed; the master key is asked for when the first one is needed."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._limits = limits
        self._is_unlocked = False

    async def register(self, account_id: int, version: Version, url: str | None) -> Listener:
        """Have the account's messages sent to *url*, in the place of what was registered.

        The first registration makes the secret; later ones keep it. Raises
        :class:`~overair.callbacks.model.InvalidUrl`, or
        :class:`~overair.platform.sealing.MasterKeyError` where nothing can be sealed.
        """
        checked = rules.checked_url(url, self._limits)
        await self._unlock()
        secret = random_text(SECRET_CHARACTERS).encode()
        sealed = self._sealer.seal(rules.secret_owner(account_id, version), secret)
        now_ms = self._clock.now_ms()
        return await self._database.write(
            lambda connection: sql.register(connection, account_id, version, checked, sealed, now_ms)
        )

    async def listener(self, account_id: int, version: Version) -> Listener | None:
        """Return what the account registered."""
        return await self._database.read(lambda connection: sql.listener(connection, account_id, version))

    async def deregister(self, account_id: int, version: Version) -> None:
        """Send nothing any more, and drop what waits; does nothing where nothing is registered."""
        now_ms = self._clock.now_ms()
        await self._database.write(lambda connection: sql.deregister(connection, account_id, version, now_ms))

    async def standings(self, account_id: int) -> list[ListenerStanding]:
        """Return the account's listeners, by version, and how many messages wait for each."""
        return await self._database.read(lambda connection: sql.standings(connection, account_id))

    async def waiting(self) -> list[ListenerStanding]:
        """Return the listeners of all accounts that messages wait for, those with the most first."""
        count = self._limits.callbacks_at_once
        return await self._database.read(lambda connection: sql.waiting_standings(connection, count))

    async def show(self, account_id: int, version: Version) -> ListenerSecret:
        """Return the account's listener with its secret; :class:`NoListener` if there is none."""
        listener = await self.listener(account_id, version)
        if listener is None:
            raise NoListener(version)
        return ListenerSecret(listener, await self.secret(listener))

    async def secret(self, listener: Listener) -> str:
        """Return what messages to a listener are signed with.

        :class:`~overair.platform.sealing.MasterKeyError` where it does not open.
        """
        await self._unlock()
        owner = rules.secret_owner(listener.account_id, listener.version)
        return self._sealer.open(owner, listener.sealed_secret).decode()

    async def log(self, account_id: int, count: int) -> list[Logged]:
        """Return up to *count* attempts to deliver messages of the account, newest first."""
        shown = min(count, self._limits.callback_log_items)
        return await self._database.read(lambda connection: sql.log(connection, account_id, shown))

    async def purge(self) -> int:
        """End what waited too long and delete what ended long ago; return how many were deleted.

        Call it now and then.
        """
        now_ms, limits = self._clock.now_ms(), self._limits
        await self._database.write(lambda connection: outbox.expire(connection, now_ms, limits))
        total, deleted = 0, outbox.PURGE_ROWS
        while deleted == outbox.PURGE_ROWS:
            deleted = await self._database.write(lambda connection: outbox.purge(connection, now_ms, limits))
            total += deleted
        return total

    async def _unlock(self) -> None:
        if not self._is_unlocked:
            sample = await self._database.read(sql.sealed_sample)
            await asyncio.to_thread(self._sealer.unlock, sample)
            self._is_unlocked = True
