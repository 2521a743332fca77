"""Firmware campaigns with a device that nobody here wrote: it pulls over CoAPS with Californium."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..running import ACCOUNT, Service, add_device, add_owner, overair_json, serving
from .campaigns import Campaigns, add_firmware
from .conftest import Launch
from .devices import VALUES, Psk, leshan
from .processes import ClientProcess
from .sdk import sdk_login

IMEI = "490154203237518"
ENDPOINT = f"urn:imei:{IMEI}"
KEY = bytes(range(65, 81))
OLD, NEW = VALUES["/3/0/3"], "1.5.0"
IMAGE = f"{NEW}\n".encode() + hashlib.shake_128(b"leshan").digest(40_000)
COAPS = {**VALUES, "/5/0/8": "1"}


@dataclass
class Story:
    """A service with one device and the firmware for it."""

    service: Service
    owner: Campaigns

    async def begin(self) -> str:
        """Wait until the device is known, and schedule a campaign for it; returns its id."""
        await self.owner.until(
            lambda: self.owner.record(IMEI), lambda record: getattr(record, "firmware", None) == OLD
        )
        firmware = await self.owner.firmware(model=VALUES["/3/0/1"])
        campaign = await self.owner.schedule(firmware, [IMEI])
        return str(campaign.id)

    async def row(self, campaign_id: str) -> Any:
        return (await self.owner.rows(campaign_id))[IMEI]


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    owner = await add_owner(tmp_path)
    await add_device(tmp_path, IMEI, "--psk-identity", ENDPOINT, "--psk-key", KEY.hex())
    async with serving(tmp_path, "--verbose") as service:
        await add_firmware(service, IMAGE, VALUES["/3/0/0"], VALUES["/3/0/1"], OLD, NEW)
        sdk = await asyncio.to_thread(
            sdk_login, service.http, owner.key, owner.secret, owner.user, owner.password
        )
        yield Story(service, Campaigns(sdk))
        print("\n".join(service.log))


def device(story: Story, client: str, firmware: str) -> ClientProcess:
    return leshan(
        story.service.coaps, ENDPOINT, values=COAPS, client=client, psk=Psk(ENDPOINT, KEY), firmware=firmware
    )


@pytest.mark.parametrize(
    "client",
    [
        pytest.param("leshan", marks=pytest.mark.real_client("leshan")),
        pytest.param("leshan-1", marks=pytest.mark.real_client("leshan-1")),
    ],
)
async def test_it_is_updated(story: Story, launch: Launch, client: str) -> None:
    process = await launch(device(story, client, "sound"))
    await process.expect("registered")
    campaign_id = await story.begin()
    written = await process.expect("write", path="/5/0/1")
    assert written["value"].startswith(f"{story.service.coaps}/f/")
    downloaded = await process.expect("downloaded")
    assert downloaded["sha256"] == hashlib.sha256(IMAGE).hexdigest()
    await process.expect("execute", path="/5/0/2")
    await process.expect("registered")
    assert await story.owner.until_over(campaign_id) == "CampaignEnded"
    row = await story.row(campaign_id)
    assert (row.status, row.result_reason) == ("UpgradeSuccess", "Upgrade completed successfully")
    record = await story.owner.record(IMEI)
    assert record.firmware == NEW
    assert record.license_assigned is False  # the account pays by the event
    assert record.status_time.endswith(" +0000 UTC")


@pytest.mark.real_client("leshan")
async def test_it_finds_every_image_damaged(story: Story, launch: Launch) -> None:
    process = await launch(device(story, "leshan", "damaged"))
    await process.expect("registered")
    campaign_id = await story.begin()
    assert await story.owner.until_over(campaign_id) == "CampaignEnded"
    # Result 5 is tried once more (spec lwm2m.md, section 8.4).
    for _ in range(2):
        await process.expect("firmware", state="0", result="5")
    row = await story.row(campaign_id)
    assert (row.status, row.result_reason) == ("UpgradeFailed", "Upgrade failed, integrity check failed")
    record = await story.owner.record(IMEI)
    assert record.firmware == OLD
    assert not hasattr(record, "status_time")


@pytest.mark.real_client("leshan")
async def test_it_comes_back_with_what_it_had(story: Story, launch: Launch) -> None:
    process = await launch(device(story, "leshan", "unchanged"))
    await process.expect("registered")
    await process.expect("observe", path="/3/0/3")
    campaign_id = await story.begin()
    await process.expect("registered")
    await process.expect("observe", path="/3/0/3")
    # It may still be on its way: one more registration is waited for (spec lwm2m.md, section 8.7).
    assert (await story.row(campaign_id)).status == "UpgradeScheduled"
    await process.send("reboot")
    assert await story.owner.until_over(campaign_id) == "CampaignEnded"
    row = await story.row(campaign_id)
    assert (row.status, row.result_reason) == ("UpgradeFailed", "Upgrade failed, version unchanged")
    assert (await story.owner.record(IMEI)).firmware == OLD
    (listed,) = await overair_json("device", "list", "--account", ACCOUNT, data=story.service.data)
    assert listed["firmware"] == OLD
