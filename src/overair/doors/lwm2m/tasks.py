"""What the gateway does beside answering: tasks of its own, each of which may fail by itself."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from overair.protocols.coap import Request

_log = structlog.get_logger()


class Tasks:
    """Tasks that end with the gateway; *failed* tells a device that its request came to nothing."""

    def __init__(self, failed: Callable[[Request, object], None]) -> None:
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], request: Request | None = None) -> None:
        """Run *work*; if it fails, the device that asked for it is told."""
        task = self._loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(partial(self._done, request))

    def repeat(self, seconds: float, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *job* again and again, the first time after *seconds*."""

        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                self.spawn(job())  # by itself: one that fails must not be the last one

        self.spawn(repeat())

    async def close(self) -> None:
        """End all."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _done(self, request: Request | None, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if request is not None and not request.answered:
            self._failed(request, error)
        else:
            _log.error("gateway_task_failed", exc_info=error)
