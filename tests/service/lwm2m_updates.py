"""Updates of devices on virtual time: all of the service that is behind them, and simulated devices.

Real are campaigns, engine, driver, gateway, file servers, CoAP and DTLS. The network is in memory (so every
datagram can be seen), so are images and keys; the database is SQLite without threads.
"""

import asyncio
import contextlib
import functools
import hashlib
import random
import sqlite3
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from blockbuster import blockbuster_ctx
from sqlalchemy import insert, select
from structlog.testing import capture_logs

from overair.accounts.model import Account
from overair.accounts.sql import account_of, accounts
from overair.campaigns.engine import Engine
from overair.campaigns.model import CampaignStatus, NewCampaign, Row, Window
from overair.campaigns.service import Attempts, CampaignService
from overair.campaigns.states import ROW_FINAL
from overair.devices.model import Provisioning
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.doors.images.host import ImageHost
from overair.doors.lwm2m import face as faces
from overair.doors.lwm2m.gateway import Gateway
from overair.doors.lwm2m.updates.addresses import Addresses
from overair.doors.lwm2m.updates.driver import Updates
from overair.doors.lwm2m.updates.files import Files
from overair.doors.lwm2m.updates.update import Update
from overair.packages.service import PackageService
from overair.packages.sql import packages
from overair.platform.bandwidth import Bandwidth
from overair.platform.clock import DAY_MS
from overair.platform.database import metadata
from overair.platform.images import DamagedImage
from overair.platform.limits import Limits
from overair.protocols import coap, dtls
from overair.protocols.coap import Message
from overair.protocols.lwm2m.updating import Means, Phase, Policy
from overair.simulator import PROFILES, Misbehaviour, make_image
from overair.simulator.keys import Psk
from overair.simulator.misbehaviour import NONE
from overair.simulator.profile import Identity, Profile, identities
from overair.simulator.transfer import Fetch

from ..inline import InlineDatabase
from ..simulation.devices import Devices, Member
from ..simulation.ether import PLAIN, SECURE, SERVICE_HOST, Ether, EtherSocket
from ..simulation.service import Keys
from ..virtual import START_MS, LoopClock
from .conftest import ALLOWED

# Functions of a database without threads, which therefore blocks the loop.
INLINE = {"__init__", "read", "submit", "_group", "close"}
NEW = "NEW-2.0"
IMAGE_BYTES = 6000
PROFILE: Profile = PROFILES[3]
"""Speaks 1.1 and SenML JSON, pulls by CoAP and CoAPs, can be pushed to."""
TODAY = START_MS // DAY_MS
HOUR = 3600.0
STRANGER = ("10.9.9.9", 7000)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Fail what blocks the event loop, but for the database, which has no threads here."""
    with blockbuster_ctx("overair") as blockbuster:
        for name, function in blockbuster.functions.items():
            if name in ALLOWED:
                function.deactivate()
            elif name.startswith("sqlite3."):
                function.can_block_in("tests/inline.py", INLINE)
                function.can_block_in("tests/service/lwm2m_updates.py", {"_empty", "execute"})
        yield


class Away(OSError):
    """The database can't be reached."""


class Database(InlineDatabase):
    """SQLite that can be away for a while."""

    is_away = False

    async def read(self, query: Callable[[Any], Any]) -> Any:
        if self.is_away:
            raise Away
        return await super().read(query)

    def submit(self, handler: Any, item: Any, done: Callable[[Any], None]) -> None:
        if self.is_away:
            asyncio.get_running_loop().call_soon(done, Away())
        else:
            super().submit(handler, item, done)


class MemoryImages:
    """Images by id; `reads` are those that were read as a whole."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.damaged: set[str] = set()
        self.reads: list[str] = []

    def cached(self, image_id: str, offset: int, length: int) -> bytes | None:
        return None if image_id in self.damaged else self.bodies[image_id][offset : offset + length]

    async def read(self, image_id: str, offset: int, length: int) -> bytes:
        await asyncio.sleep(0.01)
        if image_id in self.damaged:
            raise DamagedImage(image_id)
        body = self.bodies[image_id]
        if not offset and length == len(body):
            self.reads.append(image_id)
        return body[offset : offset + length]


@functools.cache
def _empty() -> bytes:
    """Return a database with all tables, which takes longer to make than to copy."""
    with tempfile.TemporaryDirectory() as folder:
        database = InlineDatabase(f"sqlite:///{folder}/empty.db")
        metadata.create_all(database.engine)
        database.close()
        with contextlib.closing(sqlite3.connect(f"{folder}/empty.db")) as connection:
            return connection.serialize()


class World:
    """One account, one service (which can be restarted), devices and campaigns."""

    updates: Updates
    gateway: Gateway
    endpoint: coap.Endpoint
    engine: Engine
    campaigns: CampaignService
    packages: PackageService
    devices: DeviceService
    dtls: dtls.Server
    host: ImageHost

    def __init__(self, folder: Path, limits: Limits, policy: Policy, signed: bool) -> None:
        self.folder = folder
        self.limits = limits
        self.policy = policy
        self.signed = signed
        self.logs: list[Any] = []
        self.loop = asyncio.get_running_loop()
        self.clock = LoopClock()
        self.ether = Ether(random.Random(1))
        self.ether.tap = self._note
        self.datagrams: list[tuple[float, bytes, Any, Any]] = []
        self.members = Devices(self.ether, random.Random(2), self._fetch)
        self.keys = Keys()
        self.images = MemoryImages()
        self.bandwidth = Bandwidth(limits.download_bytes_per_second)
        self.fetched: list[tuple[str, str]] = []
        """Range and status of each request over HTTP."""
        self.cut_http_after: int | None = None
        self.means = {Means.COAP: PLAIN, Means.COAPS: SECURE}
        self._saved = b""
        self._random = random.Random(3)
        """Not the same numbers after a restart: devices know repetitions by them."""
        self._identities = identities(100)
        self._work: set[asyncio.Task[None]] = set()
        (folder / "updates.db").write_bytes(_empty())
        self.database = Database(f"sqlite:///{folder}/updates.db")
        values = {
            "name": "0000123456-00001", "active": True, "licenses": 100, "subscriptions": "mrc",
            "created_ms": 0,
        }  # fmt: skip
        self.execute(insert(accounts).values(values))
        self.account: Account = account_of(self.execute(select(accounts))[0])

    def execute(self, statement: Any) -> list[Any]:
        """Do something to the database behind the service's back."""
        with self.database.engine.begin() as connection:
            done = connection.execute(statement)
            return list(done) if done.returns_rows else []

    # The service.

    async def start(self) -> None:
        """Start a service on the database as it is."""
        clock, limits = self.clock, self.limits
        self.devices = DeviceService(SqlDeviceStore(self.database), clock, limits)
        self.packages = PackageService(self.database, self.folder, clock, limits)
        self.packages.images = self.images  # type: ignore[assignment]
        self.campaigns = CampaignService(self.database, clock, limits)
        attempts = Attempts(self.database, clock)
        self.endpoint = coap.Endpoint(random=random.Random(self._random.random()))
        with mock.patch.object(faces, "UdpSocket", partial(EtherSocket, self.ether)):
            self._face = faces.UdpFace(self.endpoint, self._handle)
        self.gateway = Gateway(
            self.endpoint, self.devices, clock, limits, self._face.flush, self.keys.owner, self.keys.has_key
        )
        self.updates = Updates(
            self.endpoint, self.gateway.registry, self.devices, self.packages, attempts,
            Addresses(doors=dict(self.means)), clock, limits, self._face.flush, self.policy,
        )  # fmt: skip
        files = Files(
            self.endpoint, self.packages.images, self.updates, self.keys.owner, self.bandwidth,
            self.gateway.answers, self._face.flush, bytes(16),
        )  # fmt: skip
        self.gateway.serve(files)
        self.gateway.attend(self.updates)
        self.host = ImageHost(self.packages.images, self.updates, self.bandwidth, limits)
        self.engine = Engine(
            self.database, attempts, {"LWM2M": self.updates}, clock, limits, poll_seconds=300
        )
        self.updates.on_heard = self.engine.heard
        self.campaigns.wake = self.engine.wake
        await self.gateway.start()
        self.dtls = dtls.Server(keys=self.keys, random=self._random.randbytes)
        saved, self._saved = self._saved, b""
        restored = self.dtls.restore(saved, self.loop.time()) if saved else []
        self.gateway.security.take_up(self.dtls, restored)
        self._face.open_secure(self.dtls, self.gateway.security.take, *SECURE)
        self._face.open(*PLAIN)
        self._running = self.loop.create_task(self.engine.run())

    def _handle(self, event: coap.Event) -> None:
        self.gateway.handle(event)

    async def stop(self, *, keep_sessions: bool = True) -> None:
        """Stop the service; what it did not store is gone."""
        self._face.close()
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.updates.close()
        await self.gateway.close()
        if keep_sessions:
            self._saved = self.dtls.save_sessions(self.loop.time())

    async def restart(self, *, keep_sessions: bool = True, pause_seconds: float = 0.0) -> None:
        await self.stop(keep_sessions=keep_sessions)
        await asyncio.sleep(pause_seconds)
        await self.start()

    async def close(self) -> None:
        await self.stop()
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self.database.close()

    # Devices.

    async def add(
        self,
        profile: Profile = PROFILE,
        *,
        secure: bool = False,
        misbehaviour: Misbehaviour = NONE,
        **changes: Any,
    ) -> Member:
        """Add a device, switch it on, and let it settle."""
        drawn = next(self._identities)
        identity = misbehaviour.fit(
            Identity(drawn.imei, drawn.mdn, msgspec.structs.replace(profile, **changes))
        )
        psk = Psk(identity.endpoint.encode(), b"0123456789abcdef") if secure else None
        if psk is not None:
            self.keys.add(int(identity.imei), psk)
        member = self.members.add(identity, misbehaviour, psk)
        await self.devices.add(self.account.id, [Provisioning(member.imei, protocol="LWM2M")])
        member.start()
        await asyncio.sleep(5)
        return member

    def update(self, member: Member) -> Update | None:
        return self.updates._updates.get(member.imei)

    def phase(self, member: Member) -> Phase | None:
        """Return where the device's update stands; None if there is none."""
        update = self.update(member)
        return None if update is None else update.job.phase

    async def until(self, condition: Callable[[], bool], *, within: float = 300.0) -> None:
        """Wait until something holds, which may be so for a moment only."""
        deadline = self.loop.time() + within
        while not condition():
            assert self.loop.time() < deadline, "it never came to that"
            await asyncio.sleep(0.1)

    async def until_phase(self, member: Member, phase: Phase) -> None:
        await self.until(lambda: self.phase(member) is phase)

    # Campaigns.

    def add_package(
        self, profile: Profile = PROFILE, *, version_from: str | None = None, size_bytes: int = IMAGE_BYTES,
        name: str = "firmware", kind: str = "firmware", image_name: str = "firmware",
    ) -> str:  # fmt: skip
        """Store a package; returns its name."""
        image = make_image(profile.make, profile.model, NEW, size_bytes, name=image_name)
        package_id = str(uuid.UUID(int=len(self.images.bodies) + 1))
        self.images.bodies[package_id] = image
        values = {
            "id": package_id, "account_id": self.account.id, "kind": kind, "name": name, "make": profile.make,
            "model": profile.model, "make_key": profile.make.lower(), "model_key": profile.model.lower(),
            "version_from": version_from or profile.firmware, "version_to": NEW, "protocol": "LWM2M",
            "launch_ms": 0, "release_note": "", "size_bytes": len(image),
            "sha256": hashlib.sha256(image).digest(), "state": "ready", "created_ms": 0, "changed_ms": 0,
            "signed_by": "somebody" if self.signed else None,
        }  # fmt: skip
        self.execute(insert(packages).values(values))
        return name

    async def campaign(
        self,
        members: Sequence[Member],
        package: str | None = None,
        *,
        windows: tuple[Window, ...] = (),
        days: int = 5,
    ) -> str:
        """Begin a campaign that starts at once; without a package with one that is made for it."""
        name = package or self.add_package(members[0].device.identity.profile)
        known = await self.packages.get_named(self.account.id, name)
        asked = NewCampaign(
            version="v3", name=None, package_name=name, version_from=known.version_from,
            version_to=known.version_to,
            start_day=TODAY + int(self.loop.time() // 86_400), end_day=TODAY + days, windows=windows,
            device_ids=tuple(str(member.imei) for member in members), auto_assign=True,
        )  # fmt: skip
        made = await self.campaigns.schedule(self.account, asked)
        for _ in range(100):
            await asyncio.sleep(0.05)
            shown = await self.campaigns.campaign(self.account.id, made.uuid)
            if shown.status is not CampaignStatus.PENDING:
                return made.uuid
        raise AssertionError("the campaign is not checked")

    async def row(self, uuid: str, member: Member) -> Row:
        page = await self.campaigns.rows(self.account.id, uuid, -1)
        return next(row for row in page.rows if row.imei == member.imei)

    async def until_ended(self, uuid: str, *members: Member, within: float = 60 * HOUR) -> list[Row]:
        """Wait until devices have come to an end; returns their rows."""
        deadline, step = self.loop.time() + within, 1.0
        while True:
            await asyncio.sleep(step)
            step = min(step * 1.02, 60.0)
            if any(map(self.update, members)) and self.loop.time() < deadline:
                continue
            found = [await self.row(uuid, member) for member in members]
            if all(row.status in ROW_FINAL for row in found):
                return found
            assert self.loop.time() < deadline, found

    # What is on the air.

    def _note(self, now: float, datagram: bytes, source: Any, target: Any) -> None:
        self.datagrams.append((now, datagram, source, target))

    def messages(self, member: Member, *, to_device: bool = True) -> list[Message]:
        """Return the CoAP messages of a device without security that arrived, in order."""
        host = member.address[0]
        return [
            coap.decode(datagram)
            for _, datagram, source, target in self.datagrams
            if (target if to_device else source)[0] == host
        ]

    def asked(self, member: Member) -> list[str]:
        """Return what the service asked of a device: method and path, each request once."""
        seen: dict[tuple[int, bytes], str] = {}
        for message in self.messages(member):
            if 0 < message.code < 32:
                shown = f"{coap.codes.code_name(message.code)} /{'/'.join(message.uri_path)}"
                seen.setdefault((message.message_id, message.token), shown)
        return list(seen.values())

    async def ask(self, message: Message, address: Any = STRANGER) -> Message:
        """Send a request from somewhere, without security; returns the answer."""
        answer: asyncio.Future[Message] = self.loop.create_future()

        def take(datagram: bytes, _source: Any) -> None:
            got = coap.decode(datagram)
            if got.code and not answer.done():
                answer.set_result(got)

        self.ether.bind(address, take)
        try:
            self.ether.send(coap.encode(message), address, PLAIN)
            async with asyncio.timeout(60):
                return await answer
        finally:
            self.ether.release(address)

    # HTTP.

    def _fetch(self, member: Member, fetch: Fetch) -> None:
        task = self.loop.create_task(self._carry_out(member, fetch))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _carry_out(self, member: Member, fetch: Fetch) -> None:
        """Carry an image over HTTP; :attr:`cut_http_after` bytes the connection breaks, once."""
        wanted = f"bytes={fetch.offset}-" if fetch.offset else ""
        status, headers, body = await self.get(fetch.source.path[-1], wanted)
        self.fetched.append((wanted, str(status)))
        now = self.loop.time()
        if status not in (200, 206):
            fetch.fail(4, now)
        else:
            size = int(headers.get("content-range", f"/{len(body)}").rpartition("/")[2])
            start = fetch.offset if status == 206 else 0
            fetch.begin(start, size, bytes.fromhex(headers["etag"].strip('"')))
            cut, self.cut_http_after = self.cut_http_after, None
            fetch.take(body[:cut], now)
            if cut is None:
                fetch.end(now)
            else:
                fetch.fail(4, now)
        member.settle()

    async def get(self, token: str, wanted: str = "") -> tuple[int, dict[str, str], bytes]:
        """GET an image of the HTTP door; returns status, headers and body."""
        headers = [(b"range", wanted.encode())] if wanted else []
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": headers,
            "path_params": {"token": token},
        }
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        async def receive() -> Any:
            await self.loop.create_future()

        await self.host(scope, receive, send)
        shown = {name.decode().lower(): value.decode() for name, value in said[0]["headers"]}
        return said[0]["status"], shown, b"".join(each.get("body", b"") for each in said[1:])


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    *,
    limits: Limits | None = None,
    policy: Policy | None = None,
    signed: bool = False,
    http: bool = False,
) -> AsyncIterator[World]:
    """Open a world; with *http* its images are offered over HTTP too."""
    made = World(folder, limits or Limits(), policy or Policy(), signed)
    if http:
        made.means[Means.HTTP] = (SERVICE_HOST, 8080)
    with capture_logs() as made.logs:
        await made.start()
        try:
            yield made
        finally:
            await made.close()
