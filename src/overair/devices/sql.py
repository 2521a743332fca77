"""Tables and statements of the devices, and what runs inside the writer's transaction.

Two tables, because they change at different speeds: a device's row is some 1.5 kB and changes when
the device does; its registration is small and changes with every Update. Both documents that owners read
stand encoded in the device's row.

Statements are compiled once and go to the driver (:class:`~overair.platform.database.Query`):
registrations come by the ten thousand a second. Parameters are positional, in the order of the SQL:
for an UPDATE the SET columns in the table's order, then the key.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from overair.devices import render
from overair.devices.model import Change, Device, DeviceError, Fact, Observed, Outcome, Registration
from overair.devices.rules import gave_up_mdn, lost_mdn, monitored
from overair.platform.database import Query, metadata
from overair.records import encode

devices = Table(
    "devices",
    metadata,
    Column("imei", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("protocol", String(8), nullable=False),
    Column("mdn", String(15)),
    Column("monitored", Boolean, nullable=False),
    Column("last_uplink_ms", BigInteger),
    Column("version", Integer, nullable=False),
    # The documents first: what stands behind the large state costs another page to read.
    Column("record", LargeBinary, nullable=False),
    Column("listed", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Index("ix_devices_page", "account_id", "protocol", "imei"),
    Index("ix_devices_all", "account_id", "imei"),
    Index("ix_devices_mdn", "account_id", "mdn"),
)

registrations = Table(
    "registrations",
    metadata,
    Column("imei", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("account_id", Integer, nullable=False),
    Column("location", String(16), nullable=False),
    Column("endpoint", String(255), nullable=False),
    Column("host", String(45), nullable=False),
    Column("port", Integer, nullable=False),
    Column("lifetime_seconds", BigInteger, nullable=False),
    Column("lwm2m_version", String(8), nullable=False),
    Column("binding", String(8), nullable=False),
    Column("queue_mode", Boolean, nullable=False),
    Column("links", LargeBinary, nullable=False),
    Column("registered_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("last_uplink_ms", BigInteger, nullable=False),
)

observations = Table(
    "observations",
    metadata,
    Column("imei", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("path", String(32), primary_key=True),
    Column("token", LargeBinary(8), nullable=False),
    Column("location", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

operations = Table(
    "operations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("imei", BigInteger, nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("outcome", String(255)),
)


_STATE = Query(select(devices.c.state).where(devices.c.imei == bindparam("imei")))
_INSERT_DEVICE = Query(insert(devices))
_UPDATE_DEVICE = Query(
    update(devices)
    .where(devices.c.imei == bindparam("key"))
    .values({c.name: bindparam(c.name) for c in devices.c if c.name not in ("imei", "last_uplink_ms")})
)
_DELETE_REGISTRATION = Query(delete(registrations).where(registrations.c.imei == bindparam("imei")))
_LOCATION = Query(select(registrations.c.location).where(registrations.c.imei == bindparam("imei")))
_INSERT_REGISTRATION = Query(insert(registrations))
_TOUCH = Query(
    update(registrations)
    .where(registrations.c.imei == bindparam("key"))
    .values(updated_ms=bindparam("updated"), last_uplink_ms=bindparam("uplink"))
)
_HEARD = Query(
    update(registrations)
    .where(registrations.c.imei == bindparam("key"), registrations.c.last_uplink_ms < bindparam("later"))
    .values(last_uplink_ms=bindparam("uplink"))
)
_KEEP_UPLINK = Query(
    update(devices)
    .where(devices.c.imei == bindparam("key"))
    .values(
        last_uplink_ms=func.coalesce(
            select(registrations.c.last_uplink_ms)
            .where(registrations.c.imei == devices.c.imei)
            .scalar_subquery(),
            devices.c.last_uplink_ms,
        )
    )
)
# The offset is spelt out because SQLite's dialect would otherwise add a parameter for it.
_PAGE_COLUMNS = (
    select(devices.c.imei, devices.c.listed)
    .order_by(devices.c.imei)
    .limit(bindparam("count"))
    .offset(literal_column("0"))
)
_PAGE = Query(
    _PAGE_COLUMNS.where(
        devices.c.account_id == bindparam("account"),
        devices.c.protocol == bindparam("protocol"),
        devices.c.imei > bindparam("after"),
    )
)
_PAGE_ALL = Query(
    _PAGE_COLUMNS.where(devices.c.account_id == bindparam("account"), devices.c.imei > bindparam("after"))
)
_DELETE_OBSERVATION = Query(
    delete(observations).where(
        observations.c.imei == bindparam("imei"), observations.c.path == bindparam("path")
    )
)
_INSERT_OBSERVATION = Query(insert(observations))
_SAME_MDN = Query(
    select(devices.c.imei).where(
        devices.c.account_id == bindparam("account"),
        devices.c.mdn == bindparam("mdn"),
        devices.c.imei != bindparam("imei"),
    )
)

decode_state = msgspec.json.Decoder(Device).decode
_encode_state = msgspec.json.Encoder().encode


class Touch(msgspec.Struct, frozen=True, gc=False):
    """An Update that changed nothing: only the registration's times move."""

    imei: int
    updated_ms: int


class End(msgspec.Struct, frozen=True, gc=False):
    """The registration at *location* is over; a later one of the same device is not."""

    imei: int
    location: str


class _Group:
    """What one group makes of devices and registrations: each is read once and written once.

    Of a registration only the outcome counts: a Register puts aside what came before it in the group,
    a touch moves the Register that it follows, an end follows both.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[int, Device | None] = {}
        self._new: dict[int, Device] = {}
        self._changed: dict[int, Device] = {}
        self._holders: dict[tuple[int, str], set[int]] = {}
        self._registrations: dict[int, Registration] = {}
        self._touched: dict[int, int] = {}
        self._ended: set[int] = set()

    def write(self, item: Change | Touch | End) -> Outcome | DeviceError | None:
        if isinstance(item, Touch):
            self._touch(item)
        elif isinstance(item, End):
            self._end(item)
        else:
            return self.apply(item)
        return None

    def apply(self, change: Change) -> Outcome | DeviceError:
        before = self._load(change.imei)
        try:
            outcome = change.apply(before)
        except DeviceError as refused:
            return refused
        after = outcome.device
        if after is not None and after != before:
            self._put(after)
            if after.mdn is not None and (before is None or before.mdn != after.mdn):
                self._take_mdn(after)
        if outcome.registration is not None:
            self._registrations[change.imei] = outcome.registration
            self._touched.pop(change.imei, None)
            self._ended.discard(change.imei)
        return outcome

    def _touch(self, touch: Touch) -> None:
        if touch.imei in self._ended:
            return
        known = self._registrations.get(touch.imei)
        if known is None:
            self._touched[touch.imei] = touch.updated_ms
        else:
            self._registrations[touch.imei] = msgspec.structs.replace(known, updated_ms=touch.updated_ms)

    def _end(self, end: End) -> None:
        known = self._registrations.get(end.imei)
        rows = [(known.location,)] if known else _LOCATION.rows(self._connection, (end.imei,))
        if rows == [(end.location,)]:
            self._ended.add(end.imei)

    def store(self) -> None:
        """Write all that changed."""
        connection = self._connection
        _INSERT_DEVICE.many(connection, [_device_row(device) for device in self._new.values()])
        _UPDATE_DEVICE.many(connection, [(*_values(d), d.imei) for d in self._changed.values()])
        _DELETE_REGISTRATION.many(connection, [(imei,) for imei in self._registrations])
        _INSERT_REGISTRATION.many(connection, [_registration_row(r) for r in self._registrations.values()])
        _TOUCH.many(connection, [(time_ms, time_ms, imei) for imei, time_ms in self._touched.items()])
        ended = [(imei,) for imei in self._ended]
        _KEEP_UPLINK.many(connection, ended)  # moves to the device's own row
        _DELETE_REGISTRATION.many(connection, ended)

    def _load(self, imei: int) -> Device | None:
        if imei not in self._known:
            rows = _STATE.rows(self._connection, (imei,))
            self._known[imei] = decode_state(rows[0][0]) if rows else None
        return self._known[imei]

    def _put(self, device: Device) -> None:
        is_new = device.imei in self._new or self._known[device.imei] is None
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
        rows = _SAME_MDN.rows(self._connection, (device.account_id, number, device.imei))
        imeis = {row[0] for row in rows} | self._holders.get((device.account_id, number), set())
        others = [other for imei in imeis - {device.imei} if (other := self._load(imei)) is not None]
        # A row, or an earlier turn of this group, may have been overtaken.
        return [other for other in others if other.mdn is not None and other.mdn.value == number]


def apply_changes(connection: Connection, changes: Sequence[Change]) -> list[Outcome | DeviceError]:
    """Apply changes in order, each seeing what the ones before it made of its device."""
    group = _Group(connection)
    outcomes = [group.apply(change) for change in changes]
    group.store()
    return outcomes


def write_group(
    connection: Connection, items: Sequence[Change | Touch | End]
) -> list[Outcome | DeviceError | None]:
    """Apply what doors submitted. One handler for all kinds, since between handlers no order is kept."""
    group = _Group(connection)
    outcomes = [group.write(item) for item in items]
    group.store()
    return outcomes


def store_uplinks(connection: Connection, uplinks: Sequence[tuple[int, int]]) -> None:
    """Store (imei, time in ms), where that is later than what is known."""
    _HEARD.many(connection, [(time_ms, imei, time_ms) for imei, time_ms in uplinks])


def store_observations(connection: Connection, rows: list[Observed]) -> list[None]:
    """Store observations in the place of older ones of the same paths."""
    _DELETE_OBSERVATION.many(connection, [(row.imei, row.path) for row in rows])
    _INSERT_OBSERVATION.many(connection, [msgspec.structs.astuple(row) for row in rows])
    return [None] * len(rows)


def live_observations() -> Select[Any]:
    """Select the observations whose registration is still the same."""
    columns = [observations.c[name] for name in Observed.__struct_fields__]
    same = (registrations.c.imei == observations.c.imei) & (
        registrations.c.location == observations.c.location
    )
    return select(*columns).join_from(observations, registrations, same)


def page_rows(
    connection: Connection, account_id: int, protocol: str | None, after: int, count: int
) -> list[tuple[Any, ...]]:
    """Return up to *count* rows (imei, listed document), IMEIs ascending from the one after *after*."""
    if protocol is None:
        return _PAGE_ALL.rows(connection, (account_id, after, count))
    return _PAGE.rows(connection, (account_id, protocol, after, count))


def record_rows(connection: Connection, account_id: int, imeis: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return rows (imei, protocol, record document, monitored, last uplink) of those that the account has."""
    padded = 1 << (len(imeis) - 1).bit_length()
    # A statement for each power of two, the list filled up with its last IMEI: few statements to compile.
    return _records_query(padded).rows(connection, (account_id, *imeis, *[imeis[-1]] * (padded - len(imeis))))


@lru_cache(maxsize=32)
def _records_query(count: int) -> Query:
    uplink = func.coalesce(registrations.c.last_uplink_ms, devices.c.last_uplink_ms)
    return Query(
        select(devices.c.imei, devices.c.protocol, devices.c.record, devices.c.monitored, uplink)
        .select_from(devices.outerjoin(registrations, registrations.c.imei == devices.c.imei))
        .where(
            devices.c.account_id == bindparam("account"),
            devices.c.imei.in_([bindparam(f"imei{index}", type_=BigInteger) for index in range(count)]),
        )
    )


def load_state(connection: Connection, imei: int) -> Device | None:
    rows = _STATE.rows(connection, (imei,))
    return decode_state(rows[0][0]) if rows else None


def _values(device: Device) -> tuple[Any, ...]:
    """Return the columns of :data:`devices` from ``account_id`` on, without ``last_uplink_ms``."""
    return (
        device.account_id,
        device.protocol,
        device.mdn.value if device.mdn else None,
        monitored(device),
        device.version,
        encode(render.record(device)),
        encode(render.listed(device)),
        _encode_state(device),
    )


def _device_row(device: Device) -> tuple[Any, ...]:
    values = _values(device)
    return (device.imei, *values[:4], None, *values[4:])


def _registration_row(registration: Registration) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(registration), registration.updated_ms)
