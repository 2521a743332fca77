"""The door for HTTP devices on virtual time: engine, database and door as they are, one image in memory."""

import asyncio
import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import httpx2
import msgspec
from blockbuster import blockbuster_ctx
from sqlalchemy import select, update
from starlette.routing import Router

from overair.accounts.model import Account
from overair.accounts.sql import account_of, accounts
from overair.campaigns.engine import Engine
from overair.campaigns.model import Campaign, CampaignStatus, NewCampaign, Row, RowStatus, Window
from overair.campaigns.service import Attempts, CampaignService
from overair.credentials.token_service import TokenService
from overair.devices.model import Device, Provisioning
from overair.devices.service import DeviceService
from overair.devices.sql import load_state
from overair.devices.store import SqlDeviceStore
from overair.doors.ddi.door import DdiDoor
from overair.doors.ddi.http import NO_TRUST, Trust
from overair.doors.images.sending import Sending
from overair.packages.service import PackageService
from overair.packages.sql import packages
from overair.platform.bandwidth import Bandwidth
from overair.platform.clock import DAY_MS
from overair.platform.database import metadata
from overair.platform.images import DamagedImage
from overair.platform.limits import Limits

from ..campaigns.world import World as CampaignWorld
from ..inline import InlineDatabase
from ..virtual import START_MS, LoopClock
from .conftest import ALLOWED

IMEI, OTHER_IMEI = "490154203237518", "990012340000006"
OLD, NEW = "1.0", "2.0"
MAKE, MODEL = "ACME", "T1"
PACKAGE = "ACME_T1_1.0_2.0"
IMAGE = b"070702" + b"0" * 104 + b"sw-description\0" + bytes(range(256)) * 600
FILENAME = f"{PACKAGE}.swu"
TOKEN = "0123456789abcdef0123456789abcdef"
SWUPDATE = "libcurl-agent/1.0"
RAUC = "rauc-hawkbit-c-agent/1.0"
ATTRIBUTES = {"imei": IMEI, "make": MAKE, "model": MODEL, "fw_version": OLD}
TODAY = START_MS // DAY_MS
# Functions of a database without threads, which therefore blocks the loop.
INLINE = {"__init__", "read", "submit", "_group", "close"}


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Fail what blocks the event loop, but for the database, which has no threads here."""
    with blockbuster_ctx("overair") as blockbuster:
        for name, function in blockbuster.functions.items():
            if name in ALLOWED:
                function.deactivate()
            elif name.startswith("sqlite3."):
                function.can_block_in("tests/inline.py", INLINE)
                function.can_block_in("tests/service/ddi_world.py", {"_found", "_taken"})
        yield


@dataclass
class MemoryImages:
    """The one image that there is; *failure* is what reading it raises."""

    body: bytes = IMAGE
    failure: Exception | None = None
    reads: int = 0

    async def read(self, _image_id: str, offset: int, length: int) -> bytes:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return self.body[offset : offset + length]

    def damage(self) -> None:
        self.failure = DamagedImage("damaged")


@dataclass
class Target:
    """A device, as a client of the door."""

    client: httpx2.AsyncClient
    imei: str = IMEI
    token: str | None = TOKEN
    tenant: str = "DEFAULT"
    agent: str = SWUPDATE
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return f"/{self.tenant}/controller/v1/{self.imei}"

    def like(self, **changes: Any) -> "Target":
        return replace(self, **changes)

    async def ask(self, method: str, path: str = "", **said: Any) -> httpx2.Response:
        headers = {"User-Agent": self.agent, "Accept": "application/json", **self.headers}
        if self.token is not None:
            headers["Authorization"] = f"TargetToken {self.token}"
        headers |= said.pop("headers", {})
        url = path if path.startswith("http") else self.base + path
        return await self.client.request(method, url, headers=headers, **said)

    async def poll(self) -> dict[str, Any]:
        """Return the links of a poll, and under ``sleep`` the interval."""
        answer = await self.ask("GET")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        links = {name: link["href"] for name, link in body.get("_links", {}).items()}
        return {**links, "sleep": body["config"]["polling"]["sleep"]}

    async def configure(self, mode: str | None = None, **attributes: Any) -> httpx2.Response:
        body: dict[str, Any] = {"data": attributes or ATTRIBUTES}
        if mode is not None:
            body["mode"] = mode
        return await self.ask("PUT", "/configData", json=body)

    async def feed(
        self, action: int, execution: str, finished: str = "none", *details: str, base: str = "deploymentBase"
    ) -> httpx2.Response:
        status = {"execution": execution, "result": {"finished": finished}, "details": list(details)}
        return await self.ask("POST", f"/{base}/{action}/feedback", json={"id": action, "status": status})

    async def offered(self) -> int:
        """Poll as often as asked until there is an action; returns its number."""
        for _ in range(20):
            links = await self.poll()
            for name in ("deploymentBase", "confirmationBase"):
                if name in links:
                    return int(links[name].rsplit("/", 1)[1].partition("?")[0])
            await self.sleep(links)
        raise AssertionError(f"nothing was offered: {links}")

    async def sleep(self, links: dict[str, Any]) -> None:
        hours, minutes, seconds = map(int, links["sleep"].split(":"))
        await asyncio.sleep(hours * 3600 + minutes * 60 + seconds)

    async def read(self, action: int) -> dict[str, Any]:
        answer = await self.ask("GET", f"/deploymentBase/{action}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def fetch(self, action: int, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/softwaremodules/{action}/artifacts/{FILENAME}"
        return await self.ask("GET", path, headers=named)


@dataclass
class World:
    """Everything that a test of the door needs; use :func:`open_world`."""

    folder: Path
    database: InlineDatabase
    account: Account
    devices: DeviceService
    tokens: TokenService
    campaigns: CampaignService
    door: DdiDoor
    engine: Engine
    images: MemoryImages
    clock: LoopClock
    client: httpx2.AsyncClient

    async def target(self, imei: str = IMEI, token: str = TOKEN, *, known: bool = True) -> Target:
        """Add a device, by default one that has told what it is."""
        await self.devices.add(self.account.id, [Provisioning(int(imei))])
        await self.tokens.add(self.account.id, int(imei), token)
        made = Target(self.client, imei, token)
        if known:
            await made.poll()
            assert (await made.configure(**{**ATTRIBUTES, "imei": imei})).status_code == 200
        return made

    async def record(self, imei: str = IMEI) -> Device:
        found = await self.database.read(lambda connection: load_state(connection, int(imei)))
        assert found is not None
        return found

    async def shown(self, imei: str = IMEI) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.json.decode(await self.devices.show(self.account.id, imei))
        return shown

    async def schedule(self, *imeis: str, windows: Sequence[Window] = (), days: int = 7) -> Campaign:
        asked = NewCampaign(
            version="v2", name=None, package_name=PACKAGE, version_from=OLD, version_to=NEW,
            start_day=self.clock.now_ms() // DAY_MS, end_day=self.clock.now_ms() // DAY_MS + days - 1,
            windows=tuple(windows), device_ids=imeis or (IMEI,), auto_assign=True,
        )  # fmt: skip
        return await self.campaigns.schedule(self.account, asked)

    async def row(self, campaign: Campaign, imei: str = IMEI) -> Row:
        page = await self.campaigns.rows(self.account.id, campaign.uuid, -1)
        return next(row for row in page.rows if row.imei == int(imei))

    async def until(self, campaign: Campaign, status: RowStatus, imei: str = IMEI) -> Row:
        for _ in range(2000):
            row = await self.row(campaign, imei)
            if row.status is status:
                return row
            await asyncio.sleep(60)
        raise AssertionError(f"it never came to that: {row}")

    async def status(self, campaign: Campaign) -> CampaignStatus:
        return (await self.campaigns.campaign(self.account.id, campaign.uuid)).status

    async def set_package(self, **values: Any) -> None:
        await self.database.write(lambda connection: connection.execute(update(packages).values(values)))


@contextlib.asynccontextmanager
async def open_world(
    folder: Path, *, limits: Limits | None = None, trust: Trust = NO_TRUST, again: bool = False
) -> AsyncIterator[World]:
    """Open the service on virtual time, with an account and a package; *again*: on what is there already.

    Nothing in it may fail.
    """
    clock, limits, images = LoopClock(), limits or Limits(), MemoryImages()
    if not again:
        await _found(folder / "world.db")
    async with InlineDatabase(f"sqlite:///{folder}/world.db") as database:
        devices = DeviceService(SqlDeviceStore(database), clock, limits)
        package_service = PackageService(database, folder, clock, limits)
        package_service.images = images  # type: ignore[assignment]
        campaigns, attempts = CampaignService(database, clock, limits), Attempts(database, clock)
        account = await database.read(
            lambda connection: account_of(connection.execute(select(accounts)).one())
        )
        sending = Sending(images, Bandwidth(limits.download_bytes_per_second), limits)  # type: ignore[arg-type]
        with mock.patch("overair.doors.ddi.door.CHANGE_SECONDS", 60.0):  # days pass here
            door = DdiDoor(database, devices, package_service, attempts, sending, clock, limits, trust)
        engine = Engine(database, attempts, {"HTTP": door.deployments}, clock, limits, poll_seconds=600)
        campaigns.wake, door.contacts.on_heard = engine.wake, engine.heard
        await door.start()
        running = asyncio.create_task(engine.run())
        transport = httpx2.ASGITransport(app=Router([door.route()]), client=("127.0.0.1", 4711))
        async with httpx2.AsyncClient(transport=transport, base_url="http://fota.test") as client:
            tokens = TokenService(database, clock, limits)
            yield World(
                folder, database, account, devices, tokens, campaigns, door, engine, images, clock, client
            )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if not database.is_dead:
            await door.close()
        assert [each for each in (*engine.standings, *door.standings) if each.failures] == []


_TEMPLATE: list[bytes] = []


async def _found(file: Path) -> None:
    """Make a database with an account and its package: by copying the first one, which is quicker."""
    if not _TEMPLATE:
        async with InlineDatabase(f"sqlite:///{file}") as database:
            metadata.create_all(database.engine)
            around = CampaignWorld(database, *[None] * 7)  # type: ignore[arg-type]
            account = await around.account(licenses=5)
            await around.add_package(
                account, name=PACKAGE, protocol="HTTP", version_from=OLD, version_to=NEW, make=MAKE,
                model=MODEL, size_bytes=len(IMAGE), sha256=hashlib.sha256(IMAGE).digest(),
            )  # fmt: skip
        _TEMPLATE.append(_taken(file))
    _put(file, _TEMPLATE[0])


def _taken(file: Path) -> bytes:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        content = connection.serialize()
    file.unlink()
    return content


def _put(file: Path, content: bytes) -> None:
    file.write_bytes(content)
