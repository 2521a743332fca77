"""Tables and statements of the devices, and what runs inside the writer's transaction.

Two tables, because they change at different speeds: a device's row is some 1.5 kB and changes when
the device does; its registration is small and changes with every Update. Both documents that owners read
stand encoded in the device's row.

Statements are compiled once and go to the driver (:class:`~overair.platform.database.Query`):
registrations come by the ten thousand a second. Parameters are positional, in the order of the SQL:
for an UPDATE the SET columns, then the key.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec
from sqlalchemy import (
    BigInteger,
    BindParameter,
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
from overair.devices.changes import Register
from overair.devices.model import (
    Admitted,
    Change,
    Device,
    DeviceError,
    Fact,
    Observed,
    Outcome,
    Registration,
)
from overair.devices.rules import gave_up_mdn, lost_mdn, monitored
from overair.platform.database import Query, metadata, upsert

devices = Table(
    "devices",
    metadata,
    Column("imei", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("protocol", String(8), nullable=False),
    Column("mdn", String(15)),
    Column("monitored", Boolean, nullable=False),
    Column("last_uplink_ms", BigInteger),
    Column("inventoried_ms", BigInteger),
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
    Column("identity", LargeBinary(256), nullable=False),
    Column("said", LargeBinary, nullable=False),
    Column("registered_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("last_uplink_ms", BigInteger, nullable=False),
    # Whether the device's record has what the Register said.
    Column("settled", Boolean, nullable=False),
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


# How many IMEIs one statement names; SQLite takes 32 766 parameters.
IN_LIST_MAX = 1024

_STATE = Query(select(devices.c.state).where(devices.c.imei == bindparam("imei")))
_INSERT_DEVICE = Query(insert(devices))
_DELETE_REGISTRATION = Query(delete(registrations).where(registrations.c.imei == bindparam("imei")))
_SETTLED = Query(
    update(registrations)
    .where(registrations.c.imei == bindparam("key"))
    .values(settled=bindparam("settled_now"))
)
_REGISTRATION = select(*[registrations.c[name] for name in Registration.__struct_fields__])
_PUT_REGISTRATION = Query(upsert(registrations))
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
        for start in range(0, len(imeis), IN_LIST_MAX):
            part = imeis[start : start + IN_LIST_MAX]
            for imei, *known in _in_list(_admissible, part).rows(self._connection, _padded(part)):
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
        registration = self._registrations.get(end.imei) or load_registration(self._connection, end.imei)
        if registration is not None and registration.location == end.location:
            if not self._is_settled(end.imei):
                self.settle(registration)  # or what it said would be gone with it
            self._ended.add(end.imei)

    def store(self) -> None:
        """Write all that changed."""
        connection = self._connection
        _INSERT_DEVICE.many(connection, [_device_row(device) for device in self._new.values()])
        self._update_devices()
        # In the order of the table: neighbours share a page, and a page is written once.
        placed = [
            _registration_row(self._registrations[imei], settled=imei not in self._unsettled)
            for imei in sorted(self._registrations)
        ]
        _PUT_REGISTRATION.many(connection, placed)
        _TOUCH.many(connection, [(time_ms, time_ms, imei) for imei, time_ms in sorted(self._touched.items())])
        ended = [(imei,) for imei in self._ended]
        _KEEP_UPLINK.many(connection, ended)  # moves to the device's own row
        _DELETE_REGISTRATION.many(connection, ended)

    def _update_devices(self) -> None:
        """Update changed devices; an index is touched only where its column changed."""
        by_columns: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for imei in sorted(self._changed):
            device, before = self._changed[imei], self._stored[imei]
            keys, old = _key_values(device), _key_values(before)
            names = tuple([name for name, value in keys.items() if old[name] != value])
            row = (*[keys[name] for name in names], *_documents(device), imei)
            by_columns.setdefault(names, []).append(row)
        for names, rows in by_columns.items():
            _update_device(names).many(self._connection, rows)

    def preload(self, imeis: Sequence[int]) -> None:
        """Read devices in one go; what is not there is known not to be."""
        wanted = [imei for imei in dict.fromkeys(imeis) if imei not in self._known]
        for start in range(0, len(wanted), IN_LIST_MAX):
            part = wanted[start : start + IN_LIST_MAX]
            self._known.update(dict.fromkeys(part))
            for imei, state in _in_list(_states, part).rows(self._connection, _padded(part)):
                self._known[imei] = self._stored[imei] = decode_state(state)

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
        rows = _SAME_MDN.rows(self._connection, (device.account_id, number, device.imei))
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
    behind = _REGISTRATION.where(registrations.c.imei.in_(imeis), registrations.c.settled.is_(other=False))
    placed = [Registration(*row) for row in connection.execute(behind)]
    group = _Group(connection)
    group.preload([registration.imei for registration in placed])
    for registration in placed:
        group.settle(registration)
    group.store()
    _SETTLED.many(connection, [(True, registration.imei) for registration in placed])


def unsettled() -> Select[Any]:
    """Select the devices whose records are behind their registrations."""
    return select(registrations.c.imei).where(registrations.c.settled.is_(other=False))


def not_inventoried(age_ms: int) -> Select[Any]:
    """Select the devices whose last inventory was older than that when they registered."""
    read_ms = func.coalesce(devices.c.inventoried_ms, 0)
    return (
        select(registrations.c.imei)
        .join_from(registrations, devices, devices.c.imei == registrations.c.imei)
        .where(read_ms <= registrations.c.registered_ms - age_ms)
    )


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
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(imeis), IN_LIST_MAX):
        part = imeis[start : start + IN_LIST_MAX]
        found += _in_list(_records, part).rows(connection, (account_id, *_padded(part)))
    return found


def _in_list(query: Callable[[int], Query], imeis: Sequence[int]) -> Query:
    """Return the statement for so many IMEIs: one for each power of two, so few are ever compiled."""
    return query(_power_of_two(len(imeis)))


def _padded(imeis: Sequence[int]) -> tuple[int, ...]:
    """Return the IMEIs, the last one repeated until their number is a power of two."""
    return (*imeis, *[imeis[-1]] * (_power_of_two(len(imeis)) - len(imeis)))


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


@lru_cache(maxsize=16)
def _states(count: int) -> Query:
    return Query(select(devices.c.imei, devices.c.state).where(devices.c.imei.in_(_places(count))))


@lru_cache(maxsize=16)
def _admissible(count: int) -> Query:
    settled = func.coalesce(registrations.c.settled, literal_column("0"))
    return Query(
        select(
            devices.c.imei,
            devices.c.account_id,
            devices.c.inventoried_ms,
            registrations.c.endpoint,
            registrations.c.said,
            settled,
        )
        .select_from(devices.outerjoin(registrations, registrations.c.imei == devices.c.imei))
        .where(devices.c.imei.in_(_places(count)))
    )


@lru_cache(maxsize=16)
def _records(count: int) -> Query:
    uplink = func.coalesce(registrations.c.last_uplink_ms, devices.c.last_uplink_ms)
    return Query(
        select(devices.c.imei, devices.c.protocol, devices.c.record, devices.c.monitored, uplink)
        .select_from(devices.outerjoin(registrations, registrations.c.imei == devices.c.imei))
        .where(
            devices.c.account_id == bindparam("account"),
            devices.c.imei.in_(_places(count)),
        )
    )


def _places(count: int) -> list[BindParameter[int]]:
    return [bindparam(f"imei{index}", type_=BigInteger) for index in range(count)]


def load_registration(connection: Connection, imei: int) -> Registration | None:
    row = connection.execute(_REGISTRATION.where(registrations.c.imei == imei)).first()
    return Registration(*row) if row else None


def load_registrations(connection: Connection) -> list[Registration]:
    return [Registration(*row) for row in connection.execute(_REGISTRATION)]


def load_state(connection: Connection, imei: int) -> Device | None:
    rows = _STATE.rows(connection, (imei,))
    return decode_state(rows[0][0]) if rows else None


@lru_cache(maxsize=16)
def _update_device(keys: tuple[str, ...]) -> Query:
    """Return the UPDATE of the documents and of those key columns; parameters: keys, documents, IMEI."""
    names = (*keys, *_DOCUMENTS)
    changed: list[tuple[Any, Any]] = [(devices.c[name], bindparam(name)) for name in names]
    return Query(update(devices).where(devices.c.imei == bindparam("key")).ordered_values(*changed))


_DOCUMENTS = ("inventoried_ms", "version", "record", "listed", "state")


def _key_values(device: Device) -> dict[str, Any]:
    """Return the columns of :data:`devices` that are searched by."""
    return {
        "account_id": device.account_id,
        "protocol": device.protocol,
        "mdn": device.mdn.value if device.mdn else None,
        "monitored": monitored(device),
    }


def _documents(device: Device) -> tuple[Any, ...]:
    record, listed = render.documents(device)
    return device.inventoried_ms, device.version, record, listed, _encode_state(device)


def _device_row(device: Device) -> tuple[Any, ...]:
    return (device.imei, *_key_values(device).values(), None, *_documents(device))


def _registration_row(registration: Registration, *, settled: bool) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(registration), registration.updated_ms, settled)
