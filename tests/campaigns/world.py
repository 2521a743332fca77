"""Campaigns on a virtual clock: accounts, devices and packages in SQLite, and a driver with a script."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from overair.accounts.model import Account
from overair.accounts.sql import account_of, accounts
from overair.campaigns.engine import Engine
from overair.campaigns.model import Assignment, Campaign, CampaignStatus, NewCampaign, RowStatus, Window
from overair.campaigns.service import Attempts, CampaignService
from overair.devices.model import Provisioning, Report
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.devices.tables import devices as device_table
from overair.packages.sql import packages
from overair.platform.clock import DAY_MS
from overair.platform.database import metadata
from overair.platform.limits import Limits

from ..inline import InlineDatabase
from ..virtual import START_MS, LoopClock

TODAY = START_MS // DAY_MS
FIRST_IMEI = 990012340000006
OLD, NEW = "1.0", "2.0"


@dataclass
class FakeDriver:
    """Does with an attempt what the test says: *script* gets the assignment and the world."""

    attempts: Attempts
    script: Callable[[Assignment], Any]
    awake: Callable[[int], bool] = lambda _imei: True
    begun: list[Assignment] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    tasks: set["asyncio.Task[Any]"] = field(default_factory=set)

    def ready(self, imei: int) -> bool:
        return self.awake(imei)

    def begin(self, assignment: Assignment) -> None:
        self.begun.append(assignment)
        outcome = self.script(assignment)
        if asyncio.iscoroutine(outcome):
            task = asyncio.get_running_loop().create_task(outcome)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def stop(self, imei: int) -> None:
        self.stopped.append(imei)

    async def close(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@dataclass
class World:
    """Everything that a test of campaigns needs."""

    database: InlineDatabase
    devices: DeviceService
    campaigns: CampaignService
    attempts: Attempts
    engine: Engine
    driver: FakeDriver
    clock: LoopClock
    limits: Limits

    async def account(
        self, *, licenses: int = 1000, subscriptions: str = "mrc", active: bool = True
    ) -> Account:
        name = f"{uuid.uuid4().int % 10**10:010d}-00001"
        values = {
            "name": name, "active": active, "licenses": licenses, "subscriptions": subscriptions,
            "created_ms": 0,
        }  # fmt: skip
        await self.database.write(lambda connection: connection.execute(insert(accounts).values(values)))
        row = await self.database.read(
            lambda connection: connection.execute(select(accounts).where(accounts.c.name == name)).one()
        )
        return account_of(row)

    async def add_devices(
        self, account: Account, count: int, *, first: int = FIRST_IMEI, heard: bool = True, **said: Any
    ) -> list[int]:
        """Add devices that can be upgraded, and that have just been heard."""
        imeis = [first + offset for offset in range(count)]
        await self.devices.add(account.id, [Provisioning(imei, protocol="LWM2M") for imei in imeis])
        report = {"make": "ACME", "model": "T1", "firmware": OLD, "firmware_capable": True, **said}
        for imei in imeis:
            await self.devices.report(imei, Report("LWM2M", **report))
        if heard:
            await self.hear(imeis)
        return imeis

    async def hear(self, imeis: Sequence[int]) -> None:
        """Devices were heard just now."""
        now_ms = self.clock.now_ms()
        heard = update(device_table).where(device_table.c.imei.in_(imeis)).values(last_uplink_ms=now_ms)
        await self.database.write(lambda connection: connection.execute(heard))
        for imei in imeis:
            self.engine.heard(imei)

    async def add_package(self, account: Account, **said: Any) -> str:
        """Add firmware that is ready; returns its name."""
        values = {
            "id": str(uuid.uuid4()), "account_id": account.id, "kind": "firmware", "name": "ACME_T1_1.0_2.0",
            "make": "ACME", "model": "T1", "version_from": OLD, "version_to": NEW, "protocol": "LWM2M",
            "launch_ms": 0, "release_note": "", "size_bytes": 1, "sha256": bytes(32), "state": "ready",
            "created_ms": 0, "changed_ms": 0, **said,
        }  # fmt: skip
        values |= {"make_key": values["make"].lower(), "model_key": values["model"].lower()}
        await self.database.write(lambda connection: connection.execute(insert(packages).values(values)))
        return str(values["name"])

    async def set_package(self, **values: Any) -> None:
        await self.database.write(lambda connection: connection.execute(update(packages).values(values)))

    async def schedule(self, account: Account, imeis: Sequence[int | str], **said: Any) -> Campaign:
        asked: dict[str, Any] = {
            "version": "v3", "name": "spring", "package_name": "ACME_T1_1.0_2.0", "version_from": OLD,
            "version_to": NEW, "start_day": TODAY, "end_day": TODAY + 6, "windows": (), **said,
        }  # fmt: skip
        ids = tuple(f"{imei:015d}" if isinstance(imei, int) else imei for imei in imeis)
        return await self.campaigns.schedule(account, NewCampaign(device_ids=ids, **asked))

    async def status(self, campaign: Campaign) -> CampaignStatus:
        return (await self.campaigns.campaign(campaign.account_id, campaign.uuid)).status

    async def statuses(self, campaign: Campaign) -> dict[RowStatus, int]:
        return await self.campaigns.counts(campaign.account_id, campaign.uuid)

    async def until(self, condition: Callable[[], Any], *, hours: float = 24 * 40) -> None:
        """Let virtual time pass until it holds."""
        end = asyncio.get_running_loop().time() + hours * 3600
        while True:
            outcome = condition()
            if asyncio.iscoroutine(outcome):
                outcome = await outcome
            if outcome:
                return
            assert asyncio.get_running_loop().time() < end, "it never came to that"
            await asyncio.sleep(300)

    async def until_status(self, campaign: Campaign, status: CampaignStatus) -> None:
        async def reached() -> bool:
            return await self.status(campaign) is status

        await self.until(reached)


def succeed(world_attempts: Attempts, *, after_seconds: float = 60) -> Callable[[Assignment], Any]:
    """Return a script by which every attempt succeeds."""

    async def play(assignment: Assignment) -> None:
        await asyncio.sleep(after_seconds)
        key = (assignment.campaign_id, assignment.imei, assignment.attempt)
        await world_attempts.succeeded(*key, NEW)

    return play


@contextlib.asynccontextmanager
async def open_world(
    folder: Path, *, limits: Limits | None = None, script: Any = None
) -> AsyncIterator[World]:
    """Open a world whose engine runs; by default every attempt succeeds after a minute."""
    limits = limits or Limits()
    clock = LoopClock()
    async with InlineDatabase(f"sqlite:///{folder}/world.db") as database:
        metadata.create_all(database.engine)
        devices = DeviceService(SqlDeviceStore(database), clock, limits)
        campaigns = CampaignService(database, clock, limits)
        attempts = Attempts(database, clock)
        driver = FakeDriver(attempts, script(attempts) if script else succeed(attempts))
        engine = Engine(database, attempts, {"LWM2M": driver}, clock, limits, poll_seconds=900)
        campaigns.wake = engine.wake
        running = asyncio.get_running_loop().create_task(engine.run())
        world = World(database, devices, campaigns, attempts, engine, driver, clock, limits)
        try:
            yield world
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await driver.close()
        for standing in engine.standings:
            assert standing.failures == 0, standing


__all__ = ["NEW", "OLD", "TODAY", "FakeDriver", "Window", "World", "open_world", "succeed"]
