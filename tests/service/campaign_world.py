"""A campaign on virtual time: the real service from its database to its sockets, and simulated devices.

Devices speak CoAP without security, over loopback; days of them pass in seconds.
"""

import asyncio
import contextlib
import random
import socket
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from overair.accounts.model import Account
from overair.accounts.sql import account_of, accounts
from overair.callbacks.deliverer import Deliverer
from overair.callbacks.lane import Send
from overair.callbacks.service import CallbackService
from overair.campaigns.engine import Engine
from overair.campaigns.model import CampaignStatus, NewCampaign, Row
from overair.campaigns.service import Attempts, CampaignService
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
from overair.platform.sealing import VARIABLE, Sealer
from overair.protocols import coap
from overair.protocols.lwm2m.updating import Means
from overair.simulator import PROFILES, Fleet, Misbehaviour, identities, make_image

from ..inline import InlineDatabase
from ..virtual import START_MS, LoopClock, VirtualLoop

DAY = 86_400
HOUR_MS = 3_600_000
PROFILE = PROFILES[3]
NEW = "L0.0.00.00.06.01"
IMAGE_BYTES = 20_000
MASTER = {VARIABLE: "0f" * 32}


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
    callbacks: CallbackService
    engine: Engine
    clock: LoopClock
    address: tuple[str, int]

    @contextlib.asynccontextmanager
    async def fleet(self, faults: Sequence[Misbehaviour]) -> AsyncIterator[Fleet]:
        """Have a device of the account for each of these, registered and known."""
        identified = [msgspec.structs.replace(each, profile=PROFILE) for each in identities(len(faults))]
        added = [Provisioning(int(each.imei), protocol="LWM2M") for each in identified]
        await self.devices.add(self.account.id, added)
        misbehaviours = {each.imei: fault for each, fault in zip(identified, faults, strict=True)}
        fleet = Fleet(identified, self.address, random=random.Random(1), misbehaviours=misbehaviours)
        await fleet.start()
        try:
            await fleet.all_registered.wait()
            await asyncio.sleep(60)
            yield fleet
        finally:
            await fleet.stop()

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

    async def status(self, campaign_id: str) -> CampaignStatus:
        return (await self.campaigns.campaign(self.account.id, campaign_id)).status

    @contextlib.asynccontextmanager
    async def delivering(self, url: str, send: Send) -> AsyncIterator[Deliverer]:
        """Have the owner's callbacks sent to a URL."""
        await self.callbacks.register(self.account.id, "v3", url)
        deliverer = Deliverer(
            self.database, self.callbacks, send, self.clock, DEFAULT_LIMITS, random.Random(1)
        )
        self.engine.on_told = deliverer.wake
        running = asyncio.create_task(deliverer.run())
        try:
            yield deliverer
        finally:
            assert not running.done(), running
            running.cancel()
            await asyncio.wait([running])
        assert deliverer.status.last_error is None


@contextlib.asynccontextmanager
async def open_world(folder: Path, port: int = 0) -> AsyncIterator[World]:
    """Open the service without security, on virtual time; nothing in it may fail.

    In a folder that had one before, it goes on where that ended, if on the same *port*.
    """
    clock, limits = LoopClock(), DEFAULT_LIMITS
    image = make_image(PROFILE.make, PROFILE.model, NEW, IMAGE_BYTES)
    async with InlineDatabase(f"sqlite:///{folder}/world.db") as database:
        metadata.create_all(database.engine)
        account = await database.read(_account) or await _found(database, len(image))
        devices = DeviceService(SqlDeviceStore(database), clock, limits)
        package_service = PackageService(database, folder, clock, limits)
        package_service.images = MemoryImages(image)  # type: ignore[assignment]
        campaigns, attempts = CampaignService(database, clock, limits), Attempts(database, clock)
        callbacks = CallbackService(database, Sealer(folder, MASTER), clock, limits)
        # Unlocking takes a thread, which virtual time does not wait for.
        callbacks._sealer.unlock(None)
        callbacks._is_unlocked = True
        endpoint = coap.Endpoint(random=random.Random(1))
        gateway: Gateway

        def handle(event: coap.Event) -> None:
            gateway.handle(event)

        face = UdpFace(endpoint, handle)
        gateway = Gateway(endpoint, devices, clock, limits, face.flush)
        addresses = Addresses()
        updates = Updates(
            endpoint, gateway.registry, devices, package_service, attempts, addresses, clock, limits,
            face.flush,
        )  # fmt: skip
        gateway.serve(
            Files(
                endpoint,
                package_service.images,
                updates,
                lambda _identity: None,
                Bandwidth(1e9),
                gateway.answers,
                face.flush,
                b"x" * 16,
            )
        )
        gateway.attend(updates)
        engine = Engine(database, attempts, {"LWM2M": updates}, clock, limits, poll_seconds=120)
        updates.on_heard, campaigns.wake = engine.heard, engine.wake
        await gateway.start()
        address = face.open("127.0.0.1", port)
        addresses.doors[Means.COAP] = address
        running = asyncio.create_task(engine.run())
        try:
            yield World(database, account, devices, campaigns, callbacks, engine, clock, address)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await updates.close()
            face.close()
            await gateway.close()
        assert [each.last_error for each in engine.standings if each.failures] == []


def _account(connection: Connection) -> Account | None:
    row = connection.execute(select(accounts)).one_or_none()
    return None if row is None else account_of(row)


async def _found(database: InlineDatabase, size_bytes: int) -> Account:
    """Make the account and its package."""
    values = {
        "name": "0742000123-00001", "active": True, "licenses": 1000, "subscriptions": "mrc", "created_ms": 0,
    }  # fmt: skip
    await database.write(lambda connection: connection.execute(insert(accounts).values(values)))
    account = await database.read(_account)
    assert account is not None
    package = {
        "id": str(uuid.uuid4()), "account_id": account.id, "kind": "firmware", "name": "package",
        "make": PROFILE.make, "model": PROFILE.model, "make_key": PROFILE.make.lower(),
        "model_key": PROFILE.model.lower(), "version_from": PROFILE.firmware, "version_to": NEW,
        "protocol": "LWM2M", "launch_ms": 0, "release_note": "", "size_bytes": size_bytes,
        "sha256": bytes(32), "state": "ready", "created_ms": 0, "changed_ms": 0,
    }  # fmt: skip
    await database.write(lambda connection: connection.execute(insert(packages).values(package)))
    return account
