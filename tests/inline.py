"""A database without threads, for tests on virtual time: every write is a transaction of its own, at once.

``crash_after`` lets a test pull the plug at any write.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, event

from overair.platform.database import Database
from overair.platform.database.writer import Done, Handler, _write

T = TypeVar("T")


class InlineDatabase(Database):
    """Reads and writes on the caller's thread; what was submitted together shares a transaction.

    After *crash_after* writes the next one is the last: it is lost, or with *committed* stored, and nobody
    is told either way. From then on nothing is written, and whoever asks waits for ever.
    """

    def __init__(self, url: str, *, crash_after: int | None = None, committed: bool = False) -> None:
        super().__init__(url)
        event.listen(self.engine, "connect", _do_not_wait_for_the_disk)
        self.writes = 0
        self.on_crash: Callable[[], None] = lambda: None
        self.is_dead = False
        self._left = crash_after
        self._committed = committed
        self._waiting: list[tuple[Handler, Any, Done]] = []
        self._write_connection: Connection | None = None

    async def __aenter__(self) -> "InlineDatabase":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; what was written is there."""
        self.is_dead = True
        if self._write_connection is not None:
            self._write_connection.close()
        for connection in self._connections:
            connection.close()
        self.engine.dispose()

    async def read(self, query: Callable[[Connection], T]) -> T:
        await asyncio.sleep(0)
        if self.is_dead:
            await asyncio.get_running_loop().create_future()
        return self._read(query)

    def submit(self, handler: Handler, item: Any, done: Done) -> None:
        if self.is_dead:
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._group)
        self._waiting.append((handler, item, done))

    def _group(self) -> None:
        group, self._waiting = self._waiting, []
        if self.is_dead:
            return
        is_last = self._left is not None and self.writes >= self._left
        if is_last and not self._committed:
            self._crash()
            return
        self.writes += 1
        if self._write_connection is None:
            self._write_connection = self.engine.connect()
        deliveries = _write(self._write_connection, group)
        if is_last:
            self._crash()
            return
        for done, result in deliveries:
            done(result)

    def _crash(self) -> None:
        self.is_dead = True
        self.on_crash()

    @property
    def busy(self) -> bool:
        return False

    def on_idle(self, listener: Callable[[], None]) -> None:
        return None

    @property
    def backlog(self) -> int:
        return len(self._waiting)


def _do_not_wait_for_the_disk(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")
