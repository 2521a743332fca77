"""Background jobs: each brings what is stored nearer to what it should be, and may be run at any time.

A job takes no input: it looks at what is stored, so a crash loses nothing and a second run does nothing. It
is woken by a signal when there is something to do, and by a timer in case a signal was lost. What it did last
is shown on one page for the operator.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from overair.platform.clock import Clock

_log = structlog.get_logger()

RETRY_SECONDS = 5.0

Work = Callable[[], Awaitable[bool]]
"""Does one portion of a job; returns whether there is more to do at once."""


class Standing(msgspec.Struct):
    """How a job is doing; times in ms."""

    name: str
    runs: int = 0
    last_run_ms: int | None = None
    failures: int = 0
    last_error: str | None = None
    last_error_ms: int | None = None


class Reconciler:
    """Runs one job until cancelled; *period_seconds* at most pass between two runs."""

    def __init__(self, name: str, work: Work, clock: Clock, *, period_seconds: float) -> None:
        self.standing = Standing(name)
        self._work = work
        self._clock = clock
        self._period_seconds = period_seconds
        self._signal = asyncio.Event()

    def wake(self) -> None:
        """There is something to do."""
        self._signal.set()

    async def run(self) -> None:
        """Work until cancelled. A failure is shown and logged, and the job goes on later."""
        while True:
            self._signal.clear()
            try:
                more = await self._work()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is shown, and the job must go on
                self._failed(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.standing.runs += 1
            self.standing.last_run_ms = self._clock.now_ms()
            if more:
                await asyncio.sleep(0)
            else:
                await self._wait()

    def _failed(self, error: Exception) -> None:
        _log.exception("job_failed", job=self.standing.name)
        self.standing.failures += 1
        self.standing.last_error = f"{type(error).__name__}: {error}"
        self.standing.last_error_ms = self._clock.now_ms()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._period_seconds):
                await self._signal.wait()
        except TimeoutError:
            return
