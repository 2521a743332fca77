"""The job that empties the outbox: it looks for whom messages wait, and keeps a lane for each.

It takes no input: what waits stands in the database, so a restart goes on where a crash ended.
"""

import asyncio
from random import Random

from overair.callbacks import sql
from overair.callbacks.lane import Counters, Lane, Send, Surroundings
from overair.callbacks.service import CallbackService
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.reconciler import Reconciler, Standing

PERIOD_SECONDS = 60.0  # for what another process put, and for URLs that changed


class Deliverer:
    """Sends what waits; :meth:`wake` it after a transaction that put something."""

    def __init__(
        self,
        database: Database,
        callbacks: CallbackService,
        send: Send,
        clock: Clock,
        limits: Limits,
        random: Random,
    ) -> None:
        places = asyncio.Semaphore(limits.callbacks_at_once)
        self._shared = Surroundings(database, callbacks, send, clock, limits, random, places)
        self._job = Reconciler("callbacks", self._look, clock, period_seconds=PERIOD_SECONDS)
        self._lanes: dict[int, Lane] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._error: Exception | None = None

    @property
    def status(self) -> Standing:
        """How the job is doing."""
        return self._job.standing

    @property
    def counters(self) -> Counters:
        """What came of the attempts."""
        return self._shared.counters

    @property
    def lanes(self) -> int:
        """For how many listeners messages wait."""
        return len(self._lanes)

    def wake(self) -> None:
        """Something was put into the outbox, and committed."""
        self._job.wake()

    async def run(self) -> None:
        """Deliver until cancelled. An attempt that this cuts off is made again, under the same id."""
        try:
            await self._job.run()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _look(self) -> bool:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        for listener_id, url in await self._shared.database.read(sql.waiting_listeners):
            if listener_id in self._lanes:
                self._lanes[listener_id].poke(url)
            else:
                self._open(listener_id)
        return False

    def _open(self, listener_id: int) -> None:
        self._lanes[listener_id] = lane = Lane(listener_id, self._shared)
        task = asyncio.create_task(self._run_lane(listener_id, lane))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run_lane(self, listener_id: int, lane: Lane) -> None:
        try:
            await lane.run()
        except Exception as error:  # noqa: BLE001 - told by the job, which opens the lane again later
            self._error = _first(error)
            self.wake()
        finally:
            # In the same step as the lane's last look: nobody pokes one that is not looking any more.
            del self._lanes[listener_id]


def _first(error: Exception) -> Exception:
    """Return what a group of errors is about, for the operator to read."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
