"""Statements on the tables of the devices, and what reads need of them.

Hot statements are compiled once and go to the driver (:class:`~overair.platform.database.Query`):
registrations come by the ten thousand a second. Parameters are positional, in the order of the SQL:
for an UPDATE the SET columns, then the key.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from overair.devices import render
from overair.devices.model import Device, Observed, Operation, Registration
from overair.devices.rules import monitored
from overair.devices.tables import devices, observations, operations, registrations
from overair.platform.database import Query, upsert

# How many IMEIs one statement names; SQLite takes 32 766 parameters.
IN_LIST_MAX = 1024

_STATE = Query(select(devices.c.state).where(devices.c.imei == bindparam("imei")))
INSERT_DEVICE = Query(insert(devices))
DELETE_REGISTRATION = Query(delete(registrations).where(registrations.c.imei == bindparam("imei")))
SETTLED = Query(
    update(registrations)
    .where(registrations.c.imei == bindparam("key"))
    .values(settled=bindparam("settled_now"))
)
REGISTRATION = select(*[registrations.c[name] for name in Registration.__struct_fields__])
PUT_REGISTRATION = Query(upsert(registrations))
TOUCH = Query(
    update(registrations)
    .where(registrations.c.imei == bindparam("key"))
    .values(updated_ms=bindparam("updated"), last_uplink_ms=bindparam("uplink"))
)
_HEARD = Query(
    update(registrations)
    .where(registrations.c.imei == bindparam("key"), registrations.c.last_uplink_ms < bindparam("later"))
    .values(last_uplink_ms=bindparam("uplink"))
)
KEEP_UPLINK = Query(
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
SAME_MDN = Query(
    select(devices.c.imei).where(
        devices.c.account_id == bindparam("account"),
        devices.c.mdn == bindparam("mdn"),
        devices.c.imei != bindparam("imei"),
    )
)

_OF_MODEL = Query(
    select(devices.c.imei)
    .where(
        devices.c.account_id == bindparam("account"),
        devices.c.make == bindparam("make"),
        devices.c.model == bindparam("model"),
        devices.c.imei > bindparam("after"),
    )
    .order_by(devices.c.imei)
    .limit(bindparam("count"))
    .offset(literal_column("0"))
)
_MODELS = Query(
    select(devices.c.make, devices.c.model)
    .distinct()
    .where(
        devices.c.account_id == bindparam("account"), devices.c.make.isnot(None), devices.c.model.isnot(None)
    )
)
_CAMPAIGNING = Query(
    update(devices).where(devices.c.imei == bindparam("key")).values(campaigning=bindparam("campaigning_now"))
)

decode_state = msgspec.json.Decoder(Device).decode
_encode_state = msgspec.json.Encoder().encode


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
    return in_lists(connection, _records, imeis, account_id)


def in_lists(
    connection: Connection, query: Callable[[int], Query], imeis: Sequence[int], *before: Any
) -> list[tuple[Any, ...]]:
    """Return the rows of all IMEIs; *before* are the parameters that stand before them.

    A statement for each power of two, the list filled up with its last IMEI: few are ever compiled.
    """
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(imeis), IN_LIST_MAX):
        part = imeis[start : start + IN_LIST_MAX]
        count = _power_of_two(len(part))
        found += query(count).rows(connection, (*before, *part, *[part[-1]] * (count - len(part))))
    return found


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


@lru_cache(maxsize=16)
def states(count: int) -> Query:
    return Query(select(devices.c.imei, devices.c.state).where(devices.c.imei.in_(_places(count))))


@lru_cache(maxsize=16)
def _contacts(count: int) -> Query:
    uplink = func.coalesce(registrations.c.last_uplink_ms, devices.c.last_uplink_ms)
    return Query(
        select(devices.c.imei, uplink)
        .select_from(devices.outerjoin(registrations, registrations.c.imei == devices.c.imei))
        .where(devices.c.imei.in_(_places(count)))
    )


@lru_cache(maxsize=16)
def admissible(count: int) -> Query:
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
    shown = devices.c.monitored | devices.c.campaigning
    return Query(
        select(devices.c.imei, devices.c.protocol, devices.c.record, shown, uplink)
        .select_from(devices.outerjoin(registrations, registrations.c.imei == devices.c.imei))
        .where(
            devices.c.account_id == bindparam("account"),
            devices.c.imei.in_(_places(count)),
        )
    )


def _places(count: int) -> list[BindParameter[int]]:
    return [bindparam(f"imei{index}", type_=BigInteger) for index in range(count)]


def devices_of(connection: Connection, account_id: int, imeis: Sequence[int]) -> dict[int, Device]:
    """Return those of the devices that the account has."""
    found = (decode_state(state) for _, state in in_lists(connection, states, imeis))
    return {device.imei: device for device in found if device.account_id == account_id}


def contacts(connection: Connection, imeis: Sequence[int]) -> dict[int, int]:
    """Return when devices were last heard, in ms; without those that never were."""
    return {
        imei: heard_ms for imei, heard_ms in in_lists(connection, _contacts, imeis) if heard_ms is not None
    }


def of_model(
    connection: Connection, account_id: int, make: str, model: str, after: int, count: int
) -> list[int]:
    """Return up to *count* devices of a make and model, IMEIs ascending from the one after *after*."""
    rows = _OF_MODEL.rows(connection, (account_id, make.lower(), model.lower(), after, count))
    return [row[0] for row in rows]


def models_of(connection: Connection, account_id: int) -> set[tuple[str, str]]:
    """Return the makes and models of an account's devices, in lower case."""
    return {(make, model) for make, model in _MODELS.rows(connection, (account_id,))}


def set_campaigning(connection: Connection, imeis: Sequence[int], *, campaigning: bool) -> None:
    """Note that devices are in an unfinished campaign, or no more."""
    _CAMPAIGNING.many(connection, [(campaigning, imei) for imei in imeis])


def load_registration(connection: Connection, imei: int) -> Registration | None:
    row = connection.execute(REGISTRATION.where(registrations.c.imei == imei)).first()
    return Registration(*row) if row else None


def load_registrations(connection: Connection) -> list[Registration]:
    return [Registration(*row) for row in connection.execute(REGISTRATION)]


def end_operation(connection: Connection, operation_id: str, outcome: str, now_ms: int) -> bool:
    """Note how an operation ended; False if it had ended before, as when two doors held it."""
    mine = update(operations).where(operations.c.id == operation_id, operations.c.ended_ms.is_(None))
    return bool(connection.execute(mine.values(ended_ms=now_ms, outcome=outcome)).rowcount)


def load_operation(connection: Connection, operation_id: str) -> Operation:
    columns = [operations.c[name] for name in Operation.__struct_fields__]
    return Operation(*connection.execute(select(*columns).where(operations.c.id == operation_id)).one())


def load_state(connection: Connection, imei: int) -> Device | None:
    rows = _STATE.rows(connection, (imei,))
    return decode_state(rows[0][0]) if rows else None


@lru_cache(maxsize=16)
def update_device(keys: tuple[str, ...]) -> Query:
    """Return the UPDATE of the documents and of those key columns; parameters: keys, documents, IMEI."""
    names = (*keys, *_DOCUMENTS)
    changed: list[tuple[Any, Any]] = [(devices.c[name], bindparam(name)) for name in names]
    return Query(update(devices).where(devices.c.imei == bindparam("key")).ordered_values(*changed))


_DOCUMENTS = ("inventoried_ms", "version", "record", "listed", "state")


def key_values(device: Device) -> dict[str, Any]:
    """Return the columns of :data:`devices` that are searched by."""
    return {
        "account_id": device.account_id,
        "protocol": device.protocol,
        "mdn": device.mdn.value if device.mdn else None,
        "make": device.make.value.lower() if device.make else None,
        "model": device.model.value.lower() if device.model else None,
        "monitored": monitored(device),
    }


def documents(device: Device) -> tuple[Any, ...]:
    record, listed = render.documents(device)
    return device.inventoried_ms, device.version, record, listed, _encode_state(device)


def device_row(device: Device) -> tuple[Any, ...]:
    not_campaigning, never_heard = False, None
    return (device.imei, *key_values(device).values(), not_campaigning, never_heard, *documents(device))


def registration_row(registration: Registration, *, settled: bool) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(registration), registration.updated_ms, settled)
