"""The world's one thread: an asyncio loop on virtual time, on which a process can die.

What belongs to a process runs in a context that holds its `Life`. When that ends, its timers no longer fire
and its tasks are cancelled; whatever they still do on their way out reaches nobody, since the database and
the network of a dead process are gone.
"""

from __future__ import annotations

import asyncio
import contextvars
import random as random_module
import secrets
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from unittest import mock

from ..virtual import VirtualLoop, run

T = TypeVar("T")

ROUNDS_TO_DIE = 100
"""Times that a task of a dead process is cancelled; cleaning up may wait a few times itself."""

_LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


class Life:
    """A process, from its start to its end. `over` is set when it has died."""

    def __init__(self) -> None:
        self.is_alive = True
        self.over = asyncio.Event()
        self.tasks: dict[asyncio.Task[Any], None] = {}
        """In the order in which they were made."""
        self.context = contextvars.copy_context()
        self.context.run(_LIFE.set, self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something inside the process."""
        return asyncio.get_running_loop().create_task(work, context=self.context.copy())

    def end(self) -> None:
        """Die, now."""
        if self.is_alive:
            self.is_alive = False
            self.over.set()

    async def buried(self) -> None:
        """Wait until nothing of the dead process is left."""
        for _ in range(ROUNDS_TO_DIE):
            left = [task for task in self.tasks if not task.done()]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        raise AssertionError(f"these do not die: {[task for task in self.tasks if not task.done()]}")


class WorldLoop(VirtualLoop):
    """A virtual loop on which the timers of dead processes do nothing."""

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        life = (contextvars.copy_context() if context is None else context).get(_LIFE)
        if life is not None:
            return super().call_at(when, _if_alive, life, callback, args, context=context)
        return super().call_at(when, callback, *args, context=context)


def _if_alive(life: Life, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if life.is_alive:
        callback(*args)


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, context: Any = None) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    life = (contextvars.copy_context() if context is None else context).get(_LIFE)
    if life is not None:
        life.tasks[task] = None
        task.add_done_callback(life.tasks.pop)
        if not life.is_alive:
            task.cancel()
    return task


def run_world(coroutine: Callable[[], Coroutine[Any, Any, T]], random: random_module.Random) -> T:
    """Run a world from its beginning to its end; all chance in it is *random*'s, but for keys of ciphers."""

    async def whole() -> T:
        asyncio.get_running_loop().set_task_factory(_make_task)
        return await coroutine()

    def make_uuid() -> uuid.UUID:
        return uuid.UUID(int=random.getrandbits(128), version=4)

    with (
        mock.patch.object(secrets, "token_bytes", lambda size=32: random.randbytes(size)),
        mock.patch.object(secrets, "choice", random.choice),
        mock.patch.object(uuid, "uuid4", make_uuid),
    ):
        return run(whole(), WorldLoop)
