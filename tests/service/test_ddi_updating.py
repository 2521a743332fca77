"""Campaigns over HTTP, from the first poll to the end of the row (spec ddi.md, sections 4 to 6)."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from overair.campaigns.model import CampaignStatus, RowStatus, Window

from ..virtual import virtual
from .ddi_world import FILENAME, IMAGE, IMEI, NEW, OLD, RAUC, SWUPDATE, Target, open_world, watched

HOUR = 3600


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


async def install(target: Target, action: int) -> None:
    """Do what SWUpdate does with an action, up to its restart."""
    assert (await target.feed(action, "proceeding", "none", "Installing Update Chunk Artifacts.")).is_success
    assert (await target.fetch(action)).content == IMAGE
    assert (await target.feed(action, "proceeding", "none", "All Chunks Installed.")).is_success


@virtual
async def test_a_device_is_updated(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        action = await target.offered()
        body = await target.read(action)
        artifact = body["deployment"]["chunks"][0]["artifacts"][0]
        assert artifact["hashes"]["sha256"] == hashlib.sha256(IMAGE).hexdigest()
        assert artifact["hashes"]["sha1"] == hashlib.sha1(IMAGE).hexdigest()
        assert artifact["hashes"]["md5"] == hashlib.md5(IMAGE).hexdigest()
        assert artifact["filename"] == FILENAME
        fetched = await target.ask("GET", artifact["_links"]["download-http"]["href"])
        assert fetched.content == IMAGE
        await install(target, action)
        # It restarts, and finds the same action again.
        await asyncio.sleep(600)
        assert f"/deploymentBase/{action}?c=" in (await target.poll())["deploymentBase"]
        done = await target.feed(action, "closed", "success", "Update Installed.")
        assert (done.status_code, done.content, done.headers["content-length"]) == (200, b"", "0")
        row = await world.row(campaign)
        assert (row.status, row.detail, row.attempts) == (RowStatus.SUCCEEDED, None, 1)
        assert await world.status(campaign) in (CampaignStatus.SCHEDULED, CampaignStatus.ENDED)
        record = await world.record()
        assert record.firmware is not None
        assert (record.firmware.value, record.firmware.confirmed) == (NEW, False)
        assert record.status_ms == world.clock.now_ms()
        links = await target.poll()
        assert "deploymentBase" not in links
        assert links["installedBase"].endswith(f"/installedBase/{action}")
        assert "configData" in links  # it is asked what it has now
        await target.configure(imei=IMEI, fw_version=NEW)
        record = await world.record()
        assert record.firmware is not None
        assert (record.firmware.value, record.firmware.confirmed) == (NEW, True)
        assert "configData" not in await target.poll()


@virtual
async def test_what_the_device_has_after_all_is_believed(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        await target.feed(await target.offered(), "closed", "success")
        assert (await world.shown())["firmware"] == NEW
        await target.configure(imei=IMEI, fw_version="1.5-rescue")
        assert (await world.shown())["firmware"] == "1.5-rescue"
        assert (await world.row(campaign)).status is RowStatus.SUCCEEDED


@virtual
async def test_a_failure_is_told_with_its_reason(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        action = await target.offered()
        await target.feed(action, "closed", "failure", "Image invalid or corrupted: HASH mismatch")
        row = await world.row(campaign)
        assert (row.status, row.detail) == (RowStatus.FAILED, "integrity check failed")
        assert (await world.shown())["firmware"] == OLD
        assert "deploymentBase" not in await target.poll()


@virtual
async def test_only_the_first_end_counts(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        action = await target.offered()
        first, second = await asyncio.gather(
            target.feed(action, "closed", "success"), target.feed(action, "closed", "failure")
        )
        assert (first.status_code, second.status_code) == (200, 200)
        for said in (("closed", "failure"), ("proceeding", "none"), ("rejected", "none")):
            assert (await target.feed(action, *said)).status_code == 200
        assert (await world.row(campaign)).status is RowStatus.SUCCEEDED
        assert len((await target.ask("GET", f"/installedBase/{action}?actionHistory=-1")).json()) == 3


@virtual
async def test_five_rejections_are_an_answer(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        action = await target.offered()
        for _ in range(5):
            assert (await world.row(campaign)).status is RowStatus.RUNNING
            assert (await target.feed(action, "rejected", "none", "not now")).is_success
        assert (await world.row(campaign)).detail == "deferred"


@virtual
async def test_an_update_begins_in_its_window_only(tmp_path: Path) -> None:
    """The clock begins at midnight; the window is from three to four."""
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule(windows=[Window(3, 4)])
        await world.until(campaign, RowStatus.PENDING)
        await target.poll()
        await asyncio.sleep(1)
        sleeps = []
        while "deploymentBase" not in (links := await target.poll()):
            sleeps.append(links["sleep"])
            await target.sleep(links)
        began = world.clock.now_ms() % 86_400_000
        assert 3 * HOUR * 1000 <= began < 3.1 * HOUR * 1000
        assert sleeps[0] > "00:04:00"
        assert sleeps[-1] == "00:00:30"  # so near the window it comes more often


@virtual
async def test_what_was_not_begun_in_its_window_waits_for_the_next_one(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule(windows=[Window(0, 1)])
        await world.until(campaign, RowStatus.RUNNING)
        action = await target.offered()
        await asyncio.sleep(HOUR)
        assert "deploymentBase" not in await target.poll()
        assert (await target.ask("GET", f"/deploymentBase/{action}")).status_code == 404
        # One client downloads first and installs later; it says so of itself.
        rauc = target.like(agent=RAUC)
        assert "deploymentBase" in await rauc.poll()
        deployment = (await rauc.read(action))["deployment"]
        assert (deployment["download"], deployment["update"]) == ("forced", "skip")
        assert deployment["maintenanceWindow"] == "unavailable"
        await asyncio.sleep(23 * HOUR)
        assert "deploymentBase" in await target.poll()
        deployment = (await target.read(action))["deployment"]
        assert (deployment["update"], deployment["maintenanceWindow"]) == ("forced", "available")


@virtual
async def test_what_was_begun_may_be_finished_outside_its_window(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule(windows=[Window(0, 1)])
        action = await target.offered()
        await install(target, action)
        await asyncio.sleep(2 * HOUR)
        assert "deploymentBase" in await target.poll()
        assert (await target.read(action))["deployment"]["update"] == "forced"
        await target.feed(action, "closed", "success")
        assert (await world.row(campaign)).status is RowStatus.SUCCEEDED


@virtual
async def test_a_client_that_takes_wait_for_done_is_offered_it_again(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = (await world.target()).like(agent=RAUC)
        campaign = await world.schedule(windows=[Window(0, 1)])
        action = await target.offered()
        await asyncio.sleep(HOUR)
        await target.read(action)
        await target.feed(action, "closed", "success", "Skipped Update.")
        row = await world.row(campaign)
        assert (row.status, row.detail) == (RowStatus.PENDING, "skipped by device")
        assert (await world.shown())["firmware"] == OLD
        again = 0
        while not again:
            links = await target.poll()
            if "deploymentBase" in links:
                again = int(links["deploymentBase"].rsplit("/", 1)[1].partition("?")[0])
            await target.sleep(links)
        assert again != action
        assert (await world.row(campaign)).attempts == 2


@virtual
async def test_a_campaign_that_is_aborted_asks_the_device_to_stop(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        action = await target.offered()
        await install(target, action)
        await target.read(action)
        await world.campaigns.abort(world.account.id, campaign.uuid)
        await asyncio.sleep(10)
        links = await target.poll()
        assert links["cancelAction"].endswith(f"/cancelAction/{action}")
        assert "deploymentBase" not in links
        assert (await target.ask("GET", f"/deploymentBase/{action}")).status_code == 404
        stop = (await target.ask("GET", f"/cancelAction/{action}")).json()
        assert stop == {"id": str(action), "cancelAction": {"stopId": str(action)}}
        agreed = await target.feed(action, "closed", "success", base="cancelAction")
        assert (agreed.status_code, agreed.content) == (200, b"")
        assert set(await target.poll()) == {"sleep"}
        assert (await world.row(campaign)).status is RowStatus.ABORTED
        assert (await target.feed(action, "closed", "success", base="cancelAction")).status_code == 200


@virtual
async def test_a_device_may_finish_what_it_was_asked_to_stop(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        action = await target.offered()
        await target.read(action)
        await world.campaigns.abort(world.account.id, campaign.uuid)
        await asyncio.sleep(10)
        rejected = await target.feed(action, "rejected", "none", "too late", base="cancelAction")
        assert rejected.status_code == 200
        assert "deploymentBase" in await target.poll()
        not_cancelling = await target.feed(action, "closed", "success", base="cancelAction")
        assert not_cancelling.status_code == 405
        await target.feed(action, "closed", "success")
        # The row is over, but the record says what the device says.
        assert (await world.row(campaign)).status is RowStatus.ABORTED
        assert (await world.shown())["firmware"] == NEW


@virtual
async def test_a_campaign_that_ends_asks_once_and_then_waits_for_the_device(tmp_path: Path) -> None:
    """The engine asks to stop again and again while its campaign is over; the device hears it once."""
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule(days=1)
        action = await target.offered()
        await target.read(action)
        await asyncio.sleep(24 * HOUR - world.clock.now_ms() % 86_400_000 / 1000 + 60)
        while "cancelAction" not in (links := await target.poll()):
            await target.sleep(links)
        assert (await world.row(campaign)).status is RowStatus.RUNNING
        await target.feed(action, "rejected", "none", "installing", base="cancelAction")
        for _ in range(20):
            await asyncio.sleep(60)
            assert "deploymentBase" in await target.poll()
        history = (await target.ask("GET", f"/deploymentBase/{action}?actionHistory=-1")).json()
        said = history["actionHistory"]["messages"]
        assert said.count("the device is asked to stop") == 1
        await target.feed(action, "closed", "success")
        assert (await world.row(campaign)).status is RowStatus.SUCCEEDED


@virtual
async def test_a_device_that_vanishes_is_given_up(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule(days=7)
        await target.read(await target.offered())
        await asyncio.sleep(31 * HOUR)
        row = await world.row(campaign)
        assert (row.status, row.detail) == (RowStatus.FAILED, "no response")
        await asyncio.sleep(4 * HOUR)
        assert len(world.door.deployments) == 0


@virtual
async def test_what_the_device_has_not_seen_is_just_taken_back(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        await target.offered()
        await world.campaigns.abort(world.account.id, campaign.uuid)
        await asyncio.sleep(10)
        assert set(await target.poll()) == {"sleep"}


@virtual
async def test_a_device_that_never_answers_is_let_go(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        await target.read(await target.offered())
        await world.campaigns.abort(world.account.id, campaign.uuid)
        await asyncio.sleep(4 * HOUR)
        assert set(await target.poll()) == {"sleep"}
        assert len(world.door.deployments) == 0


@virtual
async def test_a_device_that_polls_and_does_nothing_is_tried_again(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        action = await target.offered()
        await target.feed(action, "proceeding")
        for _ in range(24):
            await asyncio.sleep(HOUR)
            assert (await world.row(campaign)).attempts == 1
            await target.poll()
        await asyncio.sleep(90)
        row = await world.row(campaign)
        assert (row.status, row.detail) == (RowStatus.PENDING, "connection lost")
        await asyncio.sleep(HOUR)
        assert await target.offered() != action


@virtual
async def test_a_package_that_is_gone_is_not_offered(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule(windows=[Window(1, 2)])
        await world.until(campaign, RowStatus.PENDING)
        await world.set_package(state="damaged")
        await asyncio.sleep(HOUR)
        for _ in range(3):
            await target.sleep(await target.poll())
        assert (await world.row(campaign)).status is RowStatus.REFUSED
        assert "deploymentBase" not in await target.poll()


@virtual
async def test_a_restart_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        action = await target.offered()
        await install(target, action)
    async with open_world(tmp_path, again=True) as world:
        target = Target(world.client)
        assert f"/deploymentBase/{action}?" in (await target.poll())["deploymentBase"]
        await asyncio.sleep(300)
        assert f"/deploymentBase/{action}?" in (await target.poll())["deploymentBase"]
        await target.feed(action, "closed", "success")
        row = await world.row(campaign)
        assert (row.status, row.attempts) == (RowStatus.SUCCEEDED, 1)


@virtual
async def test_an_end_that_the_engine_was_not_told_before_a_crash_is_told_after_it(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        campaign = await world.schedule()
        action = await target.offered()
        world.database._left, world.database.writes, world.database._committed = 0, 0, True
        lost = asyncio.create_task(target.feed(action, "closed", "success"))
        await asyncio.sleep(1)
        assert world.database.is_dead
        assert not lost.done()  # what is not on the disk is not answered
        lost.cancel()
    async with open_world(tmp_path, again=True) as world:
        await world.until(campaign, RowStatus.SUCCEEDED)
        assert (await world.shown())["firmware"] == NEW
        assert "deploymentBase" not in await Target(world.client).poll()


@virtual
async def test_what_was_said_of_an_action_can_be_read(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        await world.schedule()
        action = await target.offered()
        assert "actionHistory" not in await target.read(action)
        await target.feed(action, "proceeding", "none", "first", "second")
        history = (await target.ask("GET", f"/deploymentBase/{action}?c=1&actionHistory=2")).json()
        assert history["actionHistory"] == {"status": "RUNNING", "messages": ["second", "first"]}
        everything = (await target.ask("GET", f"/deploymentBase/{action}?actionHistory=-1")).json()
        assert everything["actionHistory"]["messages"][-1] == "read by the device"


@virtual
async def test_two_kinds_of_client_side_by_side(tmp_path: Path) -> None:
    """Nothing that one device does shows to another."""
    async with open_world(tmp_path) as world:
        one = await world.target()
        two = (await world.target("990012340000006", "f" * 32)).like(agent="")
        campaign = await world.schedule(IMEI, "990012340000006")
        first, second = await one.offered(), await two.offered()
        assert first != second
        assert (await two.ask("GET", f"/deploymentBase/{first}")).status_code == 404
        assert (await two.feed(first, "closed", "success")).status_code == 404
        assert (await two.ask("GET", f"/softwaremodules/{first}/artifacts/{FILENAME}")).status_code == 404
        assert (await world.row(campaign)).status is RowStatus.RUNNING
        assert one.agent == SWUPDATE
