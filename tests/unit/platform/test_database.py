"""Reading, and how a database is opened."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table, bindparam, func, insert, select, text
from sqlalchemy.exc import OperationalError

from overair.platform.database import Database, DatabaseError, Query
from overair.platform.database.database import engine_for

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: the log is synced before a commit returns
    "foreign_keys": 1,
    "busy_timeout": 15_000,
}


def pragmas(connection: Connection) -> dict[str, object]:
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}


async def test_the_writers_connection_is_durable_and_patient(database: Database) -> None:
    assert await database.write(pragmas) == PRAGMAS


async def test_readers_have_the_same_settings(database: Database) -> None:
    assert await database.read(pragmas) == PRAGMAS


async def test_a_read_sees_what_was_committed(database: Database, notes: Table) -> None:
    count = select(func.count()).select_from(notes)

    def read(connection: Connection) -> int:
        return connection.execute(count).scalar_one()

    for n in range(20):
        assert await database.read(read) == n
        await database.write(lambda connection, n=n: connection.execute(insert(notes).values(id=n)))


async def test_a_read_sees_nothing_of_a_transaction_that_is_not_over(
    database: Database, notes: Table
) -> None:
    written, seen = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        connection.execute(insert(notes).values(id=1))
        written.set()
        assert seen.wait(30)

    writing = asyncio.ensure_future(database.write(slow))
    assert await asyncio.to_thread(written.wait, 30)
    assert await database.read(lambda connection: connection.execute(select(notes.c.id)).all()) == []
    seen.set()
    await writing
    assert await database.read(lambda connection: connection.execute(select(notes.c.id)).all()) == [(1,)]


async def test_a_read_is_one_snapshot(database: Database, notes: Table) -> None:
    began, changed = threading.Event(), threading.Event()

    def twice(connection: Connection) -> tuple[int, int]:
        count = select(func.count()).select_from(notes)
        first = connection.execute(count).scalar_one()
        began.set()
        assert changed.wait(30)
        return first, connection.execute(count).scalar_one()

    reading = asyncio.ensure_future(database.read(twice))
    assert await asyncio.to_thread(began.wait, 30)
    await database.write(lambda connection: connection.execute(insert(notes).values(id=1)))
    changed.set()
    assert await reading == (0, 0)


async def test_many_reads_at_once_and_a_read_that_fails(database: Database) -> None:
    reads = [
        database.read(lambda connection, n=n: connection.execute(text(f"SELECT {n}")).scalar())
        for n in range(50)
    ]
    assert await asyncio.gather(*reads) == list(range(50))
    with pytest.raises(OperationalError):
        await database.read(lambda connection: connection.execute(text("SELECT x FROM nowhere")))
    assert await database.read(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1


async def test_two_databases_on_one_file_both_write(path: Path, notes: Table) -> None:
    url = f"sqlite:///{path}"
    async with Database(url) as one, Database(url) as two:
        writes = [
            database.write(lambda connection, n=n: connection.execute(insert(notes).values(id=n)))
            for n, database in enumerate([one, two] * 10)
        ]
        await asyncio.gather(*writes)
        assert (
            await one.read(lambda connection: connection.execute(select(func.count(notes.c.id))).scalar())
            == 20
        )


async def test_what_was_committed_is_there_when_it_is_opened_again(path: Path, notes: Table) -> None:
    for n in range(3):
        async with Database(f"sqlite:///{path}") as database:
            await database.write(lambda connection, n=n: connection.execute(insert(notes).values(id=n)))
    async with Database(f"sqlite:///{path}") as database:
        rows = await database.read(lambda connection: connection.execute(select(notes.c.id)).all())
    assert rows == [(0,), (1,), (2,)]
    assert not path.with_name("overair.db-wal").exists()


async def test_a_database_that_is_not_open_takes_no_writes(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseError, match="async with"):
        await database.write(lambda _: None)


@pytest.mark.parametrize("url", ["postgresql://localhost/overair", "mysql+pymysql://localhost/overair"])
def test_only_sqlite_so_far_and_it_says_so(url: str) -> None:
    with pytest.raises(DatabaseError, match="sqlite"):
        Database(url)


def test_parameters_stay_out_of_errors(path: Path) -> None:
    with engine_for(f"sqlite:///{path}").connect() as connection, pytest.raises(OperationalError) as raised:
        connection.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "hunter2"})
    assert "hunter2" not in str(raised.value)


# Query: straight to the driver.


async def test_a_query_takes_parameters_by_position_and_gives_plain_tuples(
    database: Database, notes: Table
) -> None:
    write = Query(insert(notes))
    read = Query(
        select(notes.c.text, notes.c.id).where(notes.c.id >= bindparam("low"), notes.c.id < bindparam("high"))
    )
    await database.write(lambda connection: write.many(connection, [(n, f"note {n}") for n in range(5)]))
    rows = await database.read(lambda connection: read.rows(connection, (1, 3)))
    assert rows == [("note 1", 1), ("note 2", 2)]
    assert {type(row) for row in rows} == {tuple}


async def test_a_query_is_part_of_the_transaction(database: Database, notes: Table) -> None:
    write = Query(insert(notes))

    def broken(connection: Connection) -> None:
        write.many(connection, [(1, "x")])
        raise ZeroDivisionError("as planned")

    with pytest.raises(ZeroDivisionError):
        await database.write(broken)
    assert await database.read(lambda connection: Query(select(notes)).rows(connection)) == []


async def test_many_of_nothing_does_nothing_and_a_wrong_count_is_an_error(
    database: Database, notes: Table
) -> None:
    write = Query(insert(notes))
    await database.write(lambda connection: write.many(connection, []))
    with pytest.raises(sqlite3.ProgrammingError):
        await database.write(lambda connection: write.many(connection, [(1,)]))
