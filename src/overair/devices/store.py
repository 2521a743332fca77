"""Where devices and registrations are kept."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection, insert, select

from overair.devices import group, sql, tables
from overair.devices.changes import Register
from overair.devices.model import (
    AddRefused,
    Change,
    Device,
    DeviceError,
    DevicePage,
    Observed,
    Operation,
    Outcome,
    Registration,
    imei_text,
)
from overair.devices.render import with_last_connection
from overair.platform.database import Database

Done = Callable[[Any], None]
OnOperationEnded = Callable[[Connection, Operation, str, int], None]
"""Gets the operation, how it ended, and the time in ms."""


class DeviceStore(Protocol):
    """What the service needs of a store; the in-memory twin has the same contract tests."""

    def submit(self, change: Change, done: Done) -> None:
        """Apply *change* to its device in the next group; *done* gets its :class:`Outcome` or the error."""
        ...

    def admit(self, change: Register, done: Done) -> None:
        """Store a registration without bringing the record up to date; *done* gets what was Admitted.

        An unknown device is taken into the record at once where it is to be enrolled.
        """
        ...

    async def settle(self, imeis: Sequence[int]) -> None:
        """Take what registrations said into the records of their devices, where that is still to be done."""
        ...

    async def unsettled(self) -> list[int]:
        """Return the devices for which that is still to be done."""
        ...

    async def not_inventoried(self, age_ms: int) -> set[int]:
        """Return the devices whose last inventory was older than that when they registered."""
        ...

    async def apply(self, changes: Sequence[Change], *, atomic: bool = False) -> list[Outcome | DeviceError]:
        """Apply changes in one transaction. With *atomic*, one refusal undoes all: :class:`AddRefused`."""
        ...

    def touch(self, imei: int, updated_ms: int, done: Done) -> None:
        """Move the time from which a registration's lifetime counts; *done* gets None or the error."""
        ...

    def end_registration(self, imei: int, location: str, done: Done) -> None:
        """Forget where the device is, unless it registered again; what is known of its last uplink stays."""
        ...

    async def heard(self, uplinks: Sequence[tuple[int, int]]) -> None:
        """Store the last uplink of registered devices: (imei, time in ms)."""
        ...

    async def get(self, imei: int) -> Device | None: ...

    async def page(self, account_id: int, protocol: str | None, after: int, count: int) -> DevicePage: ...

    async def records(
        self, account_id: int, imeis: Sequence[int], protocol: str | None = None
    ) -> dict[int, bytes]:
        """Return the encoded records, as owners see them, of those that the account has.

        With a *protocol*, only of those that have it.
        """
        ...

    async def registrations(self) -> list[Registration]: ...

    async def observe(self, observed: Observed) -> None:
        """Keep an observation, in the place of an older one of the same path."""
        ...

    async def observations(self) -> list[Observed]:
        """Return the observations of registrations that are still the same."""
        ...

    async def add_operation(self, operation: Operation) -> None: ...

    async def open_operations(self) -> list[Operation]: ...

    async def end_operation(self, operation_id: str, outcome: str, now_ms: int) -> None: ...


class SqlDeviceStore:
    """Devices in SQL; every write goes through the database's group commit.

    *on_operation_ended* is called in the transaction in which an operation ends.
    """

    def __init__(self, database: Database, on_operation_ended: OnOperationEnded | None = None) -> None:
        self._database = database
        self._on_operation_ended = on_operation_ended

    def submit(self, change: Change, done: Done) -> None:
        self._database.submit(group.write_group, change, done)

    def admit(self, change: Register, done: Done) -> None:
        self._database.submit(group.write_group, group.Admit(change), done)

    async def settle(self, imeis: Sequence[int]) -> None:
        await self._database.write(lambda connection: group.settle(connection, imeis))

    async def unsettled(self) -> list[int]:
        rows = await self._database.read(lambda connection: connection.execute(sql.unsettled()).all())
        return [row[0] for row in rows]

    async def not_inventoried(self, age_ms: int) -> set[int]:
        query = sql.not_inventoried(age_ms)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {row[0] for row in rows}

    async def apply(self, changes: Sequence[Change], *, atomic: bool = False) -> list[Outcome | DeviceError]:
        return await self._database.write(lambda connection: _apply(connection, changes, atomic=atomic))

    def touch(self, imei: int, updated_ms: int, done: Done) -> None:
        self._database.submit(group.write_group, group.Touch(imei, updated_ms), done)

    def end_registration(self, imei: int, location: str, done: Done) -> None:
        self._database.submit(group.write_group, group.End(imei, location), done)

    async def heard(self, uplinks: Sequence[tuple[int, int]]) -> None:
        await self._database.write(lambda connection: sql.store_uplinks(connection, uplinks))

    async def get(self, imei: int) -> Device | None:
        return await self._database.read(lambda connection: sql.load_state(connection, imei))

    async def page(self, account_id: int, protocol: str | None, after: int, count: int) -> DevicePage:
        rows = await self._database.read(
            lambda connection: sql.page_rows(connection, account_id, protocol, after, count + 1)
        )
        shown = rows[:count]
        last = imei_text(shown[-1][0]) if shown else None
        return DevicePage([row[1] for row in shown], last, more=len(rows) > count)

    async def records(
        self, account_id: int, imeis: Sequence[int], protocol: str | None = None
    ) -> dict[int, bytes]:
        if not imeis:
            return {}
        rows = await self._database.read(lambda connection: sql.record_rows(connection, account_id, imeis))
        return {
            imei: with_last_connection(document, uplink_ms) if shown else document
            for imei, spoken, document, shown, uplink_ms in rows
            if protocol in (None, spoken)
        }

    async def registrations(self) -> list[Registration]:
        return await self._database.read(sql.load_registrations)

    async def observe(self, observed: Observed) -> None:
        await self._database.write(lambda connection: sql.store_observations(connection, [observed]))

    async def observations(self) -> list[Observed]:
        rows = await self._database.read(lambda connection: connection.execute(sql.live_observations()).all())
        return [Observed(*row) for row in rows]

    async def add_operation(self, operation: Operation) -> None:
        row = msgspec.structs.asdict(operation)
        await self._database.write(
            lambda connection: connection.execute(insert(tables.operations).values(row))
        )

    async def open_operations(self) -> list[Operation]:
        columns = [tables.operations.c[name] for name in Operation.__struct_fields__]
        query = (
            select(*columns)
            .where(tables.operations.c.ended_ms.is_(None))
            .order_by(tables.operations.c.created_ms)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [Operation(*row) for row in rows]

    async def end_operation(self, operation_id: str, outcome: str, now_ms: int) -> None:
        def end(connection: Connection) -> None:
            ended = sql.end_operation(connection, operation_id, outcome, now_ms)
            if ended and self._on_operation_ended is not None:
                operation = sql.load_operation(connection, operation_id)
                self._on_operation_ended(connection, operation, outcome, now_ms)

        await self._database.write(end)


def _apply(connection: Connection, changes: Sequence[Change], *, atomic: bool) -> list[Outcome | DeviceError]:
    outcomes = group.apply_changes(connection, changes)
    if atomic:
        refuse_if_any_failed(outcomes)
    return outcomes


def refuse_if_any_failed(outcomes: Sequence[Outcome | DeviceError]) -> None:
    """Raise :class:`AddRefused` with every refusal among *outcomes*."""
    errors = [(place, str(o)) for place, o in enumerate(outcomes) if isinstance(o, DeviceError)]
    if errors:
        raise AddRefused(errors)
