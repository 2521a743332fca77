"""Aborting a campaign that runs, with the real engine on virtual time (quirks.md Q17)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from overair.campaigns.model import AlreadyEnded, CampaignStatus, NotStarted, RowStatus, UnknownCampaign

from ..virtual import run
from .world import NEW, TODAY, World, open_world

C = CampaignStatus
R = RowStatus


def never(_attempts: Any) -> Any:
    return lambda _assignment: None


def played(folder: Path, test: Any) -> None:
    async def whole() -> None:
        async with open_world(folder, script=never) as world:
            await test(world)

    run(whole())


async def running_campaign(world: World) -> tuple[Any, Any, list[int]]:
    """Return an account, a campaign, and its devices: one is done, one is under way, one sleeps."""
    account = await world.account()
    imeis = await world.add_devices(account, 3)
    await world.add_package(account)
    world.driver.awake = lambda imei: imei != imeis[2]
    campaign = await world.schedule(account, imeis, auto_assign=True)
    await world.until(lambda: len(world.driver.begun) == 2)
    first = next(each for each in world.driver.begun if each.imei == imeis[0])
    await world.attempts.succeeded(first.campaign_id, first.imei, first.attempt, NEW)
    return account, campaign, imeis


def test_what_is_done_stays_and_the_rest_is_aborted(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        account, campaign, imeis = await running_campaign(world)
        await world.campaigns.abort(account.id, campaign.uuid)
        assert await world.status(campaign) is C.ABORTED
        await world.until(lambda: _closed(world, campaign))
        assert await world.statuses(campaign) == {R.SUCCEEDED: 1, R.ABORTED: 2}
        assert world.driver.stopped == [imeis[1]]
        under_way = next(each for each in world.driver.begun if each.imei == imeis[1])
        late = (under_way.campaign_id, under_way.imei, under_way.attempt)
        assert await world.attempts.succeeded(*late, NEW) is False
        assert await world.statuses(campaign) == {R.SUCCEEDED: 1, R.ABORTED: 2}
        assert world.engine.running == 0
        # Its devices are free for the next one.
        again = await world.schedule(account, imeis[1:], auto_assign=True)
        await world.until_status(again, C.SCHEDULED)

    played(tmp_path, test)


def test_no_attempt_begins_after_it(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        account, campaign, imeis = await running_campaign(world)
        await world.campaigns.abort(account.id, campaign.uuid)
        world.driver.awake = lambda _imei: True
        await world.hear(imeis)
        await asyncio.sleep(86_400)
        assert len(world.driver.begun) == 2

    played(tmp_path, test)


def test_when_it_cannot_be_aborted(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        account, campaign, imeis = await running_campaign(world)
        with pytest.raises(UnknownCampaign):
            await world.campaigns.abort(account.id + 1, campaign.uuid)
        assert await world.status(campaign) is C.SCHEDULED
        await world.campaigns.abort(account.id, campaign.uuid)
        with pytest.raises(AlreadyEnded):
            await world.campaigns.abort(account.id, campaign.uuid)
        await world.until(lambda: _closed(world, campaign))
        later = await world.schedule(account, imeis[1:], auto_assign=True, start_day=TODAY + 3)
        await world.until_status(later, C.QUEUED)
        with pytest.raises(NotStarted, match="CampaignRequestQueued"):
            await world.campaigns.abort(account.id, later.uuid)

    played(tmp_path, test)


async def _closed(world: World, campaign: Any) -> bool:
    after = await world.campaigns.campaign(campaign.account_id, campaign.uuid)
    return after.closed_ms is not None
