"""Where accounts, keys, users, tokens and sessions are kept."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog
from sqlalchemy import ColumnElement, Connection, Table, delete, select, update

from overair.accounts import sql
from overair.accounts.model import AccessToken, Account, ApiKey, Credentials, Subscription, User
from overair.accounts.rules import LoginOutcome
from overair.accounts.sql import access_tokens, accounts, api_keys, sessions, users
from overair.platform.database import Database

PURGE_ROWS = 1000  # a transaction, so that nobody waits long behind a purge

log = structlog.get_logger(__name__)


class AccountStore(Protocol):
    """What the service needs of a store; the in-memory twin has the same contract tests."""

    async def add_account(
        self, name: str, licenses: int, subscriptions: tuple[Subscription, ...], now_ms: int
    ) -> Account:
        """Add an active account; :class:`AlreadyThere` if the name is taken."""
        ...

    async def accounts(self) -> list[Account]:
        """Return all accounts, by name."""
        ...

    async def account(self, name: str) -> Account | None: ...

    async def set_active(self, account_id: int, *, active: bool) -> None: ...

    async def add_key(self, account_id: int, key: str, secret_digest: bytes, now_ms: int) -> ApiKey: ...

    async def keys(self, account_id: int) -> list[ApiKey]:
        """Return all keys of an account, revoked ones included, oldest first."""
        ...

    async def key(self, key: str) -> ApiKey | None: ...

    async def revoke_key(self, account_id: int, key: str, now_ms: int) -> bool:
        """Revoke a key and with it its tokens; False if the account has no such key."""
        ...

    async def reusable_token(self, key_id: int, scope: str, now_ms: int) -> AccessToken | None: ...

    async def add_token(self, token: AccessToken) -> AccessToken:
        """Add *token*, or return the reusable one that another request has added meanwhile."""
        ...

    async def revoke_token(self, key_id: int, digest: bytes, now_ms: int) -> bool:
        """Revoke a token; False if the key has none with this digest."""
        ...

    async def add_user(self, account_id: int, name: str, password_hash: str, now_ms: int) -> User:
        """Add a user; :class:`AlreadyThere` if the name is taken, in any account."""
        ...

    async def user(self, name: str) -> User | None: ...

    async def unlock(self, account_id: int, name: str) -> bool:
        """Set the failed logins to nought; False if the account has no such user."""
        ...

    async def count_login(self, user_id: int, *, right: bool, limit: int) -> LoginOutcome:
        """Count an attempt and return what comes of it, as one step."""
        ...

    async def change_password(self, user_id: int, old_hash: str, new_hash: str) -> bool:
        """Replace the password; False if it is not *old_hash* any more."""
        ...

    async def add_session(self, user_id: int, digest: bytes, now_ms: int, *, keep: int) -> None:
        """Add a session; the user keeps the *keep* that were used last."""
        ...

    def use_session(self, session_id: int, used_ms: int) -> None:
        """Store a use soon; whether it succeeds makes little difference, so nobody waits for it."""
        ...

    async def end_session(self, session_id: int, now_ms: int) -> bool:
        """End a session; False if it has ended already."""
        ...

    async def credentials(
        self, bearer_digest: bytes, session_digest: bytes | None, account_name: str | None
    ) -> Credentials:
        """Find what a call presented; a token of a revoked key is not found."""
        ...

    async def purge(self, before_ms: int) -> int:
        """Delete tokens that expired, and sessions last used, before *before_ms*; return how many."""
        ...


class SqlAccountStore:
    """Accounts in SQL. It remembers nothing: other processes write the same tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_account(
        self, name: str, licenses: int, subscriptions: tuple[Subscription, ...], now_ms: int
    ) -> Account:
        values = {
            "name": name,
            "active": True,
            "licenses": licenses,
            "subscriptions": ",".join(subscriptions),
            "created_ms": now_ms,
        }
        id_ = await self._database.write(lambda c: sql.add_named(c, accounts, "account", values))
        return Account(id_, name, True, licenses, subscriptions, now_ms)

    async def accounts(self) -> list[Account]:
        query = select(*sql.ACCOUNT_COLUMNS).order_by(accounts.c.name)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [sql.account_of(row) for row in rows]

    async def account(self, name: str) -> Account | None:
        row = await self._one(accounts, accounts.c.name == name, *sql.ACCOUNT_COLUMNS)
        return sql.account_of(row) if row else None

    async def set_active(self, account_id: int, *, active: bool) -> None:
        await self._change(accounts, accounts.c.id == account_id, active=active)

    async def add_key(self, account_id: int, key: str, secret_digest: bytes, now_ms: int) -> ApiKey:
        values = {
            "account_id": account_id,
            "key": key,
            "secret_digest": secret_digest,
            "created_ms": now_ms,
        }
        id_ = await self._database.write(lambda c: sql.added(c, api_keys, values))
        return ApiKey(id_, account_id, key, secret_digest, now_ms)

    async def keys(self, account_id: int) -> list[ApiKey]:
        query = select(api_keys).where(api_keys.c.account_id == account_id).order_by(api_keys.c.id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [ApiKey(*row) for row in rows]

    async def key(self, key: str) -> ApiKey | None:
        row = await self._one(api_keys, api_keys.c.key == key)
        return ApiKey(*row) if row else None

    async def revoke_key(self, account_id: int, key: str, now_ms: int) -> bool:
        mine = (api_keys.c.account_id == account_id) & (api_keys.c.key == key)
        return await self._change(
            api_keys, mine & api_keys.c.revoked_ms.is_(None), revoked_ms=now_ms
        ) or await self._exists(api_keys, mine)

    async def reusable_token(self, key_id: int, scope: str, now_ms: int) -> AccessToken | None:
        return await self._database.read(lambda c: sql.reusable_token(c, key_id, scope, now_ms))

    async def add_token(self, token: AccessToken) -> AccessToken:
        return await self._database.write(lambda c: sql.add_token(c, token))

    async def revoke_token(self, key_id: int, digest: bytes, now_ms: int) -> bool:
        mine = (access_tokens.c.key_id == key_id) & (access_tokens.c.digest == digest)
        return await self._change(
            access_tokens, mine & access_tokens.c.revoked_ms.is_(None), revoked_ms=now_ms
        ) or await self._exists(access_tokens, mine)

    async def add_user(self, account_id: int, name: str, password_hash: str, now_ms: int) -> User:
        values = {
            "account_id": account_id,
            "name": name,
            "password_hash": password_hash,
            "failed_logins": 0,
            "created_ms": now_ms,
        }
        id_ = await self._database.write(lambda c: sql.add_named(c, users, "user", values))
        return User(id_, account_id, name, password_hash, 0, now_ms)

    async def user(self, name: str) -> User | None:
        row = await self._one(users, users.c.name == name, *sql.USER_COLUMNS)
        return User(*row) if row else None

    async def unlock(self, account_id: int, name: str) -> bool:
        mine = (users.c.account_id == account_id) & (users.c.name == name)
        return await self._change(users, mine, failed_logins=0)

    async def count_login(self, user_id: int, *, right: bool, limit: int) -> LoginOutcome:
        return await self._database.write(lambda c: sql.count_login(c, user_id, right, limit))

    async def change_password(self, user_id: int, old_hash: str, new_hash: str) -> bool:
        unchanged = (users.c.id == user_id) & (users.c.password_hash == old_hash)
        return await self._change(users, unchanged, password_hash=new_hash)

    async def add_session(self, user_id: int, digest: bytes, now_ms: int, *, keep: int) -> None:
        values = {"user_id": user_id, "digest": digest, "created_ms": now_ms, "last_used_ms": now_ms}
        await self._database.write(lambda c: sql.add_session(c, values, keep))

    def use_session(self, session_id: int, used_ms: int) -> None:
        self._database.submit(sql.use_sessions, (used_ms, session_id, used_ms), _log_failure)

    async def end_session(self, session_id: int, now_ms: int) -> bool:
        active = (sessions.c.id == session_id) & sessions.c.ended_ms.is_(None)
        return await self._change(sessions, active, ended_ms=now_ms)

    async def credentials(
        self, bearer_digest: bytes, session_digest: bytes | None, account_name: str | None
    ) -> Credentials:
        return await self._database.read(lambda c: sql.find(c, bearer_digest, session_digest, account_name))

    async def purge(self, before_ms: int) -> int:
        old = (
            (access_tokens, access_tokens.c.digest, access_tokens.c.expires_ms < before_ms),
            (sessions, sessions.c.id, sessions.c.last_used_ms < before_ms),
        )
        total = 0
        for table, key, condition in old:
            some = select(key).where(condition).limit(PURGE_ROWS)
            statement = delete(table).where(key.in_(some))
            deleted = PURGE_ROWS
            while deleted == PURGE_ROWS:
                deleted = await self._database.write(_row_count(statement))
                total += deleted
        return total

    async def _one(
        self, table: Table, condition: ColumnElement[bool], *columns: ColumnElement[Any]
    ) -> Sequence[Any] | None:
        query = select(*(columns or table.columns)).where(condition)
        return await self._database.read(lambda c: c.execute(query).one_or_none())

    async def _exists(self, table: Table, condition: ColumnElement[bool]) -> bool:
        return await self._one(table, condition) is not None

    async def _change(self, table: Table, condition: ColumnElement[bool], **values: object) -> bool:
        return bool(await self._database.write(_row_count(update(table).where(condition).values(**values))))


def _row_count(statement: Any) -> Callable[[Connection], int]:
    return lambda connection: int(connection.execute(statement).rowcount)


def _log_failure(result: object) -> None:
    if isinstance(result, Exception):
        log.warning("session use not stored", error=type(result).__name__)
