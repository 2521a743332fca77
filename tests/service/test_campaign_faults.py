"""Devices that do not as they should in a campaign, and what their owner reads of it in the end.

One device of each kind that the simulator has, over loopback sockets, through days of virtual time; the
service is the real one from the database to the sockets.
"""

import asyncio
import contextlib
import json
import random
import socket
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select

from overair.accounts.model import Account
from overair.accounts.sql import account_of, accounts
from overair.campaigns.engine import Engine
from overair.campaigns.model import CampaignStatus, NewCampaign, Row
from overair.campaigns.service import Attempts, CampaignService
from overair.campaigns.texts import V3_STATUS, v3_reason
from overair.devices.model import Provisioning
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.doors.lwm2m.face import UdpFace
from overair.doors.lwm2m.gateway import Gateway
from overair.doors.lwm2m.updates.addresses import Addresses
from overair.doors.lwm2m.updates.driver import Updates
from overair.doors.lwm2m.updates.files import Files
from overair.packages.service import PackageService
from overair.packages.sql import packages
from overair.platform.bandwidth import Bandwidth
from overair.platform.clock import DAY_MS
from overair.platform.database import metadata
from overair.platform.limits import DEFAULT_LIMITS
from overair.protocols import coap
from overair.protocols.lwm2m.updating import Means
from overair.simulator import (
    MISBEHAVIOURS,
    PROFILES,
    Fleet,
    Identity,
    Misbehaviour,
    SimulatedDevice,
    identities,
    make_image,
)

from ..inline import InlineDatabase
from ..virtual import START_MS, LoopClock, VirtualLoop, run

DAY = 86_400
PROFILE = PROFILES[3]
NEW = "L0.0.00.00.06.01"
IMAGE_BYTES = 20_000
DAYS = 4
"""Enough for five retries of a lost connection, which take 17 hours, and for two attempts of a day."""


class Loop(VirtualLoop):
    """Addresses are found without a thread, which virtual time would not wait for."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        return socket.getaddrinfo(host, port, **options)


class MemoryImages:
    """The one image that there is."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def cached(self, _image_id: str, offset: int, length: int) -> bytes:
        return self._body[offset : offset + length]

    async def read(self, _image_id: str, offset: int, length: int) -> bytes:
        return self._body[offset : offset + length]


@dataclass
class World:
    """One account, one package, and the service around them."""

    database: InlineDatabase
    account: Account
    devices: DeviceService
    campaigns: CampaignService
    address: tuple[str, int]

    async def campaign(self, imeis: Sequence[str], days: int) -> str:
        """Schedule a campaign that begins today; returns its id."""
        today = START_MS // DAY_MS
        asked = NewCampaign(
            version="v3", name=None, package_name="package", version_from=PROFILE.firmware, version_to=NEW,
            start_day=today, end_day=today + days - 1, windows=(), device_ids=tuple(imeis), auto_assign=True,
        )  # fmt: skip
        return (await self.campaigns.schedule(self.account, asked)).uuid

    async def rows(self, campaign_id: str) -> dict[str, Row]:
        page = await self.campaigns.rows(self.account.id, campaign_id, -1)
        return {f"{row.imei:015}": row for row in page.rows}


@contextlib.asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    """Open the service without security, on virtual time; nothing in it may fail."""
    clock, limits = LoopClock(), DEFAULT_LIMITS
    image = make_image(PROFILE.make, PROFILE.model, NEW, IMAGE_BYTES)
    async with InlineDatabase(f"sqlite:///{folder}/world.db") as database:
        metadata.create_all(database.engine)
        account = await _found(database, len(image))
        devices = DeviceService(SqlDeviceStore(database), clock, limits)
        package_service = PackageService(database, folder, clock, limits)
        package_service.images = MemoryImages(image)  # type: ignore[assignment]
        campaigns, attempts = CampaignService(database, clock, limits), Attempts(database, clock)
        endpoint = coap.Endpoint(random=random.Random(1))
        gateway: Gateway
        face = UdpFace(endpoint, lambda event: gateway.handle(event))
        gateway = Gateway(endpoint, devices, clock, limits, face.flush)
        addresses = Addresses()
        updates = Updates(
            endpoint, gateway.registry, devices, package_service, attempts, addresses, clock, limits,
            face.flush,
        )  # fmt: skip
        gateway.serve(
            Files(
                endpoint, package_service.images, updates, lambda _identity: None, Bandwidth(1e9),
                gateway.answers, face.flush, b"x" * 16,
            )  # fmt: skip
        )
        gateway.attend(updates)
        engine = Engine(database, attempts, {"LWM2M": updates}, clock, limits, poll_seconds=900)
        updates.on_heard, campaigns.wake = engine.heard, engine.wake
        await gateway.start()
        address = face.open("127.0.0.1", 0)
        addresses.doors[Means.COAP] = address
        running = asyncio.create_task(engine.run())
        try:
            yield World(database, account, devices, campaigns, address)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await updates.close()
            face.close()
            await gateway.close()
        assert [each.last_error for each in engine.standings if each.failures] == []


async def _found(database: InlineDatabase, size_bytes: int) -> Account:
    """Make the account and its package."""
    values = {
        "name": "0742000123-00001", "active": True, "licenses": 1000, "subscriptions": "mrc", "created_ms": 0,
    }  # fmt: skip
    await database.write(lambda connection: connection.execute(insert(accounts).values(values)))
    account = await database.read(
        lambda connection: account_of(connection.execute(select(accounts)).one())
    )
    package = {
        "id": str(uuid.uuid4()), "account_id": account.id, "kind": "firmware", "name": "package",
        "make": PROFILE.make, "model": PROFILE.model, "make_key": PROFILE.make.lower(),
        "model_key": PROFILE.model.lower(), "version_from": PROFILE.firmware, "version_to": NEW,
        "protocol": "LWM2M", "launch_ms": 0, "release_note": "", "size_bytes": size_bytes,
        "sha256": bytes(32), "state": "ready", "created_ms": 0, "changed_ms": 0,
    }  # fmt: skip
    await database.write(lambda connection: connection.execute(insert(packages).values(package)))
    return account


@dataclass
class Outcome:
    """What became of a device: its row, its record, and what itself knows of it."""

    row: Row
    record: dict[str, Any]
    device: SimulatedDevice
    seen: list[tuple[float, str]]
    """Statuses that the row had on the way, with the time in seconds."""


async def play(folder: Path, faults: Mapping[str, Misbehaviour], days: int = DAYS) -> dict[str, Outcome]:
    """Have a campaign with a device of each kind; returns by the kind's name what became of it."""
    fleet = [
        msgspec.structs.replace(each, profile=PROFILE) for each in identities(len(faults))
    ]
    names = {identity.imei: name for identity, name in zip(fleet, faults, strict=True)}
    async with open_world(folder) as world:
        await world.devices.add(
            world.account.id, [Provisioning(int(each.imei), protocol="LWM2M") for each in fleet]
        )
        simulated = Fleet(
            fleet, world.address, random=random.Random(1),
            misbehaviours={imei: faults[name] for imei, name in names.items()},
        )  # fmt: skip
        await simulated.start()
        await simulated.all_registered.wait()
        await asyncio.sleep(600)
        campaign_id = await world.campaign(list(names), days)
        seen = await _watch(world, campaign_id, days)
        rows = await world.rows(campaign_id)
        status = (await world.campaigns.campaign(world.account.id, campaign_id)).status
        assert status is CampaignStatus.ENDED
        records = {
            imei: json.loads(await world.devices.show(world.account.id, imei)) for imei in names
        }
        await simulated.stop()
    devices = {each.identity.imei: each for each in simulated.devices}
    return {
        name: Outcome(rows[imei], records[imei], devices[imei], seen[imei]) for imei, name in names.items()
    }


async def _watch(world: World, campaign_id: str, days: int) -> dict[str, list[tuple[float, str]]]:
    """Let the days pass; returns the statuses that each row had."""
    loop = asyncio.get_running_loop()
    seen: dict[str, list[tuple[float, str]]] = {}
    while loop.time() < (days * DAY) + 2 * 3600:
        await asyncio.sleep(600)
        for imei, row in (await world.rows(campaign_id)).items():
            status = V3_STATUS[row.status]
            of_device = seen.setdefault(imei, [])
            if not of_device or of_device[-1][1] != status:
                of_device.append((loop.time(), status))
    return seen


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Let SQLite run on the loop's own thread: virtual time does not wait for others."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What became of one device of each kind."""
    return run(play(tmp_path_factory.mktemp("faults"), MISBEHAVIOURS), Loop)


def test_x(outcomes):
    for name, o in outcomes.items():
        print(name, "|", o.row.status, o.row.detail, o.row.attempts, o.row.updated_ms/3.6e6 - START_MS/3.6e6, o.device.firmware == NEW, o.device.update_tally, o.device.update_state, [(round(t/3600,2), s) for t, s in o.seen])
    assert 0
