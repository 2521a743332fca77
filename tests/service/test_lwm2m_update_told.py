"""What owners are told of devices and packages, from the event to the sender (spec callbacks.md, 3, 4)."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from overair.accounts.model import Account
from overair.callbacks.model import Answer
from overair.campaigns.model import Assignment
from overair.core import Core, CoreSettings
from overair.devices.model import Provisioning, Report
from overair.doors.lwm2m.face import UdpFace
from overair.doors.lwm2m.gateway import Gateway
from overair.packages.model import Kind, NewPackage
from overair.platform.clock import SystemClock
from overair.platform.database import Database, embedded_url, metadata
from overair.platform.limits import Limits
from overair.protocols import coap

from .lwm2m_device import IMEI, VALUES, Device

ACCOUNT = "0000123456-00001"
IMAGE = random.Random(1).randbytes(2000)


class NoDriver:
    """Brings nothing to anybody."""

    def ready(self, imei: int) -> bool:
        return False

    def begin(self, assignment: Assignment) -> None:
        raise AssertionError(assignment)

    def stop(self, imei: int) -> None:
        raise AssertionError(imei)


class Inbox:
    """The receiver of callbacks."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.queue.put_nowait(json.loads(body))
        return Answer(200)

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            return await self.queue.get()


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Core, Account, Inbox]]:
    """Open the domain with its jobs, one account and its listener."""
    database = Database(embedded_url(folder))
    await asyncio.to_thread(metadata.create_all, database.engine)
    inbox = Inbox()
    async with database:
        core = Core(database, SystemClock(), CoreSettings(folder, Limits()), enrol_account_id=None)
        core.make_jobs({"LWM2M": NoDriver()}, inbox.take)
        account = await core.accounts.add_account(ACCOUNT, 10, ["mrc"])
        await core.callbacks.register(account.id, "v3", "https://example.com/told")
        running = asyncio.create_task(core.run())
        try:
            yield core, account, inbox
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def firmware(folder: Path, **said: Any) -> tuple[NewPackage, Path]:
    file = folder / "image.bin"
    if not file.exists():
        file.write_bytes(IMAGE)
    given = {
        "kind": Kind.FIRMWARE,
        "make": "ACME",
        "model": "T1000",
        "version_from": "1.4.2",
        "version_to": "1.5",
    }
    return NewPackage(**{**given, "protocol": "LWM2M", "size_bytes": len(IMAGE), **said}), file


async def test_a_package_that_becomes_ready_is_told_to_who_has_devices_for_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as (core, account, inbox):
        new, file = await asyncio.to_thread(firmware, tmp_path)
        for said in (
            {"version_to": "1.4.9"},
            {"kind": Kind.SOFTWARE, "name": "app"},
            {"protocol": "OMADM", "name": "oma"},
        ):
            other, _ = firmware(tmp_path, **said)
            await core.packages.add(
                account.id, other, file
            )  # nobody has such a device yet, or it is no firmware
            if "version_to" in said:
                await core.devices.add(account.id, [Provisioning(int(IMEI), make="acme", model="t1000")])
        package = await core.packages.add(account.id, new, file)
        told = await inbox.next()
        assert (told["type"], told["accountName"]) == ("newFirmware", ACCOUNT)
        (shown,) = told["firmwareList"]
        assert shown["firmwareName"] == package.name
        assert (shown["firmwareFrom"], shown["firmwareTo"]) == ("1.4.2", "1.5")
        assert inbox.queue.empty()
        assert {each.name for each in core.standings} >= {"campaigns", "attempts", "purge"}
        assert not [each for each in core.standings if each.failures]


async def test_a_report_that_was_asked_for_is_told(tmp_path: Path) -> None:
    """From the owner's request by way of the device to the callback."""
    async with opened(tmp_path) as (core, account, inbox):
        await core.devices.add(account.id, [Provisioning(int(IMEI))])
        endpoint = coap.Endpoint(random=random.Random(1))
        gateway: Gateway

        def handle(event: coap.Event) -> None:
            gateway.handle(event)

        face = UdpFace(endpoint, handle)
        gateway = Gateway(endpoint, core.devices, core.clock, core.limits, face.flush)
        await gateway.start()
        device = Device(face.open("127.0.0.1", 0), values={**VALUES, (3, 0, 3): "1.4.2"})
        try:
            await device.register()
            request_id = await core.devices.request_report(account.id, IMEI)
            told = await inbox.next()
            assert (told["type"], told["accountName"], told["requestId"]) == (
                "deviceFirmwareReport", ACCOUNT, request_id,
            )  # fmt: skip
            (shown,) = told["deviceList"]
            assert shown.pop("firmwareVersionUpdateTime").endswith("Z")
            assert shown == {
                "deviceId": IMEI,
                "status": "FirmwareVersionUpdateSuccess",
                "resultReason": "",
                "firmwareVersion": "1.4.2",
            }
        finally:
            device.close()
            face.close()
            await gateway.close()


async def test_a_report_that_never_came_is_told_with_its_reason(tmp_path: Path) -> None:
    async with opened(tmp_path) as (core, account, inbox):
        await core.devices.add(account.id, [Provisioning(int(IMEI))])
        request_id = await core.devices.request_report(account.id, IMEI)
        await core.devices.end_operation(request_id, "expired")
        told = await inbox.next()
        assert told["deviceList"] == [
            {
                "deviceId": IMEI,
                "status": "FirmwareVersionUpdateFailed",
                "resultReason": "expired",
                "firmwareVersion": "",
            }
        ]
        # What is known of the device is told all the same.
        await core.devices.report(int(IMEI), Report("LWM2M", firmware="1.4.2"))
        again = await core.devices.request_report(account.id, IMEI)
        await core.devices.end_operation(again, "refused")
        (shown,) = (await inbox.next())["deviceList"]
        assert (shown["status"], shown["firmwareVersion"]) == ("FirmwareVersionUpdateFailed", "1.4.2")
