"""An asyncio loop on virtual time: when nothing is ready, time jumps to the next timer.

A day of a device passes in milliseconds, and every run is the same. Loopback UDP works on it, since the
kernel delivers a datagram before the sender's call returns; threads do not, since nothing waits for them.
"""

import asyncio
import functools
import os
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_MS = 1_767_225_600_000
# A timer of the loop is due when time has passed it, and a sum of floats may end just before.
TICK_SECONDS = 1e-9
PATIENCE_SECONDS = 0.2


class NothingLeft(Exception):
    """Everybody waits for something that no timer and no datagram will ever bring."""


class VirtualSelector(selectors.DefaultSelector):
    """Looks at the sockets without waiting; instead of waiting, ``now`` moves."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        os.sched_yield()
        if timeout is None:
            # Only a thread that is just ending can still bring anything.
            ready = super().select(PATIENCE_SECONDS)
            if not ready:
                raise NothingLeft
            return ready
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout) + TICK_SECONDS
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The standard loop, whose seconds are the selector's."""

    def __init__(self) -> None:
        self._virtual = VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


class LoopClock:
    """The service's clock, moving with the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now_ms(self) -> int:
        return START_MS + int(self._loop.time() * 1000)


def run(coroutine: Coroutine[Any, Any, T], loop_factory: Callable[[], VirtualLoop] = VirtualLoop) -> T:
    """Run to the end in virtual time; an exception that nobody caught in a callback fails it too."""
    failures: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: failures.append(context))
        result = runner.run(coroutine)
    for failure in failures:
        raise failure.get("exception") or AssertionError(failure["message"])
    return result


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make an async test one that runs in virtual time."""

    @functools.wraps(test)
    def on_virtual_time(*arguments: Any, **named: Any) -> None:
        async def whole() -> None:
            await test(*arguments, **named)

        run(whole())

    return on_virtual_time
