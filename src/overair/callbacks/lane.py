"""How one listener gets its messages: a few at once, the others in their order, and none in vain for long.

Each listener with waiting messages has a lane of its own, so that nobody waits behind a receiver that is
gone. A receiver that *refuses* a message (an answer, but not 2xx) is offered the next ones meanwhile. One
that *does not answer* is left alone as a whole, for a time that doubles: else a thousand messages would each
find out again that it is gone, for ten seconds each.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import overair
from overair.callbacks import outbox, rules
from overair.callbacks.model import Answer, Attempt, Batch, Listener, MessageState, Parcel
from overair.callbacks.service import CallbackService
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.sealing import MasterKeyError

USER_AGENT = f"overair/{overair.__version__}"

Send = Callable[[str, Mapping[str, str], bytes], Awaitable[Answer]]
"""Posts a body with headers to a URL; whatever goes wrong is an answer, too. Ends by itself, in seconds."""


@dataclass(slots=True)
class Counters:
    """What came of all attempts since the start."""

    delivered: int = 0
    refused: int = 0
    """Answered with something else than 2xx."""
    unanswered: int = 0

    def count(self, answer: Answer) -> None:
        if answer.delivered:
            self.delivered += 1
        elif answer.status is not None:
            self.refused += 1
        else:
            self.unanswered += 1


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all lanes share."""

    database: Database
    callbacks: CallbackService
    send: Send
    clock: Clock
    limits: Limits
    random: Random
    places: asyncio.Semaphore
    """One for each attempt that may be under way."""
    counters: Counters = field(default_factory=Counters)


class Lane:
    """The way to one listener. It ends when nothing waits any longer."""

    def __init__(self, listener_id: int, shared: Surroundings) -> None:
        self._listener_id = listener_id
        self._shared = shared
        self._news = asyncio.Event()
        self._url: str | None = None
        self._failures = 0
        """Rounds in a row in which nothing answered."""
        self._rest_until_ms = 0

    def poke(self, url: str) -> None:
        """Look again: there may be new messages, or the listener may have moved to another *url*."""
        if self._url not in (None, url):
            self._failures, self._rest_until_ms = 0, 0
        self._news.set()

    async def run(self) -> None:
        """Deliver until nothing waits any longer."""
        while True:
            self._news.clear()
            if self._shared.clock.now_ms() < self._rest_until_ms:
                await self._wait_until(self._rest_until_ms)
                continue
            batch = await self._take()
            if batch.listener is not None and batch.parcels:
                await self._deliver(batch.listener, batch.parcels)
            elif batch.next_ms is not None:
                await self._wait_until(batch.next_ms)
            elif not self._news.is_set():
                return

    async def _take(self) -> Batch:
        limits, now_ms = self._shared.limits, self._shared.clock.now_ms()
        count = 1 if self._failures else limits.callbacks_per_listener
        return await self._shared.database.read(
            lambda connection: outbox.take(connection, self._listener_id, count, now_ms, limits)
        )

    async def _deliver(self, listener: Listener, parcels: tuple[Parcel, ...]) -> None:
        fraction = self._shared.random.random()
        async with asyncio.TaskGroup() as group:
            attempts = [group.create_task(self._attempt(listener, parcel, fraction)) for parcel in parcels]
        self._url = listener.url
        if any(attempt.result().status is not None for attempt in attempts):
            self._failures = 0
        else:
            self._failures += 1
            self._rest_until_ms = self._shared.clock.now_ms() + rules.delay_ms(self._failures, fraction)

    async def _attempt(self, listener: Listener, parcel: Parcel, fraction: float) -> Answer:
        shared = self._shared
        async with shared.places:
            started_ms = shared.clock.now_ms()
            answer = await self._send(listener, parcel, started_ms)
        now_ms = shared.clock.now_ms()
        attempt = Attempt(parcel.attempts + 1, started_ms, max(0, now_ms - started_ms), answer)
        after: tuple[MessageState, int | None] = (MessageState.DELIVERED, None)
        if not answer.delivered:
            after = rules.after_failure(parcel, now_ms, fraction, shared.limits)
        await shared.database.write(
            lambda connection: outbox.settle(
                connection, listener.account_id, parcel.id, attempt, after, shared.limits
            )
        )
        shared.counters.count(answer)
        return answer

    async def _send(self, listener: Listener, parcel: Parcel, now_ms: int) -> Answer:
        try:
            secret = await self._shared.callbacks.secret(listener)
        except MasterKeyError as error:
            return Answer(None, str(error))
        timestamp = str(now_ms // 1000)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Overair-Id": parcel.uid,
            "Overair-Timestamp": timestamp,
            "Overair-Signature": rules.signature(secret, timestamp, parcel.uid, parcel.body),
        }
        return await self._shared.send(listener.url, headers, parcel.body)

    async def _wait_until(self, time_ms: int) -> None:
        seconds = (time_ms - self._shared.clock.now_ms()) / 1000
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
