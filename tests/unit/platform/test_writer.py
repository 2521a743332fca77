"""Group commit: who shares a transaction, who is told what, and what survives."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, event, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from overair.platform.database import Database
from overair.platform.database.writer import GroupWriter, Handler

Stored = Callable[[], list[int]]


@pytest.fixture
def add(notes: Table) -> Handler:
    """A handler that inserts the ids that it gets and answers each with its square."""

    def handler(connection: Connection, items: list[int]) -> Sequence[int]:
        connection.execute(insert(notes), [{"id": item} for item in items])
        return [item * item for item in items]

    return handler


@pytest.fixture
def fail(notes: Table) -> Handler:
    """A handler that writes and then fails."""

    def handler(connection: Connection, items: list[int]) -> Sequence[int]:
        connection.execute(insert(notes), [{"id": item} for item in items])
        raise ZeroDivisionError("as planned")

    return handler


class Gate:
    """Keeps the writer's thread inside a transaction until it is opened."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, _connection: Connection, items: list[Any]) -> Sequence[None]:
        self._reached.set()
        assert self._open.wait(30)
        return [None] * len(items)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, 30)

    def open(self) -> None:
        self._open.set()


class Commits:
    """Counts the commits of an engine."""

    def __init__(self, engine: Engine) -> None:
        self.count = 0
        event.listen(engine, "commit", self._count)

    def _count(self, _connection: Connection) -> None:
        self.count += 1


def ask(writer: Database | GroupWriter, handler: Handler, item: Any) -> "asyncio.Future[Any]":
    waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    writer.submit(handler, item, waiter.set_result)
    return waiter


async def test_what_is_submitted_in_one_turn_shares_a_transaction(
    database: Database, add: Handler, stored: Stored
) -> None:
    commits = Commits(database.engine)
    results = await asyncio.gather(*[ask(database, add, n) for n in range(500)])
    assert results == [n * n for n in range(500)]
    assert commits.count == 1
    assert stored() == list(range(500))


async def test_what_comes_while_a_commit_runs_shares_the_next_one(
    database: Database, add: Handler, stored: Stored
) -> None:
    commits = Commits(database.engine)
    gate = Gate()
    first = ask(database, gate, 0)
    await gate.reached()
    waiters = [ask(database, add, n) for n in range(100)]
    await asyncio.to_thread(stored)  # another turn of the loop
    waiters += [ask(database, add, n) for n in range(100, 200)]
    assert database.backlog == 201
    gate.open()
    await asyncio.gather(first, *waiters)
    assert commits.count == 2
    assert database.backlog == 0
    assert stored() == list(range(200))


async def test_a_group_is_bounded_and_order_is_kept(path: Path, add: Handler, stored: Stored) -> None:
    async with Database(f"sqlite:///{path}") as database:
        commits = Commits(database.engine)
        writer = GroupWriter(database.engine, group_items=10)
        await asyncio.gather(*[ask(writer, add, n) for n in range(25, 0, -1)])
        await writer.close()
    assert commits.count == 3
    assert sorted(stored()) == list(range(1, 26))


async def test_each_handler_gets_its_items_of_a_group_in_one_call_in_order(database: Database) -> None:
    calls: list[tuple[str, list[int]]] = []

    def one(_: Connection, items: list[int]) -> list[int]:
        calls.append(("one", items))
        return items

    def two(_: Connection, items: list[int]) -> list[int]:
        calls.append(("two", items))
        return items

    waiters = [ask(database, handler, n) for n, handler in enumerate([one, two, one, two, one])]
    assert await asyncio.gather(*waiters) == [0, 1, 2, 3, 4]
    assert calls == [("one", [0, 2, 4]), ("two", [1, 3])]


async def test_callers_are_told_after_the_commit_on_the_loop(
    database: Database, add: Handler, stored: Stored
) -> None:
    seen: list[tuple[list[int], int]] = []
    ready = asyncio.Event()

    def done(_: Any) -> None:
        seen.append((stored(), threading.get_ident()))
        ready.set()

    database.submit(add, 7, done)
    await ready.wait()
    assert seen == [([7], threading.get_ident())]


async def test_a_failing_handler_fails_its_own_items_only(
    database: Database, add: Handler, fail: Handler, stored: Stored
) -> None:
    commits = Commits(database.engine)
    waiters = [ask(database, add, 1), ask(database, fail, 2), ask(database, add, 3), ask(database, fail, 4)]
    results = await asyncio.gather(*waiters)
    assert [results[0], results[2]] == [1, 9]
    assert all(isinstance(results[place], ZeroDivisionError) for place in (1, 3))
    assert stored() == [1, 3]
    assert commits.count == 1


async def test_a_failing_first_handler_spares_the_next(
    database: Database, add: Handler, fail: Handler, stored: Stored
) -> None:
    refused, written = await asyncio.gather(ask(database, fail, 1), ask(database, add, 2))
    assert isinstance(refused, ZeroDivisionError)
    assert (written, stored()) == (4, [2])


async def test_an_exception_as_a_result_is_that_items_alone(
    database: Database, notes: Table, stored: Stored
) -> None:
    def picky(connection: Connection, items: list[int]) -> Sequence[Any]:
        connection.execute(insert(notes), [{"id": item} for item in items if item > 0])
        return [item if item > 0 else ValueError(item) for item in items]

    good, bad = await asyncio.gather(ask(database, picky, 1), ask(database, picky, -1))
    assert good == 1
    assert isinstance(bad, ValueError)
    assert stored() == [1]


async def test_a_handler_that_answers_too_few_writes_nothing(
    database: Database, notes: Table, stored: Stored
) -> None:
    def forgetful(connection: Connection, items: list[int]) -> Sequence[int]:
        connection.execute(insert(notes), [{"id": item} for item in items])
        return items[1:]

    results = await asyncio.gather(ask(database, forgetful, 1), ask(database, forgetful, 2))
    assert all(isinstance(result, ValueError) for result in results)
    assert stored() == []


async def test_a_commit_that_fails_reaches_every_caller(
    database: Database, add: Handler, stored: Stored
) -> None:
    def orphan(connection: Connection, items: list[int]) -> Sequence[None]:
        for _ in items:
            connection.execute(text("INSERT INTO children (parent) VALUES (99)"))
        return [None] * len(items)

    await database.write(
        lambda connection: connection.execute(
            text(
                "CREATE TABLE children (parent INTEGER NOT NULL"
                " REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )
    )
    results = await asyncio.gather(ask(database, add, 1), ask(database, orphan, 2), ask(database, add, 3))
    assert [type(result) for result in results] == [IntegrityError] * 3
    assert stored() == []


async def test_after_a_commit_that_failed_the_next_group_is_written(
    database: Database, notes: Table, add: Handler, stored: Stored
) -> None:
    def orphan(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.execute(text("INSERT INTO children (parent) VALUES (99)"))

    await database.write(
        lambda connection: connection.execute(
            text("CREATE TABLE children (parent INTEGER NOT NULL REFERENCES notes (id))")
        )
    )
    with pytest.raises(IntegrityError):
        await database.write(orphan)
    assert await ask(database, add, 4) == 16
    assert stored() == [4]


async def test_a_callback_that_fails_does_not_keep_the_others_waiting(
    database: Database, add: Handler, stored: Stored
) -> None:
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def bad(_: Any) -> None:
        raise ZeroDivisionError("as planned")

    database.submit(add, 1, bad)
    assert await ask(database, add, 2) == 4
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    assert stored() == [1, 2]


async def test_close_writes_what_a_last_callback_submitted(path: Path, add: Handler, stored: Stored) -> None:
    told: list[int] = []
    async with Database(f"sqlite:///{path}") as database:
        database.submit(add, 1, lambda _: database.submit(add, 2, told.append))
    assert (told, stored()) == ([4], [1, 2])


async def test_close_writes_what_was_submitted(path: Path, add: Handler, stored: Stored) -> None:
    async with Database(f"sqlite:///{path}") as database:
        gate = Gate()
        ask(database, gate, 0)
        await gate.reached()
        waiters = [ask(database, add, n) for n in range(3000)]
        gate.open()
    assert [waiter.result() for waiter in waiters] == [n * n for n in range(3000)]
    assert len(stored()) == 3000


async def test_close_of_an_idle_writer_ends_its_thread(path: Path) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    async with Database(f"sqlite:///{path}"):
        names = {thread.name for thread in threading.enumerate() if thread.ident not in before}
        assert names == {"overair-writer"}
    assert "overair-writer" not in {thread.name for thread in threading.enumerate()}


async def test_a_change_returns_after_its_commit(database: Database, notes: Table, stored: Stored) -> None:
    count = await database.write(
        lambda connection: connection.execute(insert(notes).values(id=1, text="x")).rowcount
    )
    assert (count, stored()) == (1, [1])


async def test_a_change_that_fails_raises_where_it_was_asked_for_and_spares_its_neighbours(
    database: Database, notes: Table, stored: Stored
) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(insert(notes).values(id=2))
        raise ZeroDivisionError("as planned")

    changes = [
        database.write(lambda connection: connection.execute(insert(notes).values(id=1))),
        database.write(broken),
        database.write(lambda connection: connection.execute(insert(notes).values(id=3))),
        database.write(lambda connection: connection.execute(insert(notes).values(id=1))),
    ]
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert isinstance(results[1], ZeroDivisionError)
    assert isinstance(results[3], IntegrityError)
    assert stored() == [1, 3]


async def test_a_caller_that_gave_up_does_not_disturb_the_others(
    database: Database, notes: Table, stored: Stored
) -> None:
    gate = Gate()
    first = ask(database, gate, 0)
    await gate.reached()
    writes = [
        asyncio.ensure_future(
            database.write(lambda connection, n=n: connection.execute(insert(notes).values(id=n)))
        )
        for n in range(3)
    ]
    await asyncio.to_thread(stored)
    assert database.backlog == 4
    writes[1].cancel()
    gate.open()
    await first
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert stored() == [0, 1, 2]


async def test_another_process_that_writes_is_waited_for(
    database: Database, path: Path, add: Handler, stored: Stored
) -> None:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO notes (id) VALUES (1)")
    asking = threading.Event()

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("BEGIN"):
            asking.set()

    event.listen(database.engine, "before_cursor_execute", note)
    waiter = ask(database, add, 2)
    assert await asyncio.to_thread(asking.wait, 30)
    assert stored() == []
    assert not waiter.done()
    other.execute("COMMIT")
    other.close()
    assert await waiter == 4
    assert stored() == [1, 2]


async def test_a_writer_does_not_begin_on_what_it_has_not_locked(
    database: Database, path: Path, notes: Table
) -> None:
    """A read inside a change is as good as its write: nobody else can write in between."""
    refused: list[str] = []

    def count_then_add(connection: Connection) -> None:
        count = connection.execute(select(func.count()).select_from(notes)).scalar_one()
        other = sqlite3.connect(path, timeout=0)
        try:
            other.execute("INSERT INTO notes (id) VALUES (1000)")
        except sqlite3.OperationalError as error:
            refused.append(str(error))
        finally:
            other.close()
        connection.execute(insert(notes).values(id=count))

    await database.write(count_then_add)
    assert refused == ["database is locked"]
