"""What waits to be told (spec callbacks.md, section 2): put, take, settle, purge.

Transactions are the caller's. A message is put in the transaction of the event that it tells of: both are on
the disk, or neither is. It leaves the outbox in a transaction after the receiver took it over; a crash
between the two sends it again, under the same id.
"""

import uuid
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
from sqlalchemy import (
    Connection,
    CursorResult,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from overair.callbacks import sql
from overair.callbacks.model import Attempt, Batch, Message, MessageState, Parcel, Version, Waiting
from overair.callbacks.rules import HOUR_MS, deliverable, unhindered
from overair.callbacks.sql import IS_WAITING, attempts, messages
from overair.platform.clock import DAY_MS
from overair.platform.database import Query
from overair.platform.limits import Limits

PURGE_ROWS = 1000  # a transaction, so that nobody waits long behind a purge

_NEW = (
    "uid", "listener_id", "account_id", "version", "type", "subject", "state", "attempts", "due_ms",
    "created_ms", "imeis", "body",
)  # fmt: skip
_PUT = Query(insert(messages).values({name: bindparam(name) for name in _NEW}))
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[int, ...]).decode


def put(
    connection: Connection, account_id: int, version: Version, told: Sequence[Message], now_ms: int
) -> None:
    """Have the account's listener told, in this order; nothing happens where none is registered.

    Called in the transaction of the event. Whoever commits it wakes the deliverer then.
    """
    listener = sql.listener(connection, account_id, version) if told else None
    if listener is None:
        return
    rows = [
        (
            str(uuid.uuid4()), listener.id, account_id, version, message.type, message.subject,
            MessageState.WAITING, 0, now_ms, now_ms, _pack(message.imeis), message.body,
        )
        for message in told
    ]  # fmt: skip
    _PUT.many(connection, rows)


def take(connection: Connection, listener_id: int, count: int, now_ms: int, limits: Limits) -> Batch:
    """Return up to *count* messages that may go to a listener at once, and change nothing."""
    listener = sql.listener_by_id(connection, listener_id)
    if listener is None:
        return Batch(None)
    with _waiting(connection, listener_id, limits) as rows:
        ready = [message.id for message in islice(deliverable(_read(rows), now_ms), count)]
    if ready:
        return Batch(listener, _parcels(connection, ready))
    with _waiting(connection, listener_id, limits) as rows:
        next_ms = min((message.due_ms for message in unhindered(_read(rows))), default=None)
    return Batch(None) if next_ms is None else Batch(listener, next_ms=next_ms)


def settle(
    connection: Connection,
    account_id: int,
    message_id: int,
    attempt: Attempt,
    after: tuple[MessageState, int | None],
    limits: Limits,
) -> None:
    """Record an attempt, and what becomes of its message: a state, and the time that it is due again.

    A message that was dropped meanwhile stays so.
    """
    state, due_ms = after
    ended_ms = attempt.started_ms + attempt.duration_ms
    changed: dict[str, object] = {"state": state, "attempts": attempt.number}
    changed |= {"ended_ms": ended_ms} if due_ms is None else {"due_ms": due_ms}
    connection.execute(update(messages).where(messages.c.id == message_id, IS_WAITING).values(changed))
    connection.execute(
        insert(attempts).values(
            message_id=message_id,
            number=attempt.number,
            account_id=account_id,
            started_ms=attempt.started_ms,
            duration_ms=attempt.duration_ms,
            status=attempt.answer.status,
            error=attempt.answer.error,
        )
    )
    oldest = attempt.number - limits.callback_attempts_kept
    connection.execute(
        delete(attempts).where(attempts.c.message_id == message_id, attempts.c.number <= oldest)
    )


def expire(connection: Connection, now_ms: int, limits: Limits) -> int:
    """End what has waited too long, tried or not; return how many."""
    before_ms = now_ms - limits.callback_hold_hours * HOUR_MS
    late = update(messages).where(IS_WAITING, messages.c.created_ms <= before_ms)
    return connection.execute(late.values(state=MessageState.EXPIRED, ended_ms=now_ms)).rowcount


def purge(connection: Connection, now_ms: int, limits: Limits) -> int:
    """Delete some of the messages that ended long ago, with their attempts; return how many."""
    before_ms = now_ms - limits.callback_kept_days * DAY_MS
    some = select(messages.c.id).where(messages.c.ended_ms <= before_ms).limit(PURGE_ROWS)
    ids = [row[0] for row in connection.execute(some)]
    connection.execute(delete(attempts).where(attempts.c.message_id.in_(ids)))
    connection.execute(delete(messages).where(messages.c.id.in_(ids)))
    return len(ids)


def _waiting(connection: Connection, listener_id: int, limits: Limits) -> CursorResult[int, str, bytes, int]:
    return connection.execute(
        select(messages.c.id, messages.c.subject, messages.c.imeis, messages.c.due_ms)
        .where(messages.c.listener_id == listener_id, IS_WAITING)
        .order_by(messages.c.id)
        .limit(limits.callback_scan_messages)
    )


def _read(rows: CursorResult[int, str, bytes, int]) -> Iterator[Waiting]:
    return (Waiting(row[0], row[1], _unpack(row[2]), row[3]) for row in rows)


def _parcels(connection: Connection, ids: Sequence[int]) -> tuple[Parcel, ...]:
    columns = [messages.c[name] for name in Parcel.__dataclass_fields__]
    found = select(*columns).where(messages.c.id.in_(ids)).order_by(messages.c.id)
    return tuple(Parcel(*row) for row in connection.execute(found))
