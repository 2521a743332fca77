"""What only SQLite speaks: pragmas, and when a transaction begins.

WAL with ``synchronous=FULL``: a commit that returned survives a power cut (sqlite.org, "pragma synchronous").
"""

import sqlite3

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

BUSY_TIMEOUT_MS = 15_000
WAL_AUTOCHECKPOINT_PAGES = 8_000
CACHE_KIB = 65_536


def sqlite_engine(url: str) -> Engine:
    """Return an engine whose connections are durable and wait for other processes' writes.

    Each thread of :class:`~overair.platform.database.Database` opens one connection and keeps it,
    so there is no pool.
    """
    engine = create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,  # or password hashes would stand in tracebacks
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions on its own: it would begin them as readers,
    # and two readers that turn into writers deadlock.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"wal_autocheckpoint={WAL_AUTOCHECKPOINT_PAGES}",
        f"cache_size=-{CACHE_KIB}",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("overair_read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
