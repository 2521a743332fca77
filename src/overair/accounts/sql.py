"""The tables of accounts, and the statements on them.

Times are UTC epoch milliseconds; secrets are there as digests and hashes only. What every call waits for
goes straight to the driver. :func:`find` takes a connection: a door that wants its own rows from the same
snapshot can call it inside the query that it hands to :meth:`Database.read`, and so hop once to a reader.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from overair.accounts.errors import AlreadyThere
from overair.accounts.model import AccessToken, Account, Credentials, Session, Subscription, User
from overair.accounts.rules import LoginOutcome, after_login, is_reusable
from overair.platform.database import Query, metadata

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(65), nullable=False, unique=True),
    Column("active", Boolean, nullable=False),
    Column("licenses", Integer, nullable=False),
    Column("subscriptions", String(32), nullable=False),  # comma-separated
    Column("created_ms", BigInteger, nullable=False),
    Column("subscription_ms", BigInteger),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("secret_digest", LargeBinary(32), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("key_id", ForeignKey(api_keys.c.id), nullable=False),
    Column("scope", String(1024), nullable=False),
    Column("nonce", LargeBinary(16), nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
    Column("revoked_ms", BigInteger),
    Index("ix_access_tokens_key_id_scope", "key_id", "scope"),
)

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("failed_logins", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey(users.c.id), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    # Oldest first, to make room for a new one.
    Index("ix_sessions_user_id_last_used_ms", "user_id", "last_used_ms"),
)

# In the order of the fields of their types.
TOKEN_COLUMNS = tuple(access_tokens.c[name] for name in AccessToken.__dataclass_fields__)
USER_COLUMNS = tuple(users.c[name] for name in User.__dataclass_fields__)
SESSION_COLUMNS = tuple(sessions.c[name] for name in Session.__dataclass_fields__)
ACCOUNT_COLUMNS = tuple(accounts.c[name] for name in Account.__dataclass_fields__)

TOKEN = Query(
    select(*TOKEN_COLUMNS)
    .join(api_keys, api_keys.c.id == access_tokens.c.key_id)
    .where(access_tokens.c.digest == bindparam("digest"), api_keys.c.revoked_ms.is_(None))
)
SESSION = Query(
    select(*SESSION_COLUMNS, *USER_COLUMNS)
    .join(users, users.c.id == sessions.c.user_id)
    .where(sessions.c.digest == bindparam("digest"))
)
ACCOUNT = Query(select(*ACCOUNT_COLUMNS).where(accounts.c.name == bindparam("name")))

USE_SESSION = Query(
    update(sessions)
    .values(last_used_ms=bindparam("used_ms"))
    .where(sessions.c.id == bindparam("session_id"), sessions.c.last_used_ms < bindparam("later_than_ms"))
)


def find(
    connection: Connection, bearer_digest: bytes, session_digest: bytes | None, account_name: str | None
) -> Credentials:
    """Find what a call presented; see :meth:`AccountStore.credentials`."""
    session = user = account = None
    token = next((AccessToken(*row) for row in TOKEN.rows(connection, (bearer_digest,))), None)
    if session_digest is not None:
        width = len(SESSION_COLUMNS)
        for row in SESSION.rows(connection, (session_digest,)):
            session, user = Session(*row[:width]), User(*row[width:])
    if account_name is not None:
        account = next(map(account_of, ACCOUNT.rows(connection, (account_name,))), None)
    return Credentials(token, session, user, account)


def account_of(row: Sequence[Any]) -> Account:
    """Return the account of a row of :data:`ACCOUNT_COLUMNS`."""
    id_, name, active, licenses, subscriptions, created_ms, subscription_ms = row
    names = tuple(Subscription(part) for part in subscriptions.split(",") if part)
    return Account(id_, name, bool(active), licenses, names, created_ms, subscription_ms)


def set_licenses(connection: Connection, account_id: int, licenses: int, now_ms: int) -> None:
    """Change how many licences an account has bought."""
    mine = accounts.c.id == account_id
    connection.execute(update(accounts).where(mine).values(licenses=licenses, subscription_ms=now_ms))


def added(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    """Insert a row; return the id that the database gave it."""
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    if key is None:
        raise LookupError(f"{table.name}: the database gave the new row no id")
    return int(key[0])


def add_named(connection: Connection, table: Table, kind: str, values: dict[str, Any]) -> int:
    """Insert a row whose name must be new; :class:`AlreadyThere` with *kind* and the name."""
    taken = connection.execute(select(table.c.id).where(table.c.name == values["name"])).first()
    if taken:
        raise AlreadyThere(kind, values["name"])
    return added(connection, table, values)


def reusable_token(connection: Connection, key_id: int, scope: str, now_ms: int) -> AccessToken | None:
    """Return the token that a repeated request gets; see :meth:`AccountStore.reusable_token`."""
    query = (
        select(*TOKEN_COLUMNS)
        .where(access_tokens.c.key_id == key_id, access_tokens.c.scope == scope)
        .where(access_tokens.c.revoked_ms.is_(None), access_tokens.c.expires_ms > now_ms)
        .order_by(access_tokens.c.expires_ms.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    token = row and AccessToken(*row)
    return token if token and is_reusable(token, now_ms) else None


def add_token(connection: Connection, token: AccessToken) -> AccessToken:
    """Insert *token* unless there is a reusable one; see :meth:`AccountStore.add_token`."""
    found = reusable_token(connection, token.key_id, token.scope, token.issued_ms)
    if found is None:
        values = {column.name: getattr(token, column.name) for column in TOKEN_COLUMNS}
        connection.execute(insert(access_tokens).values(values))
    return found or token


def count_login(connection: Connection, user_id: int, right: bool, limit: int) -> LoginOutcome:
    """Count an attempt; see :meth:`AccountStore.count_login`."""
    mine = users.c.id == user_id
    before = connection.execute(select(users.c.failed_logins).where(mine)).scalar_one()
    outcome, after = after_login(before, right=right, limit=limit)
    if after != before:
        connection.execute(update(users).where(mine).values(failed_logins=after))
    return outcome


def add_session(connection: Connection, values: dict[str, Any], keep: int) -> None:
    """Insert a session and delete those of its user beyond the *keep* used last."""
    connection.execute(insert(sessions).values(values))
    newest_first = (sessions.c.last_used_ms.desc(), sessions.c.id.desc())
    mine = select(sessions.c.id).where(sessions.c.user_id == values["user_id"])
    surplus = mine.order_by(*newest_first).offset(keep)
    connection.execute(delete(sessions).where(sessions.c.id.in_(surplus)))


def use_sessions(connection: Connection, uses: list[tuple[int, int, int]]) -> list[None]:
    """Store last uses: (time in ms, session id, time in ms), a group of them at a time."""
    USE_SESSION.many(connection, uses)
    return [None] * len(uses)
