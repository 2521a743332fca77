"""Statements on the rows of campaigns, compiled once: a campaign may have a million."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, delete, func, insert, literal_column, select, update

from overair.campaigns.model import Row, RowStatus
from overair.campaigns.states import ROW_FINAL
from overair.campaigns.tables import campaign_rows as table
from overair.devices.sql import in_lists
from overair.platform.database import Query

_COLUMNS = [table.c[name] for name in Row.__struct_fields__]
_STATUS = {str(status): status for status in RowStatus}
# Spelt as the partial indexes are, or they would not be used.
_OPEN = table.c.open == literal_column("1")
_NEWS = table.c.news == literal_column("1")
_KEY = (table.c.campaign_id == bindparam("key_campaign"), table.c.imei == bindparam("key_imei"))
_ORDERED = select(*_COLUMNS).limit(bindparam("count")).offset(literal_column("0"))

_ADD = Query(
    insert(table).values(
        {
            **{name: bindparam(name) for name in ("campaign_id", "imei", "status", "detail")},
            "tries": literal_column("0"),
            "attempts": literal_column("0"),
            "updated_ms": bindparam("updated_ms"),
            "next_ms": bindparam("next_ms"),
            "open": bindparam("open"),
            "news": literal_column("0"),
        }
    )
)
_CHANGED = ("status", "detail", "tries", "attempts", "updated_ms", "recent_ms", "next_ms", "not_before_ms")
_SET: list[tuple[Any, Any]] = [(table.c[name], bindparam(f"new_{name}")) for name in _CHANGED]
_PUT = Query(update(table).where(*_KEY).ordered_values(*_SET))
_OPENING: list[tuple[Any, Any]] = [
    *_SET,
    (table.c.open, bindparam("new_open")),
    (table.c.news, bindparam("new_news")),
]
_PUT_OPEN = Query(update(table).where(*_KEY).ordered_values(*_OPENING))
_END: list[tuple[Any, Any]] = [
    *_SET,
    (table.c.open, literal_column("0")),
    (table.c.news, literal_column("1")),
    (table.c.progress, literal_column("NULL")),
]
_PUT_ENDED = Query(update(table).where(*_KEY).ordered_values(*_END))
_PROGRESS = Query(
    update(table)
    .where(*_KEY, table.c.status == literal_column("'running'"), table.c.attempts == bindparam("attempt"))
    .values(progress=bindparam("new_progress"))
)
_OF_STATUS = Query(
    _ORDERED.where(table.c.campaign_id == bindparam("campaign"), table.c.status == bindparam("status"))
)
_DUE = Query(
    _ORDERED.where(
        table.c.campaign_id == bindparam("campaign"),
        table.c.status == bindparam("status"),
        table.c.next_ms <= bindparam("now"),
    ).order_by(table.c.next_ms)
)
_PAGE = Query(
    _ORDERED.where(table.c.campaign_id == bindparam("campaign"), table.c.imei > bindparam("after")).order_by(
        table.c.imei
    )
)
_OPEN_PAGE = Query(
    _ORDERED.where(
        table.c.campaign_id == bindparam("campaign"), table.c.imei > bindparam("after"), _OPEN
    ).order_by(table.c.imei)
)
_COUNT = Query(select(func.count()).where(table.c.campaign_id == bindparam("campaign")))
_COUNTS = Query(
    select(table.c.status, func.count())
    .where(table.c.campaign_id == bindparam("campaign"))
    .group_by(table.c.status)
)
_WITH_NEWS = Query(_ORDERED.where(table.c.campaign_id == bindparam("campaign"), _NEWS))
_CAMPAIGNS_WITH_NEWS = Query(select(table.c.campaign_id).distinct().where(_NEWS))
_TOLD = Query(update(table).where(*_KEY).values(news=literal_column("0")))
_CLOSE = Query(update(table).where(*_KEY).values(open=literal_column("0")))
_DELETE = Query(delete(table).where(*_KEY))


def add(
    connection: Connection,
    campaign_id: int,
    imeis: Iterable[int],
    now_ms: int,
    *,
    status: RowStatus = RowStatus.UNCHECKED,
    detail: str | None = None,
) -> None:
    """Add rows; accepted ones are open and are looked at at once."""
    accepted = status is RowStatus.WAITING
    next_ms = now_ms if accepted else None
    _ADD.many(
        connection, [(campaign_id, imei, status, detail, now_ms, next_ms, int(accepted)) for imei in imeis]
    )


def put(connection: Connection, changed: Iterable[Row]) -> None:
    """Store rows as they are now; those that have come to an end are closed, with news for the owner."""
    going_on: list[tuple[Any, ...]] = []
    ended: list[tuple[Any, ...]] = []
    for row in changed:
        (ended if row.status in ROW_FINAL else going_on).append(_changed(row))
    _PUT.many(connection, going_on)
    _PUT_ENDED.many(connection, ended)


def put_checked(connection: Connection, checked: Iterable[Row]) -> None:
    """Store the outcome of the checks: accepted rows are open from now on, of the others there is news."""
    _PUT_OPEN.many(connection, [_checked(row) for row in checked])


def keep_progress(connection: Connection, campaign_id: int, imei: int, attempt: int, progress: bytes) -> None:
    """Store what the driver of a running attempt wants to know after a restart."""
    _PROGRESS.many(connection, [(progress, campaign_id, imei, attempt)])


def progress_of(connection: Connection, campaign_id: int, imeis: Sequence[int]) -> dict[int, bytes | None]:
    """Return what drivers stored about earlier attempts."""
    return dict(in_lists(connection, _progress, imeis, campaign_id))


def of_status(connection: Connection, campaign_id: int, status: RowStatus, count: int) -> list[Row]:
    """Return up to *count* rows of a status."""
    return _rows(_OF_STATUS.rows(connection, (campaign_id, status, count)))


def due(connection: Connection, campaign_id: int, status: RowStatus, now_ms: int, count: int) -> list[Row]:
    """Return up to *count* rows of a status that are to be looked at, the longest due first."""
    return _rows(_DUE.rows(connection, (campaign_id, status, now_ms, count)))


def page(connection: Connection, campaign_id: int, after: int, count: int) -> list[Row]:
    """Return up to *count* rows, IMEIs ascending from the one after *after*."""
    return _rows(_PAGE.rows(connection, (campaign_id, after, count)))


def open_page(connection: Connection, campaign_id: int, after: int, count: int) -> list[Row]:
    """Return up to *count* open rows, IMEIs ascending from the one after *after*."""
    return _rows(_OPEN_PAGE.rows(connection, (campaign_id, after, count)))


def count(connection: Connection, campaign_id: int) -> int:
    """Return how many rows a campaign has."""
    return int(_COUNT.rows(connection, (campaign_id,))[0][0])


def counts(connection: Connection, campaign_id: int) -> dict[RowStatus, int]:
    """Return how many rows have each status."""
    return {_STATUS[status]: count for status, count in _COUNTS.rows(connection, (campaign_id,))}


def open_rows(connection: Connection, imeis: Sequence[int]) -> list[Row]:
    """Return the rows of devices that are open; of a device there is one at most."""
    return _rows(in_lists(connection, _open, imeis))


def members(connection: Connection, campaign_id: int, imeis: Sequence[int]) -> dict[int, Row]:
    """Return the rows of devices in one campaign."""
    return {row.imei: row for row in _rows(in_lists(connection, _members, imeis, campaign_id))}


def of_device(connection: Connection, imei: int, count: int) -> list[Row]:
    """Return the rows of one device in all campaigns, the newest first."""
    query = select(*_COLUMNS).where(table.c.imei == imei).order_by(table.c.campaign_id.desc()).limit(count)
    return _rows(connection.execute(query).all())


def running(connection: Connection) -> list[tuple[Row, bytes | None]]:
    """Return all rows whose attempt runs, with what their drivers stored."""
    query = select(*_COLUMNS, table.c.progress).where(_OPEN, table.c.status == RowStatus.RUNNING)
    return [(_row(row[:-1]), row[-1]) for row in connection.execute(query)]


def with_news(connection: Connection, campaign_id: int, count: int) -> list[Row]:
    """Return up to *count* rows whose end the owner is still to be told."""
    return _rows(_WITH_NEWS.rows(connection, (campaign_id, count)))


def campaigns_with_news(connection: Connection) -> list[int]:
    """Return the campaigns that have such rows."""
    return [row[0] for row in _CAMPAIGNS_WITH_NEWS.rows(connection)]


def told(connection: Connection, rows: Iterable[Row]) -> None:
    """Note that the owner was told."""
    _TOLD.many(connection, [(row.campaign_id, row.imei) for row in rows])


def close(connection: Connection, rows: Iterable[Row]) -> None:
    """Note that rows of a campaign that is over stay as they are."""
    _CLOSE.many(connection, [(row.campaign_id, row.imei) for row in rows])


def remove(connection: Connection, campaign_id: int, imeis: Iterable[int]) -> None:
    """Delete rows."""
    _DELETE.many(connection, [(campaign_id, imei) for imei in imeis])


@lru_cache(maxsize=16)
def _open(count: int) -> Query:
    return Query(select(*_COLUMNS).where(_OPEN, table.c.imei.in_(_places(count))))


@lru_cache(maxsize=16)
def _members(count: int) -> Query:
    mine = table.c.campaign_id == bindparam("campaign")
    return Query(select(*_COLUMNS).where(mine, table.c.imei.in_(_places(count))))


@lru_cache(maxsize=16)
def _progress(count: int) -> Query:
    mine = table.c.campaign_id == bindparam("campaign")
    return Query(select(table.c.imei, table.c.progress).where(mine, table.c.imei.in_(_places(count))))


def _places(count: int) -> list[Any]:
    return [bindparam(f"imei{index}", type_=BigInteger) for index in range(count)]


def _changed(row: Row) -> tuple[Any, ...]:
    return (
        row.status, row.detail, row.tries, row.attempts, row.updated_ms, row.recent_ms, row.next_ms,
        row.not_before_ms, row.campaign_id, row.imei,
    )  # fmt: skip


def _checked(row: Row) -> tuple[Any, ...]:
    values = _changed(row)
    accepted = row.status is RowStatus.WAITING
    return (*values[:-2], int(accepted), int(not accepted), *values[-2:])


def _rows(found: Iterable[Sequence[Any]]) -> list[Row]:
    return [_row(row) for row in found]


def _row(row: Sequence[Any]) -> Row:
    campaign_id, imei, status, detail, tries, attempts, updated_ms, recent_ms, next_ms, not_before_ms = row
    return Row(
        campaign_id=campaign_id, imei=imei, status=_STATUS[status], detail=detail, tries=tries,
        attempts=attempts, updated_ms=updated_ms, recent_ms=recent_ms, next_ms=next_ms,
        not_before_ms=not_before_ms,
    )  # fmt: skip
