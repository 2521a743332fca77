"""What the doors and the command line do with licences."""

from collections.abc import Sequence

from sqlalchemy import Connection

from overair.accounts.model import Account
from overair.accounts.rules import checked_licenses
from overair.devices.model import imei_number
from overair.licenses import sql, store
from overair.licenses.model import (
    Assigned,
    CancelScheduled,
    Counters,
    LicensePage,
    RemovalCandidates,
    Removed,
)
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits


def cancel_nothing(_connection: Connection, _imeis: Sequence[int]) -> None:
    """Cancel the upgrades of devices where nothing schedules any."""


def no_candidates(_connection: Connection, _account_id: int) -> Sequence[int]:
    """Return the list of an account that has none."""
    return ()


class LicenseService:
    """The use cases. Each is one transaction; the bounds of lists are the caller's."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        limits: Limits,
        *,
        cancel_scheduled: CancelScheduled = cancel_nothing,
        removal_candidates: RemovalCandidates = no_candidates,
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._cancel_scheduled = cancel_scheduled
        self._removal_candidates = removal_candidates

    async def counters(self, account_id: int) -> Counters:
        """Return how many licences an account has bought and assigned."""
        return await self._database.read(lambda connection: sql.counters(connection, account_id))

    async def page(self, account_id: int, after: str | None) -> LicensePage:
        """Return the licences that follow the IMEI *after*, at most a page of them."""
        last = -1 if after is None else imei_number(after)
        count = self._limits.page_size

        def read(connection: Connection) -> LicensePage:
            rows = sql.page_rows(connection, account_id, last, count + 1)
            return LicensePage(rows[:count], len(rows) > count, sql.counters(connection, account_id))

        return await self._database.read(read)

    async def assign(self, account: Account, imeis: Sequence[str]) -> Assigned:
        """Give devices licences, first come first served; :class:`DeviceError` for what is no IMEI."""
        numbers, now_ms = [imei_number(imei) for imei in imeis], self._clock.now_ms()

        def write(connection: Connection) -> Assigned:
            outcomes = store.assign(connection, account, numbers, now_ms)
            return Assigned(outcomes, sql.counters(connection, account.id))

        return await self._database.write(write)

    async def remove(self, account: Account, imeis: Sequence[str]) -> Removed:
        """Take licences away, and cancel what was scheduled for their devices.

        Not where an upgrade runs, or was completed since. :class:`DeviceError` for what is no IMEI.
        """
        numbers, now_ms = [imei_number(imei) for imei in imeis], self._clock.now_ms()

        def write(connection: Connection) -> Removed:
            outcomes = store.remove(connection, account, numbers, now_ms, self._cancel_scheduled)
            return Removed(outcomes, sql.counters(connection, account.id))

        return await self._database.write(write)

    async def set_licenses(self, account_id: int, bought: int) -> Counters:
        """Change how many licences an account has bought, and take away those that are too many.

        As long as upgrades run, more can be assigned than bought. Raises :class:`InvalidField`.
        """
        wanted, now_ms = checked_licenses(bought), self._clock.now_ms()

        def write(connection: Connection) -> Counters:
            store.set_licenses(
                connection, account_id, wanted, now_ms, self._removal_candidates, self._cancel_scheduled
            )
            return sql.counters(connection, account_id)

        return await self._database.write(write)
