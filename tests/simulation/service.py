"""The service of a world: the real one from the database's rows to the sockets, that can die and return.

Real are domain, campaign engine, gateway, driver, file server, CoAP and DTLS. The database is SQLite without
threads, the sockets are the ether's, images and keys are in memory; the doors of owners are left out, and
their use cases called directly. A process that dies loses everything but what the database committed.
"""

from __future__ import annotations

import asyncio
import random as random_module
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from overair.campaigns.checking import cancel_scheduled
from overair.campaigns.engine import Engine
from overair.campaigns.service import Attempts, CampaignService
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.doors.lwm2m import face as faces
from overair.doors.lwm2m import gateway as gateways
from overair.doors.lwm2m.gateway import Gateway
from overair.doors.lwm2m.updates.addresses import Addresses
from overair.doors.lwm2m.updates.driver import Updates
from overair.doors.lwm2m.updates.files import Files
from overair.licenses.service import LicenseService
from overair.packages.service import PackageService
from overair.platform.bandwidth import Bandwidth
from overair.platform.limits import Limits
from overair.protocols import dtls
from overair.protocols.coap import Endpoint, Event
from overair.protocols.lwm2m.updating import Means
from overair.simulator.keys import Psk

from ..inline import InlineDatabase
from ..virtual import LoopClock
from .ether import PLAIN, SECURE, SERVICE_HOST, Address, Ether, EtherSocket
from .loop import Life

T = TypeVar("T")

HTTP: Address = (SERVICE_HOST, 8080)
POLL_SECONDS = 1800.0
STORE_SECONDS = 300.0
SWEEP_SECONDS = 600.0
"""Each less often than in earnest: a world has many idle days."""


class Unanswered(Exception):
    """The service died before it answered: what was asked for may have been done, or not."""


@dataclass(frozen=True, slots=True)
class Crash:
    """After how many writes the process dies, and whether the last one is *committed*."""

    writes: int
    committed: bool


class MemoryImages:
    """Images by id; every fourth piece that is asked for is not in the cache."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self._asked = 0

    def cached(self, image_id: str, offset: int, length: int) -> bytes | None:
        self._asked += 1
        return None if self._asked % 4 == 0 else self.bodies[image_id][offset : offset + length]

    async def read(self, image_id: str, offset: int, length: int) -> bytes:
        await asyncio.sleep(0.01)
        return self.bodies[image_id][offset : offset + length]


class Keys:
    """Who may speak DTLS: the key of each device, as the ring has them."""

    def __init__(self) -> None:
        self._by_identity: dict[bytes, tuple[int, bytes]] = {}
        self._imeis: set[int] = set()

    def add(self, imei: int, psk: Psk) -> None:
        self._by_identity[psk.identity] = (imei, psk.key)
        self._imeis.add(imei)

    def find(self, identity: bytes) -> Sequence[bytes]:
        known = self._by_identity.get(identity)
        return [] if known is None else [known[1]]

    def owner(self, identity: bytes) -> int | None:
        known = self._by_identity.get(identity)
        return None if known is None else known[0]

    def has_key(self, imei: int) -> bool:
        return imei in self._imeis


class Service:
    """One service, one process after the other. While `life` is over, nothing of it is there."""

    database: InlineDatabase
    devices: DeviceService
    packages: PackageService
    campaigns: CampaignService
    licenses: LicenseService
    endpoint: Endpoint
    gateway: Gateway
    updates: Updates
    files: Files
    engine: Engine
    dtls: dtls.Server

    def __init__(
        self,
        folder: Path,
        ether: Ether,
        random: random_module.Random,
        limits: Limits,
        broken: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.images = MemoryImages()
        self.keys = Keys()
        self.life = Life()
        self.life.end()
        self.limits = limits
        self._ether = ether
        self._random = random
        self._broken = broken
        self._face: faces.UdpFace | None = None
        self._saved = b""
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether it is there for owners."""
        return self.life.is_alive and self._is_open

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/world.db"

    async def start(self, crash: Crash | None = None) -> bool:
        """Start a process; returns whether it lives by the time when it should be there."""
        self.life = life = Life()
        self._is_open = False
        opening = life.spawn(self._open(life, crash))
        await _either(opening, life)
        if opening.done() and not opening.cancelled():
            opening.result()
        return life.is_alive

    async def kill(self) -> None:
        """Pull the plug, if that has not happened, and clear away what is left."""
        self._cut()
        await self.life.buried()
        self._note_failures()
        self.database.close()

    async def stop(self) -> None:
        """Stop as one should: associations outlive it."""
        closing = self.life.spawn(self._close())
        await _either(closing, self.life)
        await self.kill()

    async def ask(self, use: Callable[[Service], Coroutine[Any, Any, T]]) -> T:
        """Have the service do something; raises :class:`Unanswered`, or what it raises."""
        if not self.is_open:
            raise Unanswered
        life = self.life
        asked = life.spawn(use(self))
        await _either(asked, life)
        if not asked.done() or asked.cancelled():
            raise Unanswered
        return asked.result()

    async def _open(self, life: Life, crash: Crash | None) -> None:
        random, limits = self._random, self.limits
        self.database = database = InlineDatabase(
            self.url, crash_after=crash.writes if crash else None, committed=bool(crash and crash.committed)
        )
        database.on_crash = self._cut
        clock = LoopClock()
        self.devices = DeviceService(SqlDeviceStore(database), clock, limits)
        self.packages = PackageService(database, self.folder, clock, limits)
        self.packages.images = self.images  # type: ignore[assignment]
        self.campaigns = CampaignService(database, clock, limits)
        self.licenses = LicenseService(
            database,
            clock,
            limits,
            cancel_scheduled=lambda connection, imeis: cancel_scheduled(connection, imeis, clock.now_ms()),
        )
        attempts = Attempts(database, clock)
        self.endpoint = Endpoint(random=random_module.Random(random.getrandbits(64)))
        with mock.patch.object(faces, "UdpSocket", partial(EtherSocket, self._ether)):
            self._face = face = faces.UdpFace(self.endpoint, self._handle)
        self.gateway = Gateway(
            self.endpoint, self.devices, clock, limits, face.flush, self.keys.owner, self.keys.has_key
        )
        doors: Mapping[Means, Address] = {Means.COAP: PLAIN, Means.COAPS: SECURE, Means.HTTP: HTTP}
        self.updates = Updates(
            self.endpoint, self.gateway.registry, self.devices, self.packages, attempts,
            Addresses(doors=dict(doors)), clock, limits, face.flush,
        )  # fmt: skip
        self.files = Files(
            self.endpoint, self.packages.images, self.updates, self.keys.owner, Bandwidth(1e9),
            self.gateway.answers, face.flush, random.randbytes(16),
        )  # fmt: skip
        self.gateway.serve(self.files)
        self.gateway.attend(self.updates)
        self.engine = Engine(
            database, attempts, {"LWM2M": self.updates}, clock, limits, poll_seconds=POLL_SECONDS
        )
        self.updates.on_heard = self.engine.heard
        self.campaigns.wake = self.engine.wake
        with (
            mock.patch.object(gateways, "STORE_SECONDS", STORE_SECONDS),
            mock.patch.object(gateways, "SWEEP_SECONDS", SWEEP_SECONDS),
        ):
            await self.gateway.start()
        self.dtls = dtls.Server(keys=self.keys, random=random_module.Random(random.getrandbits(64)).randbytes)
        saved, self._saved = self._saved, b""
        restored = self.dtls.restore(saved, asyncio.get_running_loop().time()) if saved else []
        self.gateway.security.take_up(self.dtls, restored)
        face.open_secure(self.dtls, self.gateway.security.take, *SECURE)
        face.open(*PLAIN)
        life.spawn(self._run_engine())
        self._is_open = True

    def _handle(self, event: Event) -> None:
        self.gateway.handle(event)

    async def _run_engine(self) -> None:
        try:
            await self.engine.run()
        except Exception as error:
            self._broken(f"the engine ended: {error!r}")
            raise

    async def _close(self) -> None:
        if self._face is not None:
            self._face.close()
        await self.updates.close()
        await self.gateway.close()
        self._saved = self.dtls.save_sessions(asyncio.get_running_loop().time())

    def _cut(self) -> None:
        self.life.end()
        if self._face is not None:
            self._face.close()
        if hasattr(self, "database"):
            self.database.is_dead = True

    def _note_failures(self) -> None:
        for standing in self.engine.standings if hasattr(self, "engine") else ():
            if standing.failures:
                self._broken(f"job {standing.name} failed: {standing.last_error}")


async def _either(task: asyncio.Task[Any], life: Life) -> None:
    """Wait for a task of a process, or for the end of the process."""
    over = asyncio.get_running_loop().create_task(life.over.wait())
    await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED)
    over.cancel()
