"""Campaigns with SWUpdate of Debian, unmodified (spec ddi.md, sections 8, 9.1 and 11)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from overair.campaigns.model import Campaign, CampaignStatus, NewCampaign, Row, RowStatus
from overair.cli.common import open_services
from overair.core import Core
from overair.packages.model import Kind, NewPackage
from overair.platform.clock import DAY_MS

from ..running import ACCOUNT, Service, add_device, add_owner, serving
from .swupdate import DEADLINE_SECONDS, Device, Line, Signer, make_package, make_signer

IMEI = "490154203237518"
MAKE, MODEL, OLD, NEW = "ACME", "TRACKER1", "1.4.0", "1.4.2"
PAYLOAD = bytes(range(256)) * 12_000

pytestmark = pytest.mark.real_client("swupdate")


@dataclass
class Story:
    """A service with one device, and the domain behind it for whoever schedules and looks."""

    folder: Path
    service: Service
    core: Core
    device: Device

    async def begin(self, signer: Signer) -> Campaign:
        """Have the device known, and a campaign for it begin."""
        async with self.device.on():
            await self.until(self.record, lambda record: record.get("firmware") == OLD)
        account = await self.core.accounts.account(ACCOUNT)
        file = self.folder / "fw.swu"
        image = make_package(PAYLOAD, NEW, self.device.installed_at, signer)
        await asyncio.to_thread(file.write_bytes, image)
        new = NewPackage(
            kind=Kind.FIRMWARE, make=MAKE, model=MODEL, version_from=OLD, version_to=NEW, protocol="HTTP",
            size_bytes=len(image),
        )  # fmt: skip
        package = await self.core.packages.add(account.id, new, file)
        today = int(time.time() * 1000) // DAY_MS
        asked = NewCampaign(
            version="v2", name=None, package_name=package.name, version_from=OLD, version_to=NEW,
            start_day=today, end_day=today + 2, windows=(), device_ids=(IMEI,), auto_assign=True,
        )  # fmt: skip
        campaign = await self.core.campaigns.schedule(account, asked)
        await self.until(lambda: self.row(campaign), lambda row: row.status is not RowStatus.UNCHECKED)
        return campaign

    async def row(self, campaign: Campaign) -> Row:
        return (await self.core.campaigns.rows(campaign.account_id, campaign.uuid, -1)).rows[0]

    async def status(self, campaign: Campaign) -> CampaignStatus:
        return (await self.core.campaigns.campaign(campaign.account_id, campaign.uuid)).status

    async def record(self) -> dict[str, Any]:
        account = await self.core.accounts.account(ACCOUNT)
        found: dict[str, Any] = msgspec.json.decode(await self.core.devices.show(account.id, IMEI))
        return found

    async def links(self) -> dict[str, Any]:
        """Return what a poll with the device's token shows."""
        url = f"{self.service.http}/DEFAULT/controller/v1/{IMEI}"
        async with httpx2.AsyncClient() as client:
            answer = await client.get(url, headers={"Authorization": f"TargetToken {self.device.token}"})
        found: dict[str, Any] = answer.json().get("_links", {})
        return found

    async def until(self, look: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
        seen = None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not holds(seen := await look()):
                    await self.device.come()
        except TimeoutError:
            raise AssertionError(f"it never came to that: {seen!r}") from None
        return seen

    async def install(self) -> None:
        """Have the device poll until it has installed what it is offered, and would restart."""
        await self.device.says("executing post-update actions")


@pytest.fixture
async def signer() -> Signer:
    return await asyncio.to_thread(make_signer, "Overair's tests")


@contextlib.asynccontextmanager
async def told(folder: Path, signer: Signer, breaks_after_bytes: int) -> AsyncIterator[tuple[Story, Line]]:
    data = folder / "data"
    await add_owner(data)
    token = (await add_device(data, IMEI, "--protocol", "http", "--token"))["token"]
    async with serving(data, "--verbose") as service, open_services(data, None) as core:
        line = Line(service.ports["http"], breaks_after_bytes)
        async with line.open() as url:
            device = Device(folder / "device", url, IMEI, token, signer, MAKE, MODEL, OLD)
            yield Story(folder, service, core, device), line
        print("\n".join([*device.lines, *service.log]))


async def test_it_installs_and_confirms_after_its_restart(tmp_path: Path, signer: Signer) -> None:
    async with told(tmp_path, signer, 1 << 30) as (story, line):
        campaign = await story.begin(signer)
        async with story.device.on():
            await story.install()
            assert story.device.installed_at.read_bytes() == PAYLOAD
            row = await story.row(campaign)
            assert (row.status, row.attempts) == (RowStatus.RUNNING, 1)  # it has not said how it went
            assert (await story.record())["firmware"] == OLD
        story.device.version = NEW
        async with story.device.on("-c", "2"):
            await story.until(lambda: story.row(campaign), lambda row: row.status is RowStatus.SUCCEEDED)
            await story.until(lambda: story.status(campaign), lambda status: status is CampaignStatus.ENDED)
            record = await story.until(story.record, lambda record: "statusTime" in record)
        assert record["firmware"] == NEW
        assert (await story.row(campaign)).attempts == 1
        assert line.ranges == []


async def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path: Path, signer: Signer) -> None:
    async with told(tmp_path, signer, len(PAYLOAD) // 2) as (story, line):
        campaign = await story.begin(signer)
        async with story.device.on():
            await story.install()
        assert story.device.installed_at.read_bytes() == PAYLOAD
        assert line.broken == 1
        (asked,) = line.ranges
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        assert len(PAYLOAD) // 4 < start < len(PAYLOAD)
        assert (await story.row(campaign)).status is RowStatus.RUNNING


async def test_what_somebody_else_signed_is_a_failure(tmp_path: Path, signer: Signer) -> None:
    async with told(tmp_path, signer, 1 << 30) as (story, _):
        campaign = await story.begin(await asyncio.to_thread(make_signer, "Somebody else"))
        async with story.device.on():
            row = await story.until(lambda: story.row(campaign), lambda row: row.status is RowStatus.FAILED)
        assert row.detail in ("integrity check failed", "update failed")
        assert not story.device.installed_at.exists()
        assert (await story.record())["firmware"] == OLD


async def test_it_stops_what_is_cancelled(tmp_path: Path, signer: Signer) -> None:
    async with told(tmp_path, signer, 1 << 30) as (story, _):
        campaign = await story.begin(signer)
        async with story.device.on():
            await story.install()
        await story.core.campaigns.abort(campaign.account_id, campaign.uuid)
        await story.until(lambda: story.row(campaign), lambda row: row.status is RowStatus.ABORTED)
        async with story.device.on():
            await story.device.says("cancelAction/1/feedback")
            await story.until(story.links, lambda links: "cancelAction" not in links)
