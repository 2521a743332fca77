"""kill -9 in the middle of a campaign: after the restart it ends, with every device updated exactly once."""

import asyncio
import contextlib
import csv
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx2
import msgspec
import pytest

from overair.cli.demo_owner import Owner
from overair.doors.operator.token import operator_token
from overair.simulator import PROFILES, Fleet, UpdateState, identities, make_image

from ..running import ACCOUNT, PASSWORD, USER, Service, overair, overair_json, serving

T = TypeVar("T")

DEVICES = 200
PROFILE = msgspec.structs.replace(
    PROFILES[3], block_bytes=1024, download_bytes_per_second=4000.0, flash_seconds=1.0, reboot_seconds=0.2
)
"""A download takes some five seconds: time enough to be killed in."""
NEW = "L0.0.00.00.06.01"
IMAGE_BYTES = 20_000
DEADLINE_SECONDS = 60.0


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """An account with its devices."""
    await overair_json(
        "account", "add", ACCOUNT, "--licenses", str(DEVICES), "--subscription", "mrc", data=tmp_path
    )
    await overair_json(
        "user", "add", "--account", ACCOUNT, "--name", USER, "--password-stdin", data=tmp_path, stdin=PASSWORD
    )
    listing = tmp_path / "devices.csv"
    with listing.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("imei", "protocol"))
        writer.writerows((each.imei, "lwm2m") for each in identities(DEVICES))
    code, _, errors = await overair("device", "import", str(listing), "--account", ACCOUNT, data=tmp_path)
    assert code == 0, errors
    return tmp_path


class Story:
    """The service, which dies and returns, and the devices, which stay."""

    def __init__(self, data: Path, key: dict[str, str]) -> None:
        self.data = data
        self.key = key
        self.coap_port = 0
        self.fleet: Fleet
        self.campaign_id = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[Service, Owner]]:
        async with serving(self.data, coap_port=self.coap_port) as service:
            self.coap_port = service.ports["coap"]
            async with httpx2.AsyncClient(base_url=service.http, timeout=30) as client:
                token = await asyncio.to_thread(operator_token, self.data, {})
                owner = Owner(client, ACCOUNT, token)
                await owner.log_in(self.key["key"], self.key["secret"], USER, PASSWORD)
                yield service, owner

    async def begin(self, owner: Owner) -> None:
        """Have all devices register, and schedule a campaign for them."""
        image = make_image(PROFILE.make, PROFILE.model, NEW, IMAGE_BYTES)
        await owner.upload(image, PROFILE.make, PROFILE.model, PROFILE.firmware, NEW)
        fleet = [msgspec.structs.replace(each, profile=PROFILE) for each in identities(DEVICES)]
        self.fleet = Fleet(fleet, ("127.0.0.1", self.coap_port), random=random.Random(1), per_second=200)
        await self.fleet.start()
        await self.fleet.all_registered.wait()

        await until(owner.firmware, lambda offered: bool(offered) and self.inventories() == DEVICES)
        (firmware,) = await owner.firmware()
        self.campaign_id = await owner.schedule(firmware, [each.imei for each in fleet])

    def inventories(self) -> int:
        """Count the devices that were asked for what they are."""
        return sum((3, 0, 3) in device.observed for device in self.fleet.devices)

    def updating(self, state: UpdateState) -> int:
        return self.fleet.standing().update_states.get(state, 0)

    async def until(self, owner: Owner, holds: Callable[[str], bool]) -> None:
        """Look at the campaign until something holds, as its status or of the devices."""
        await until(lambda: owner.campaign_status(self.campaign_id), holds)


async def until(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not holds(await look()):
            pass


async def test_two_kills(data: Path) -> None:
    story = Story(data, await overair_json("key", "add", "--account", ACCOUNT, data=data))

    async with story.serving() as (service, owner):
        await story.begin(owner)
        await story.until(owner, lambda _: story.updating(UpdateState.DOWNLOADING) >= DEVICES // 2)
        await service.kill()
    assert story.fleet.standing().update_tally.downloaded < DEVICES // 2
    async with story.serving() as (service, owner):
        await story.until(owner, lambda _: story.updating(UpdateState.UPDATING) >= DEVICES // 10)
        await service.kill()
    assert story.fleet.standing().update_tally.booted < DEVICES
    async with story.serving() as (_, owner):
        await story.until(owner, lambda status: status == "CampaignEnded")
        statuses = await owner.statuses(story.campaign_id)
        records = [await owner.device(each.identity.imei) for each in story.fleet.devices[::20]]
    assert Counter(statuses) == {"UpgradeSuccess": DEVICES}
    for device in story.fleet.devices:
        tally = device.update_tally
        # A download goes on where it was, and no command comes twice.
        done = (tally.downloads, tally.executes, tally.flashed, tally.booted, tally.failed)
        assert (done, device.firmware) == ((1, 1, 1, 1, 0), NEW), device.identity.imei
    assert {record["firmware"] for record in records} == {NEW}
    assert all(record["licenseAssigned"] and "statusTime" in record for record in records)
    await story.fleet.stop()
