"""The one object through which the service reads and writes."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, Table, TextClause, make_url, text
from sqlalchemy.sql import ClauseElement

from overair.platform.database.sqlite import sqlite_engine
from overair.platform.database.writer import Done, GroupWriter, Handler

T = TypeVar("T")

READERS = 2  # more only fight for the interpreter lock
GROUP_ITEMS = 512  # keeps one commit, and so every answer that waits for it, within tens of milliseconds


class DatabaseError(Exception):
    """The database can't be used as asked; the message says what to do."""


def embedded_url(data: Path) -> str:
    """Return the URL of the embedded database in a data directory, which is made when missing."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:///{data.resolve() / 'overair.db'}"


def engine_for(url: str) -> Engine:
    """Return the engine for a database URL; only SQLite is there so far."""
    if make_url(url).get_backend_name() != "sqlite":
        raise DatabaseError(f"database {url!r}: only sqlite:/// URLs are supported by this version")
    return sqlite_engine(url)


class Database:
    """Reads on a few threads, writes on one; both from the event loop.

    Use as ``async with Database(url) as database``.
    """

    def __init__(self, url: str) -> None:
        self.engine = engine_for(url)
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="overair-reader")
        self._writer: GroupWriter | None = None

    async def __aenter__(self) -> "Database":
        self._writer = GroupWriter(self.engine, group_items=GROUP_ITEMS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open_writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._connections:
            connection.close()
        self.engine.dispose()

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run *query* on a reader's thread, inside one snapshot of the database."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, query)

    async def write(self, change: Callable[[Connection], T]) -> T:
        """Run *change* on the writer's thread; returns after it is committed."""
        written: T = await self.write_with(_each, change)
        return written

    async def write_with(self, handler: Handler, item: Any) -> Any:
        """Have *handler* write *item* together with others; returns its result after the commit."""
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.submit(handler, item, partial(_settle, waiter))
        return await waiter

    def submit(self, handler: Handler, item: Any, done: Done) -> None:
        """Have *handler* write *item* together with others; see :mod:`overair.platform.database.writer`."""
        self._open_writer.submit(handler, item, done)

    @property
    def busy(self) -> bool:
        """Whether a group is being written; see :attr:`GroupWriter.busy`."""
        return self._open_writer.busy

    def on_idle(self, listener: Callable[[], None]) -> None:
        """Call *listener* when that is over."""
        self._open_writer.on_idle(listener)

    @property
    def backlog(self) -> int:
        """Items submitted and not committed yet."""
        return self._open_writer.backlog

    @property
    def _open_writer(self) -> GroupWriter:
        if self._writer is None:
            raise DatabaseError("the database is not open: use 'async with'")
        return self._writer

    def _read(self, query: Callable[[Connection], T]) -> T:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self.engine.connect().execution_options(overair_read_only=True)
            self._local.connection = connection
            self._connections.append(connection)
        with connection.begin():
            return query(connection)


def _each(connection: Connection, changes: list[Callable[[Connection], Any]]) -> list[Any]:
    results: list[Any] = []
    for change in changes:
        try:
            with connection.begin_nested():
                results.append(change(connection))
        except Exception as error:  # noqa: BLE001 - raised again where the change was asked for
            results.append(error)
    return results


def _settle(waiter: asyncio.Future[Any], result: Any) -> None:
    if waiter.cancelled():
        return
    if isinstance(result, Exception):
        waiter.set_exception(result)
    else:
        waiter.set_result(result)


class Query:
    """A statement compiled once and handed straight to the driver, for hot paths.

    SQLAlchemy's row objects and compilation cost more than SQLite itself on a page of 1000 rows.
    Parameters go by position, in the order in which their ``bindparam`` stand in the SQL.
    """

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._sql: dict[str, str] = {}

    def sql(self, connection: Connection) -> str:
        name = connection.dialect.name
        if name not in self._sql:
            if not isinstance(self._statement, ClauseElement):
                raise TypeError("a Query takes a Core statement")
            self._sql[name] = str(self._statement.compile(dialect=connection.dialect))
        return self._sql[name]

    def rows(self, connection: Connection, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run it and return all rows as plain tuples."""
        cursor = connection.connection.cursor()
        cursor.execute(self.sql(connection), parameters)
        found = list(cursor.fetchall())
        cursor.close()
        return found

    def many(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Run it once a row."""
        if rows:
            cursor = connection.connection.cursor()
            cursor.executemany(self.sql(connection), rows)
            cursor.close()


def upsert(table: Table) -> TextClause:
    """Return the statement that inserts a row, or replaces the one with the same primary key.

    ``ON CONFLICT`` is the same in SQLite and PostgreSQL, but not in SQLAlchemy's Core.
    """
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    places = ", ".join(f":{name}" for name in names)
    return text(
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places}) "  # noqa: S608 - our own names
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    )
