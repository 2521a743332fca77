"""A fleet owner's outbox on SQLite, receivers that do as a test says, and time that jumps."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from overair.callbacks import outbox
from overair.callbacks.deliverer import Deliverer
from overair.callbacks.model import Answer, Message, MessageType
from overair.callbacks.rules import signature
from overair.callbacks.service import CallbackService
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import DEFAULT_LIMITS, Limits
from overair.platform.sealing import VARIABLE, Sealer

from ..inline import InlineDatabase
from ..virtual import LoopClock

ACCOUNT_ID = 7
URL = "https://fleet.example.com/hook"
OTHER_URL = "https://other.example.com/hook"
MASTER = {VARIABLE: "0f" * 32}


@dataclass(frozen=True)
class Got:
    """A request that a receiver got."""

    at_seconds: float
    uid: str
    headers: Mapping[str, str]
    body: bytes


Behaviour = Callable[[Got], Awaitable[Answer]]


def answering(status: int) -> Behaviour:
    async def answer(_: Got) -> Answer:
        return Answer(status)

    return answer


def hanging(seconds: float = 10) -> Behaviour:
    async def hang(_: Got) -> Answer:
        await asyncio.sleep(seconds)
        return Answer(None, "no answer in 10 s")

    return hang


@dataclass
class Receivers:
    """All receivers of a test, by URL."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    got: dict[str, list[Got]] = field(default_factory=dict)
    under_way: dict[str, int] = field(default_factory=dict)
    most_at_once: dict[str, int] = field(default_factory=dict)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        got = Got(asyncio.get_running_loop().time(), headers["Overair-Id"], headers, body)
        self.got.setdefault(url, []).append(got)
        self.under_way[url] = self.under_way.get(url, 0) + 1
        self.most_at_once[url] = max(self.most_at_once.get(url, 0), self.under_way[url])
        try:
            return await self.behaviours.get(url, answering(200))(got)
        finally:
            self.under_way[url] -= 1

    def bodies(self, url: str = URL) -> list[str]:
        return [got.body.decode() for got in self.got.get(url, [])]


@dataclass
class World:
    """One account with its outbox."""

    database: Database
    clock: Clock
    callbacks: CallbackService
    receivers: Receivers
    deliverer: Deliverer
    limits: Limits

    async def put(self, *told: Message, account_id: int = ACCOUNT_ID) -> None:
        """Put messages as the campaign engine does, and wake the deliverer."""
        now_ms = self.clock.now_ms()
        await self.database.write(lambda connection: outbox.put(connection, account_id, "v3", told, now_ms))
        self.deliverer.wake()

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        return await self.database.read(
            lambda connection: [tuple(row) for row in connection.exec_driver_sql(query)]
        )

    async def states(self) -> dict[str, str]:
        """Return the state of each message, by its body."""
        rows = await self.rows("SELECT body, state FROM callback_messages ORDER BY id")
        return {body.decode(): state for body, state in rows}

    async def is_signed(self, got: Got) -> bool:
        secret = (await self.callbacks.show(ACCOUNT_ID, "v3")).secret
        expected = signature(secret, got.headers["Overair-Timestamp"], got.uid, got.body)
        return got.headers["Overair-Signature"] == expected

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Run the deliverer; what it raises fails the test."""
        running = asyncio.create_task(self.deliverer.run())
        try:
            yield
        finally:
            assert not running.done(), running
            running.cancel()
            await asyncio.wait([running])
        assert self.deliverer.status.last_error is None


def message(text: str, *imeis: int, subject: str = "campaign-a") -> Message:
    """Return a message with a body of a test's choice."""
    return Message(MessageType.UPGRADE_PROGRESS, subject, imeis, text.encode())


def build(database: Database, clock: Clock, limits: Limits = DEFAULT_LIMITS, seed: int = 1) -> World:
    callbacks = CallbackService(database, Sealer(Path("/nowhere"), MASTER), clock, limits)
    receivers = Receivers()
    deliverer = Deliverer(database, callbacks, receivers.send, clock, limits, Random(seed))
    return World(database, clock, callbacks, receivers, deliverer, limits)


@asynccontextmanager
async def world(migrated: Path, folder: Path, limits: Limits = DEFAULT_LIMITS) -> AsyncIterator[World]:
    """Open a world in virtual time, with a listener registered at :data:`URL`."""
    path = shutil.copy(migrated, folder / "overair.db")
    async with InlineDatabase(f"sqlite:///{path}") as database:
        made = build(database, LoopClock(), limits)
        # Unlocking takes a thread, which virtual time does not wait for.
        made.callbacks._sealer.unlock(None)
        made.callbacks._is_unlocked = True
        await made.callbacks.register(ACCOUNT_ID, "v3", URL)
        yield made
