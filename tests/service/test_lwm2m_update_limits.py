"""How many images are on their way at once, how fast, and how long (spec lwm2m.md, 8.8, 13.3)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overair.campaigns.model import RowStatus, Window
from overair.platform.limits import Limits
from overair.protocols.lwm2m.updating import Detail, Phase
from overair.simulator import Faults
from overair.simulator.profile import PULL_ONLY, PUSH_ONLY

from ..virtual import virtual
from .lwm2m_updates import HOUR, IMAGE_BYTES, NEW, PROFILE, watched, world

DAY = 24 * HOUR
SLOW = 100.0
MINUTE = IMAGE_BYTES / SLOW


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


@pytest.mark.parametrize("delivery", [PULL_ONLY, PUSH_ONLY])
def test_only_so_many_images_are_on_their_way_and_the_next_goes_when_one_is_there(
    tmp_path: Path, delivery: int
) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path, limits=Limits(transfers_at_once=2)) as here:
            members = [await here.add(delivery=delivery, download_bytes_per_second=SLOW) for _ in range(5)]
            # A block and its confirmation take a second and a half; pulled, a block takes five.
            here.ether.down = Faults(latency_seconds=1.5)
            seen: list[int] = []

            async def watch() -> None:
                while True:
                    seen.append(here.updates.transfers)
                    here.updates.wake()  # whoever waits looks again, and still waits
                    await asyncio.sleep(1)

            watching = asyncio.create_task(watch())
            begun = here.loop.time()
            rows = await here.until_ended(await here.campaign(members), *members)
            watching.cancel()
            assert {(row.status, row.attempts) for row in rows} == {(RowStatus.SUCCEEDED, 1)}
            assert max(seen) == 2
            assert seen.count(1) + seen.count(0) < 100  # a place is not left empty
            assert here.loop.time() - begun < 6 * MINUTE

    run()


@virtual
async def test_who_waits_for_a_place_is_woken_when_one_is_free(tmp_path: Path) -> None:
    async with world(tmp_path, limits=Limits(transfers_at_once=1)) as here:
        members = [await here.add(download_bytes_per_second=SLOW, flash_seconds=1000.0) for _ in range(2)]
        uuid = await here.campaign(members)
        await here.until(lambda: [here.phase(each) for each in members].count(Phase.DELIVER) == 1, within=20)
        (first,) = [each for each in members if here.phase(each) is Phase.DOWNLOADING]
        (second,) = [each for each in members if each is not first]
        assert here.updates.transfers == 1
        await here.until(lambda: here.phase(first) is Phase.INSTALLING)
        await here.until(lambda: here.phase(second) is Phase.DOWNLOADING, within=5)
        rows = await here.until_ended(uuid, *members)
        assert {row.status for row in rows} == {RowStatus.SUCCEEDED}


@virtual
async def test_all_downloads_together_are_no_faster_than_they_may(tmp_path: Path) -> None:
    async with world(tmp_path, limits=Limits(download_bytes_per_second=200)) as here:
        members = [await here.add() for _ in range(3)]
        begun = here.loop.time()
        rows = await here.until_ended(await here.campaign(members), *members)
        assert {(row.status, row.attempts) for row in rows} == {(RowStatus.SUCCEEDED, 1)}
        assert here.loop.time() - begun >= 3 * IMAGE_BYTES / 200


DOWNLOADING: dict[str, Any] = {"download_bytes_per_second": 5.0}
PUSHING: dict[str, Any] = {"delivery": PUSH_ONLY}
INSTALLING: dict[str, Any] = {"flash_seconds": 600.0}


@pytest.mark.parametrize(
    ("profile", "phase", "detail", "latency"),
    [
        (DOWNLOADING, Phase.DOWNLOADING, Detail.NO_RESPONSE, 0.0),
        (PUSHING, Phase.DELIVER, Detail.NO_RESPONSE, 20.0),
        (INSTALLING, Phase.INSTALLING, None, 0.0),
    ],
)
def test_the_end_of_the_campaign(
    tmp_path: Path, profile: dict[str, Any], phase: Phase, detail: Detail | None, latency: float
) -> None:
    """What can be taken back is; a device that installs goes on to its end."""

    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            await asyncio.sleep(DAY - 130)
            member = await here.add(**profile)
            here.ether.down = Faults(latency_seconds=latency)
            uuid = await here.campaign([member], days=0)
            await asyncio.sleep(DAY - here.loop.time() - 1)
            assert here.phase(member) is phase
            (row,) = await here.until_ended(uuid, member)
            if detail is None:
                assert (row.status, member.device.firmware) == (RowStatus.SUCCEEDED, NEW)
            else:
                assert (row.status, row.detail) == (RowStatus.FAILED, detail)
                assert member.device.firmware == PROFILE.firmware
                assert row.updated_ms / 1000 % DAY < 1000
            assert member.device.tree.value((5, 0, 3)) == 0
            assert len(here.updates) == here.updates.transfers == 0

    run()


@virtual
async def test_the_campaign_ends_while_the_image_waits_for_its_window(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await asyncio.sleep(23 * HOUR - 60)
        member = await here.add(download_bytes_per_second=SLOW)
        uuid = await here.campaign([member], days=0, windows=(Window(22, 23),))
        await here.until_phase(member, Phase.DOWNLOADED)
        (row,) = await here.until_ended(uuid, member)
        assert (row.status, row.detail) == (RowStatus.FAILED, Detail.ENDED)
        assert member.device.tree.value((5, 0, 3)) == 0  # it was told to forget the image
        assert member.device.update_tally.flashed == 0


@pytest.mark.parametrize("phase", [Phase.PREPARE, Phase.OBSERVE, Phase.DELIVER, Phase.DOWNLOADING])
def test_stop_takes_back_what_was_delivered(tmp_path: Path, phase: Phase) -> None:
    @virtual
    async def run() -> None:
        async with world(tmp_path) as here:
            here.ether.down = Faults(latency_seconds=0.4)
            member = await here.add(download_bytes_per_second=SLOW)
            uuid = await here.campaign([member])
            await here.until_phase(member, phase)
            here.updates.stop(member.imei)
            (row,) = await here.until_ended(uuid, member)
            assert (row.status, row.attempts) == (RowStatus.FAILED, 1)
            await asyncio.sleep(MINUTE)
            assert member.device.tree.value((5, 0, 3)) == 0
            assert member.device.firmware == PROFILE.firmware

    run()


@virtual
async def test_stop_of_a_device_without_an_update_is_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        member = await here.add()
        here.updates.stop(member.imei)
        assert here.updates.ready(member.imei)
