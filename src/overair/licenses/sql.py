"""The tables of licences and of billed events, and the statements on them.

What takes a list of IMEIs reads it in parts: campaigns have more devices than a statement has parameters.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from overair.accounts import sql as accounts
from overair.devices.sql import IN_LIST_MAX
from overair.licenses.model import Counters, License, State
from overair.platform.database import Query, metadata

licenses = Table(
    "licenses",
    metadata,
    Column("account_id", Integer, ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("imei", BigInteger, primary_key=True, autoincrement=False),
    Column("assigned_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("campaign_id", String(36)),
    Column("leaving", Boolean, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

billed_events = Table(
    "billed_events",
    metadata,
    # An upgrade is billed once, however often it is told of.
    Column("campaign_id", String(36), primary_key=True),
    Column("imei", BigInteger, primary_key=True, autoincrement=False),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False),
)

# In the order of the fields of their type.
COLUMNS = tuple(licenses.c[name] for name in License.__dataclass_fields__)

_ADD = Query(insert(licenses).values({column.name: bindparam(column.name) for column in COLUMNS}))
_MINE = (licenses.c.account_id == bindparam("account"), licenses.c.imei == bindparam("key"))
_CHANGE = Query(
    update(licenses)
    .where(*_MINE)
    .ordered_values(
        (licenses.c.state, bindparam("state")),
        (licenses.c.campaign_id, bindparam("campaign_id")),
        (licenses.c.leaving, bindparam("leaving")),
        (licenses.c.changed_ms, bindparam("changed_ms")),
    )
)
_DELETE = Query(delete(licenses).where(*_MINE))
_BILL = Query(
    # The same in SQLite and PostgreSQL, but not in SQLAlchemy's Core.
    text(
        "INSERT INTO billed_events (campaign_id, imei, account_id, at_ms) "
        "VALUES (:campaign_id, :imei, :account_id, :at_ms) ON CONFLICT DO NOTHING"
    )
)
_ASSIGNED = (
    select(func.count())
    .select_from(licenses)
    .where(licenses.c.account_id == accounts.accounts.c.id)
    .scalar_subquery()
)
_COUNTERS = select(*accounts.ACCOUNT_COLUMNS, _ASSIGNED)


def counters(connection: Connection, account_id: int) -> Counters:
    """Return the account as it is in this transaction, and how many licences are assigned."""
    row = connection.execute(_COUNTERS.where(accounts.accounts.c.id == account_id)).one()
    return Counters(accounts.account_of(row[:-1]), row[-1])


def page_rows(connection: Connection, account_id: int, after: int, count: int) -> list[tuple[int, int]]:
    """Return up to *count* rows (imei, assigned_ms), IMEIs ascending from the one after *after*."""
    query = (
        select(licenses.c.imei, licenses.c.assigned_ms)
        .where(licenses.c.account_id == account_id, licenses.c.imei > after)
        .order_by(licenses.c.imei)
        .limit(count)
    )
    return [(imei, assigned_ms) for imei, assigned_ms in connection.execute(query)]


def licenses_of(connection: Connection, account_id: int, imeis: Sequence[int]) -> dict[int, License]:
    """Return the licences that these devices hold, in the order of *imeis*."""
    found: dict[int, License] = {}
    for start in range(0, len(imeis), IN_LIST_MAX):
        part = imeis[start : start + IN_LIST_MAX]
        query = select(*COLUMNS).where(licenses.c.account_id == account_id, licenses.c.imei.in_(part))
        found |= {row.imei: _license(row) for row in connection.execute(query)}
    return {imei: found[imei] for imei in imeis if imei in found}


def oldest(connection: Connection, account_id: int, count: int) -> list[License]:
    """Return up to *count* licences of an account, the oldest assignment first."""
    query = (
        select(*COLUMNS)
        .where(licenses.c.account_id == account_id)
        .order_by(licenses.c.assigned_ms, licenses.c.imei)
        .limit(count)
    )
    return [_license(row) for row in connection.execute(query)]


def stay(connection: Connection, account_id: int) -> None:
    """Let no licence of the account be one that leaves."""
    marked = (licenses.c.account_id == account_id, licenses.c.leaving.is_(other=True))
    connection.execute(update(licenses).where(*marked).values(leaving=False))


def add(connection: Connection, new: Iterable[License]) -> None:
    """Insert licences."""
    _ADD.many(connection, [tuple(getattr(one, column.name) for column in COLUMNS) for one in new])


def change(connection: Connection, changed: Iterable[License]) -> None:
    """Write what can change of licences."""
    rows = [
        (one.state, one.campaign_id, one.leaving, one.changed_ms, one.account_id, one.imei) for one in changed
    ]
    _CHANGE.many(connection, rows)


def remove(connection: Connection, account_id: int, imeis: Iterable[int]) -> None:
    """Delete the licences of these devices."""
    _DELETE.many(connection, [(account_id, imei) for imei in imeis])


def bill(connection: Connection, account_id: int, imeis: Iterable[int], campaign_id: str, at_ms: int) -> None:
    """Note a completed upgrade of each device, unless that is noted already."""
    _BILL.many(connection, [(campaign_id, imei, account_id, at_ms) for imei in imeis])


def _license(row: Sequence[Any]) -> License:
    account_id, imei, assigned_ms, state, campaign_id, leaving, changed_ms = row
    return License(account_id, imei, assigned_ms, State(state), campaign_id, leaving, changed_ms)
