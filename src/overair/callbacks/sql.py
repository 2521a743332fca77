"""Tables of the callbacks, and the statements on listeners and on the log.

What waits, and what becomes of it: :mod:`overair.callbacks.outbox`.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from overair.callbacks.model import (
    Answer,
    Attempt,
    Listener,
    ListenerStanding,
    Logged,
    MessageState,
    Version,
)
from overair.callbacks.rules import secret_owner
from overair.credentials.sql import psk_keys
from overair.platform.database import Query, metadata

_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite's row id is any INTEGER primary key

listeners = Table(
    "callback_listeners",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("version", String(2), nullable=False),
    Column("url", String(2048), nullable=False),
    Column("sealed_secret", LargeBinary(128), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    UniqueConstraint("account_id", "version"),
)

# A message outlives its listener, for inspection: so no foreign keys.
messages = Table(
    "callback_messages",
    metadata,
    Column("id", _ID, primary_key=True),  # ascending in the order of events
    Column("uid", String(36), nullable=False),
    Column("listener_id", Integer, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("version", String(2), nullable=False),
    Column("type", String(32), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, index=True),
    Column("imeis", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),  # last: what is read without it need not pass over it
)
IS_WAITING = messages.c.state == literal_column("'waiting'")
Index(
    "ix_callback_messages_waiting",
    messages.c.listener_id,
    messages.c.id,
    sqlite_where=text("state = 'waiting'"),
    postgresql_where=text("state = 'waiting'"),
)

attempts = Table(
    "callback_attempts",
    metadata,
    Column("message_id", _ID, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("account_id", Integer, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("status", Integer),
    Column("error", String(255)),
    Index("ix_callback_attempts_log", "account_id", "started_ms"),
)

_WAITING_LISTENERS = Query(
    select(listeners.c.id, listeners.c.url).where(
        exists().where(messages.c.listener_id == listeners.c.id, IS_WAITING)
    )
)
_LISTENER = select(*[listeners.c[name] for name in Listener.__dataclass_fields__])


def listener(connection: Connection, account_id: int, version: Version) -> Listener | None:
    """Return what an account registered for a version."""
    mine = _LISTENER.where(listeners.c.account_id == account_id, listeners.c.version == version)
    row = connection.execute(mine).first()
    return Listener(*row) if row else None


def listener_by_id(connection: Connection, listener_id: int) -> Listener | None:
    """Return a listener, unless it was deregistered."""
    row = connection.execute(_LISTENER.where(listeners.c.id == listener_id)).first()
    return Listener(*row) if row else None


def standings(connection: Connection, account_id: int) -> list[ListenerStanding]:
    """Return the listeners of an account, by version, and how many messages wait for each."""
    count = select(func.count()).where(messages.c.listener_id == listeners.c.id, IS_WAITING).scalar_subquery()
    mine = (
        _LISTENER.add_columns(count).where(listeners.c.account_id == account_id).order_by(listeners.c.version)
    )
    return [ListenerStanding(Listener(*row[:-1]), row[-1]) for row in connection.execute(mine)]


def waiting_standings(connection: Connection, count: int) -> list[ListenerStanding]:
    """Return up to *count* listeners of all accounts that messages wait for, those with the most first."""
    waiting = func.count().label("waiting")
    query = (
        select(messages.c.listener_id, waiting)
        .where(IS_WAITING)
        .group_by(messages.c.listener_id)
        .order_by(waiting.desc(), messages.c.listener_id)
        .limit(count)
    )
    counts = {row[0]: row[1] for row in connection.execute(query)}
    found = {number: listener_by_id(connection, number) for number in counts}
    return [ListenerStanding(each, counts[number]) for number, each in found.items() if each is not None]


def waiting_listeners(connection: Connection) -> list[tuple[int, str]]:
    """Return id and URL of every listener that messages wait for."""
    return [(row[0], row[1]) for row in _WAITING_LISTENERS.rows(connection)]


def register(
    connection: Connection, account_id: int, version: Version, url: str, sealed_secret: bytes, now_ms: int
) -> Listener:
    """Put *url* in the place of what was registered; a listener that is there keeps its secret.

    What waits for it goes to the new URL, at once.
    """
    known = listener(connection, account_id, version)
    if known is None:
        made = insert(listeners).values(
            account_id=account_id,
            version=version,
            url=url,
            sealed_secret=sealed_secret,
            created_ms=now_ms,
            changed_ms=now_ms,
        )
        connection.execute(made)
    elif known.url != url:
        mine = update(listeners).where(listeners.c.id == known.id)
        connection.execute(mine.values(url=url, changed_ms=now_ms))
        late = update(messages).where(messages.c.listener_id == known.id, IS_WAITING)
        connection.execute(late.values(due_ms=now_ms))
    found = listener(connection, account_id, version)
    if found is None:
        raise LookupError("a listener that was just written is not there")
    return found


def deregister(connection: Connection, account_id: int, version: Version, now_ms: int) -> None:
    """Forget the listener, and drop what waits for it (spec callbacks.md, section 2)."""
    known = listener(connection, account_id, version)
    if known is None:
        return
    connection.execute(delete(listeners).where(listeners.c.id == known.id))
    waiting = update(messages).where(messages.c.listener_id == known.id, IS_WAITING)
    connection.execute(waiting.values(state=MessageState.DROPPED, ended_ms=now_ms))


def log(connection: Connection, account_id: int, count: int) -> list[Logged]:
    """Return the account's newest attempts, newest first."""
    query = (
        select(
            messages.c.uid,
            messages.c.version,
            messages.c.type,
            messages.c.subject,
            messages.c.state,
            messages.c.created_ms,
            attempts.c.number,
            attempts.c.started_ms,
            attempts.c.duration_ms,
            attempts.c.status,
            attempts.c.error,
        )
        .join_from(attempts, messages, messages.c.id == attempts.c.message_id)
        .where(attempts.c.account_id == account_id)
        .order_by(attempts.c.started_ms.desc(), attempts.c.message_id.desc(), attempts.c.number.desc())
        .limit(count)
    )
    return [_logged(*row) for row in connection.execute(query)]


def _logged(
    uid: str, version: Version, kind: str, subject: str, state: str, created_ms: int,
    number: int, started_ms: int, duration_ms: int, status: int | None, error: str | None,
) -> Logged:  # fmt: skip
    attempt = Attempt(number, started_ms, duration_ms, Answer(status, error))
    return Logged(uid, version, kind, subject, MessageState(state), created_ms, attempt)


def sealed_sample(connection: Connection) -> tuple[bytes, bytes] | None:
    """Return something that the master key must open: its owner, and it sealed; None if nothing is.

    Keys of devices lie under the same master key: none must be made anew while there are any.
    """
    key = connection.execute(select(psk_keys.c.identity, psk_keys.c.sealed).limit(1)).first()
    if key is not None:
        return key[0], key[1]
    row = connection.execute(_LISTENER.limit(1)).first()
    if row is None:
        return None
    one = Listener(*row)
    return secret_owner(one.account_id, one.version), one.sealed_secret
