"""What runs inside the writer's transaction: everything that one group says of devices.

Each device is read once and written once, whatever the group says of it, and in the order in which it came.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import Connection

from overair.devices import sql
from overair.devices.changes import Register
from overair.devices.model import Admitted, Change, Device, DeviceError, Fact, Outcome, Registration
from overair.devices.rules import gave_up_mdn, lost_mdn
from overair.devices.tables import registrations


class Touch(msgspec.Struct, frozen=True, gc=False):
    """An Update that changed nothing: only the registration's times move."""

    imei: int
    updated_ms: int


class Admit(msgspec.Struct, frozen=True, gc=False):
    """A Register, of which only the registration is stored now; the record follows."""

    change: Register

    @property
    def imei(self) -> int:
        return self.change.imei


class Known(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What admission looks at: the device's account, and the registration that stands."""

    account_id: int
    inventoried_ms: int | None
    endpoint: str | None
    said: bytes | None
    settled: int
    """As the driver has it: 0 or 1."""


class End(msgspec.Struct, frozen=True, gc=False):
    """The registration at *location* is over; a later one of the same device is not."""

    imei: int
    location: str


Item = Change | Admit | Touch | End


class _Group:
    """What one group makes of devices and registrations: each is read once and written once.

    Of a registration only the outcome counts: a Register puts aside what came before it in the group,
    a touch moves the Register that it follows, an end follows both.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[int, Device | None] = {}
        self._stored: dict[int, Device] = {}
        self._new: dict[int, Device] = {}
        self._changed: dict[int, Device] = {}
        self._holders: dict[tuple[int, str], set[int]] = {}
        self._registrations: dict[int, Registration] = {}
        self._admissible: dict[int, Known] = {}
        self._unsettled: set[int] = set()
        self._touched: dict[int, int] = {}
        self._ended: set[int] = set()

    def write(self, item: Item) -> Outcome | Admitted | DeviceError | None:
        if isinstance(item, Touch):
            self._touch(item)
        elif isinstance(item, Admit):
            return self._admit(item.change)
        elif isinstance(item, End):
            self._end(item)
        else:
            return self.apply(item)
        return None

    def apply(self, change: Change) -> Outcome | DeviceError:
        """Apply a change: to its device, and to the registration if it brings one."""
        outcome = self._change(change)
        if isinstance(outcome, Outcome) and outcome.registration is not None:
            settled = isinstance(change, Register) or self._is_settled(change.imei)
            self._place(outcome.registration, settled=settled)
        return outcome

    def settle(self, registration: Registration) -> None:
        """Take what a registration said into the record of its device."""
        self._change(Register(registration))

    def _change(self, change: Change) -> Outcome | DeviceError:
        before = self._load(change.imei)
        try:
            outcome = change.apply(before)
        except DeviceError as refused:
            return refused
        after = outcome.device
        if after is not None and after is not before and after != before:
            self._put(after)
            if after.mdn is not None and (before is None or before.mdn != after.mdn):
                self._take_mdn(after)
        return outcome

    def _is_settled(self, imei: int) -> bool:
        standing = self._standing(imei)
        return standing is None or standing[2]

    def _place(self, registration: Registration, *, settled: bool) -> None:
        imei = registration.imei
        self._registrations[imei] = registration
        self._touched.pop(imei, None)
        self._ended.discard(imei)
        if settled:
            self._unsettled.discard(imei)
        else:
            self._unsettled.add(imei)

    def _admit(self, change: Register) -> Admitted | DeviceError:
        registration = change.registration
        imei = registration.imei
        device = self._known.get(imei) or self._admissible.get(imei)
        if device is None:
            outcome = self.apply(change)  # takes in the stranger, or refuses it
            if isinstance(outcome, DeviceError):
                return outcome
            return Admitted(cast("Registration", outcome.registration), None, settled=True)
        settled = self._standing(imei) == (registration.endpoint, registration.said, True)
        registration.account_id = device.account_id
        self._place(registration, settled=settled)
        return Admitted(registration, device.inventoried_ms, settled)

    def _standing(self, imei: int) -> tuple[str | None, bytes | None, bool] | None:
        """Return endpoint and words of the registration that stands, and whether it is settled."""
        if imei in self._ended:
            return None
        placed = self._registrations.get(imei)
        if placed is not None:
            return placed.endpoint, placed.said, imei not in self._unsettled
        if imei not in self._admissible:
            self.preload_admissible([imei])
        known = self._admissible.get(imei)
        return (known.endpoint, known.said, bool(known.settled)) if known and known.endpoint else None

    def preload_admissible(self, imeis: Sequence[int]) -> None:
        """Read what admission looks at."""
        for imei, *known in sql.in_lists(self._connection, sql.admissible, imeis):
            self._admissible[imei] = Known(*known)

    def _touch(self, touch: Touch) -> None:
        if touch.imei in self._ended:
            return
        known = self._registrations.get(touch.imei)
        if known is None:
            self._touched[touch.imei] = touch.updated_ms
        else:
            self._registrations[touch.imei] = msgspec.structs.replace(known, updated_ms=touch.updated_ms)

    def _end(self, end: End) -> None:
        registration = self._registrations.get(end.imei) or sql.load_registration(self._connection, end.imei)
        if registration is not None and registration.location == end.location:
            if not self._is_settled(end.imei):
                self.settle(registration)  # or what it said would be gone with it
            self._ended.add(end.imei)

    def store(self) -> None:
        """Write all that changed."""
        connection = self._connection
        sql.INSERT_DEVICE.many(connection, [sql.device_row(device) for device in self._new.values()])
        self._update_devices()
        # In the order of the table: neighbours share a page, and a page is written once.
        placed = [
            sql.registration_row(self._registrations[imei], settled=imei not in self._unsettled)
            for imei in sorted(self._registrations)
        ]
        sql.PUT_REGISTRATION.many(connection, placed)
        sql.TOUCH.many(
            connection, [(time_ms, time_ms, imei) for imei, time_ms in sorted(self._touched.items())]
        )
        ended = [(imei,) for imei in self._ended]
        sql.KEEP_UPLINK.many(connection, ended)  # moves to the device's own row
        sql.DELETE_REGISTRATION.many(connection, ended)

    def _update_devices(self) -> None:
        """Update changed devices; an index is touched only where its column changed."""
        by_columns: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for imei in sorted(self._changed):
            device, before = self._changed[imei], self._stored[imei]
            keys, old = sql.key_values(device), sql.key_values(before)
            names = tuple([name for name, value in keys.items() if old[name] != value])
            row = (*[keys[name] for name in names], *sql.documents(device), imei)
            by_columns.setdefault(names, []).append(row)
        for names, rows in by_columns.items():
            sql.update_device(names).many(self._connection, rows)

    def preload(self, imeis: Sequence[int]) -> None:
        """Read devices in one go; what is not there is known not to be."""
        wanted = [imei for imei in dict.fromkeys(imeis) if imei not in self._known]
        self._known.update(dict.fromkeys(wanted))
        for imei, state in sql.in_lists(self._connection, sql.states, wanted):
            self._known[imei] = self._stored[imei] = sql.decode_state(state)

    def _load(self, imei: int) -> Device | None:
        if imei not in self._known:
            self.preload([imei])
        return self._known[imei]

    def _put(self, device: Device) -> None:
        is_new = device.imei not in self._stored
        counted = msgspec.structs.replace(device, version=device.version + 1)
        self._known[device.imei] = counted
        (self._new if is_new else self._changed)[device.imei] = counted
        if counted.mdn is not None:
            self._holders.setdefault((counted.account_id, counted.mdn.value), set()).add(counted.imei)

    def _take_mdn(self, device: Device) -> None:
        """A number belongs to one device of an account (spec device-record.md, sections 2.2 and 6)."""
        assigned = cast("Fact", device.mdn)
        rule = lost_mdn if assigned.source == "provisioned" else gave_up_mdn
        for other in self._with_mdn(device, assigned.value):
            self._put(rule(other, assigned.at_ms))

    def _with_mdn(self, device: Device, number: str) -> list[Device]:
        rows = sql.SAME_MDN.rows(self._connection, (device.account_id, number, device.imei))
        imeis = {row[0] for row in rows} | self._holders.get((device.account_id, number), set())
        others = [other for imei in imeis - {device.imei} if (other := self._load(imei)) is not None]
        # A row, or an earlier turn of this group, may have been overtaken.
        return [other for other in others if other.mdn is not None and other.mdn.value == number]


def apply_changes(connection: Connection, changes: Sequence[Change]) -> list[Outcome | DeviceError]:
    """Apply changes in order, each seeing what the ones before it made of its device."""
    group = _Group(connection)
    group.preload([change.imei for change in changes])
    outcomes = [group.apply(change) for change in changes]
    group.store()
    return outcomes


def write_group(
    connection: Connection, items: Sequence[Item]
) -> list[Outcome | Admitted | DeviceError | None]:
    """Apply what doors submitted. One handler for all kinds, since between handlers no order is kept."""
    group = _Group(connection)
    group.preload([item.imei for item in items if not isinstance(item, Touch | End | Admit)])
    group.preload_admissible([item.imei for item in items if isinstance(item, Admit)])
    outcomes = [group.write(item) for item in items]
    group.store()
    return outcomes


def settle(connection: Connection, imeis: Sequence[int]) -> None:
    """Take what registrations said into the records of their devices."""
    behind = sql.REGISTRATION.where(registrations.c.imei.in_(imeis), registrations.c.settled.is_(other=False))
    placed = [Registration(*row) for row in connection.execute(behind)]
    group = _Group(connection)
    group.preload([registration.imei for registration in placed])
    for registration in placed:
        group.settle(registration)
    group.store()
    sql.SETTLED.many(connection, [(True, registration.imei) for registration in placed])
