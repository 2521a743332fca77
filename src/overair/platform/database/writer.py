"""Group commit: everything that asks to be written while one commit runs shares the next one.

A caller submits an item to a *handler*, a function ``(connection, items) -> results``. All items that
wait for the same handler reach it in one call, in order, inside one transaction; their callbacks run on
the event loop after the commit. A commit to disk costs about as much for one row as for a hundred, so the
busier the service is, the less a row costs.

Only the event loop's thread calls :meth:`GroupWriter.submit`; only the writer's own thread touches
the connection.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Connection, Engine

Handler = Callable[[Connection, list[Any]], Sequence[Any]]
"""Gets the items of one group; returns one result an item. An exception as a result fails that item only."""

Done = Callable[[Any], None]
"""Called on the event loop with the result, or with the exception that kept the item from being written."""

_Entry = tuple[Handler, Any, Done]
_Delivery = tuple[Done, Any]


class GroupWriter:
    """One thread and one connection that do all the writing of this process."""

    def __init__(self, engine: Engine, *, group_items: int) -> None:
        self._engine = engine
        self._group_items = group_items
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Entry] = []
        self._in_flight = 0
        self._seen = 0
        self._closing = False
        self._idle_listeners: list[Callable[[], None]] = []
        self._groups: SimpleQueue[list[_Entry] | None] = SimpleQueue()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name="overair-writer", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a group is being written. Doors leave their sockets alone meanwhile.

        They could go on reading, but then two threads fight for the interpreter lock, which the writer lets
        go at every row: a system call takes five times as long, and nothing is won.
        """
        return self._in_flight > 0

    @property
    def backlog(self) -> int:
        """Items that are not committed yet."""
        return len(self._waiting) + self._in_flight

    def on_idle(self, listener: Callable[[], None]) -> None:
        """Call *listener* each time a group is committed, before the next one is closed."""
        self._idle_listeners.append(listener)

    def submit(self, handler: Handler, item: Any, done: Done) -> None:
        """Have *item* written by *handler* in the next group, then call *done*."""
        self._waiting.append((handler, item, done))
        if not self._closing:
            self._idle.clear()
            self._begin_group()

    async def close(self) -> None:
        """Write what was submitted, then end the thread."""
        await self._idle.wait()
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join)

    def _begin_group(self) -> None:
        if not self.busy:
            self._closing = True
            self._seen = 0
            self._loop.call_soon(self._close_group)

    def _close_group(self) -> None:
        """Send the group once a turn of the loop has brought nothing more, or it is full."""
        if self._seen < len(self._waiting) < self._group_items:
            self._seen = len(self._waiting)
            self._loop.call_soon(self._close_group)
        else:
            self._send_group()

    def _send_group(self) -> None:
        self._closing = False
        group, self._waiting = self._waiting[: self._group_items], self._waiting[self._group_items :]
        self._in_flight = len(group)
        self._groups.put(group)

    def _committed(self, deliveries: list[_Delivery]) -> None:
        self._in_flight = 0
        for done, result in deliveries:
            try:
                done(result)
            except Exception as error:  # noqa: BLE001 - one caller's fault must not leave the others waiting
                self._loop.call_exception_handler(
                    {"message": f"callback {done!r} of a committed item failed", "exception": error}
                )
        for listener in self._idle_listeners:
            listener()
        if not self._waiting:
            self._idle.set()
        elif not self._closing:
            self._begin_group()

    # The rest runs on the writer's thread.

    def _run(self) -> None:
        connection: Connection | None = None
        try:
            while (group := self._groups.get()) is not None:
                try:
                    connection = connection or self._engine.connect()
                    deliveries = _write(connection, group)
                except Exception as error:  # noqa: BLE001 - no connection: each caller is told
                    deliveries = [(done, error) for _, _, done in group]
                with contextlib.suppress(RuntimeError):  # the loop was closed without waiting for us
                    self._loop.call_soon_threadsafe(self._committed, deliveries)
        finally:
            if connection is not None:
                connection.close()


def _write(connection: Connection, group: list[_Entry]) -> list[_Delivery]:
    by_handler: dict[Handler, list[_Entry]] = {}
    for entry in group:
        by_handler.setdefault(entry[0], []).append(entry)
    deliveries: list[_Delivery] = []
    try:
        with connection.begin():
            for handler, entries in by_handler.items():
                results = _handle(connection, handler, [item for _, item, _ in entries])
                deliveries += zip([done for _, _, done in entries], results, strict=True)
    except Exception as error:  # noqa: BLE001 - whatever kept the group from being committed, each caller is told
        # A commit that failed leaves SQLite inside the transaction: go on with a new connection.
        connection.invalidate()
        return [(done, error) for _, _, done in group]
    return deliveries


def _handle(connection: Connection, handler: Handler, items: list[Any]) -> Sequence[Any]:
    """Run one handler in a savepoint of its own, so that its failure is not its neighbours'."""
    try:
        with connection.begin_nested():
            return handler(connection, items)
    except Exception as error:  # noqa: BLE001 - told to each caller of this handler
        return [error] * len(items)
