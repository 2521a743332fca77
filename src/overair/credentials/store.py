"""Where pre-shared keys are kept."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Protocol, cast

import structlog
from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.engine.interfaces import DBAPICursor

from overair.credentials import sql
from overair.credentials.model import Decide, KeysState, Owned, PskTimes, StoredPsk
from overair.credentials.ring import PskReader, PskRow
from overair.credentials.sql import psk_keys
from overair.platform.database import Database, Query

PURGE_ROWS = 1000  # a transaction, so that nobody waits long behind a purge
# A reader waits for nobody in WAL mode, but for a database that is being repaired.
RING_BUSY_TIMEOUT_MS = 100

_log = structlog.get_logger()


class CredentialStore(Protocol):
    """What the service needs of a store; the in-memory twin has the same contract tests."""

    async def add(self, wanted: Sequence[StoredPsk], decide: Decide) -> None:
        """Have *decide* say, one by one, what each makes of its identity's keys, and store that.

        One transaction. A :class:`CredentialError` of *decide* undoes all: :class:`KeysRefused`.
        """
        ...

    async def check(self, wanted: Sequence[StoredPsk], decide: Decide) -> None:
        """Raise the :class:`KeysRefused` that :meth:`add` would raise, and store nothing.

        Each stands alone: that two of them want the same identity is not seen.
        """
        ...

    async def of_device(self, imei: int) -> list[PskTimes]:
        """Return all keys of a device, by identity, the newest of each first."""
        ...

    async def remove(self, imei: int, identity: bytes) -> bool:
        """Delete all keys of a device's identity; False if the device has none of that identity."""
        ...

    async def purge(self, now_ms: int) -> int:
        """Delete the keys that expired by *now_ms*; return how many."""
        ...

    async def sample(self) -> tuple[bytes, bytes] | None:
        """Return an identity and its sealed key, if there are any: the master key must open it."""
        ...

    async def state(self) -> KeysState:
        """Return what changes with every key that comes or goes; reads them all, but on another thread."""
        ...

    async def owned(self, now_ms: int) -> dict[bytes, Owned]:
        """Return all identities that have a valid key."""
        ...

    def reader(self) -> PskReader:
        """Return a reader for a key ring; it opens its connection at its first read."""
        ...


class SqlCredentialStore:
    """Keys in SQL. It remembers nothing: the command line writes the same table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, wanted: Sequence[StoredPsk], decide: Decide) -> None:
        await self._database.write(lambda connection: sql.add(connection, wanted, decide))

    async def check(self, wanted: Sequence[StoredPsk], decide: Decide) -> None:
        await self._database.read(lambda connection: sql.check(connection, wanted, decide))

    async def of_device(self, imei: int) -> list[PskTimes]:
        query = (
            select(psk_keys.c.identity, psk_keys.c.created_ms, psk_keys.c.expires_ms)
            .where(psk_keys.c.imei == imei)
            .order_by(psk_keys.c.identity, psk_keys.c.id.desc())
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [PskTimes(*row) for row in rows]

    async def remove(self, imei: int, identity: bytes) -> bool:
        mine = delete(psk_keys).where(psk_keys.c.imei == imei, psk_keys.c.identity == identity)
        return bool(await self._database.write(lambda connection: connection.execute(mine).rowcount))

    async def purge(self, now_ms: int) -> int:
        some = select(psk_keys.c.id).where(psk_keys.c.expires_ms <= now_ms).limit(PURGE_ROWS)
        statement = delete(psk_keys).where(psk_keys.c.id.in_(some))
        total, deleted = 0, PURGE_ROWS
        while deleted == PURGE_ROWS:
            deleted = await self._database.write(lambda connection: connection.execute(statement).rowcount)
            total += deleted
        return total

    async def sample(self) -> tuple[bytes, bytes] | None:
        query = select(psk_keys.c.identity, psk_keys.c.sealed).limit(1)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return (row[0], row[1]) if row else None

    async def state(self) -> KeysState:
        row = await self._database.read(lambda connection: connection.execute(sql.STATE).one())
        return KeysState(*row)

    async def owned(self, now_ms: int) -> dict[bytes, Owned]:
        rows = await self._database.read(
            lambda connection: connection.execute(sql.OWNED, {"now_ms": now_ms}).all()
        )
        return {identity: Owned(imei, since_ms) for identity, imei, since_ms in rows}

    def reader(self) -> "SqlPskReader":
        return SqlPskReader(self._database.engine)


class SqlPskReader:
    """Point queries on a read-only connection of its own, each a snapshot of what is committed.

    The driver's cursor is kept and asked directly: a handshake waits for this.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._opened: tuple[Connection, DBAPICursor] | None = None

    def keys_of(self, identity: bytes) -> Sequence[PskRow]:
        return cast("list[PskRow]", self.rows(sql.RING, identity) or [])

    def expiries_of(self, imei: int) -> Sequence[int | None] | None:
        found = self.rows(sql.OF_DEVICE, imei)
        return None if found is None else [expires_ms for (expires_ms,) in found]

    def rows(self, query: Query, key: bytes | int) -> list[tuple[Any, ...]] | None:
        """Return what a query finds; None, and logged, if the database can't be read."""
        try:
            connection, cursor = self._opened or self._open()
            cursor.execute(query.sql(connection), (key,))
            return cast("list[tuple[Any, ...]]", cursor.fetchall())  # to its end, and so the snapshot's
        except sqlite3.OperationalError as error:
            # The device will try again; an error here would take the whole door down.
            _log.error("psk_not_read", error=str(error))
            return None

    def close(self) -> None:
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None

    def _open(self) -> tuple[Connection, DBAPICursor]:
        connection = self._engine.connect()
        # Past SQLAlchemy, which would begin a transaction, and so keep one snapshot for ever.
        cursor = connection.connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={RING_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA query_only=ON")
        self._opened = connection, cursor
        return self._opened
