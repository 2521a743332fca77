"""Requests of more devices than one transaction takes, and listings of more than one page."""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from overair.campaigns import checking, dispatching, rows, rules, service
from overair.campaigns.model import CampaignStatus, RowPage, RowStatus
from overair.platform.limits import Limits

from ..virtual import run
from .test_campaigns import played
from .world import FIRST_IMEI, TODAY, World, open_world

R = RowStatus
C = CampaignStatus


@pytest.fixture(autouse=True)
def small_portions() -> Iterator[None]:
    with mock.patch.object(service, "PORTION", 3), mock.patch.object(checking, "PORTION", 2):
        yield


@played
async def test_a_campaign_of_many_devices_is_stored_in_portions(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 8)
    await world.add_package(account)
    before = world.database.writes
    campaign = await world.schedule(account, [*reversed(imeis), *imeis, "x"], auto_assign=True)
    assert world.database.writes == before + 4  # three portions, and that they are all
    assert campaign.status is C.PENDING
    await world.until_status(campaign, C.ENDED)
    assert await world.statuses(campaign) == {R.SUCCEEDED: 8}


@played
async def test_a_request_that_is_cut_off_failed_and_holds_nothing(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 8)
    await world.add_package(account)
    add, calls = rows.add, []

    def add_once(*arguments: Any, **named: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("the disk is full")
        add(*arguments, **named)

    with mock.patch.object(rows, "add", add_once), pytest.raises(OSError, match="full"):
        await world.schedule(account, imeis, auto_assign=True)
    (failed,) = (await world.campaigns.by_status(account.id, "v3", C.REQUEST_FAILED, "")).campaigns
    again = await world.schedule(account, imeis, auto_assign=True)
    await world.until_status(again, C.ENDED)
    assert await world.statuses(again) == {R.SUCCEEDED: 8}
    assert await world.status(failed) is C.REQUEST_FAILED
    assert not [each for each in world.driver.begun if each.campaign_id == failed.id]


@played
async def test_many_devices_come_and_go_in_portions(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 6)
    await world.add_package(account)
    campaign = await world.schedule(account, [imeis[0], "stray"], auto_assign=True, start_day=TODAY + 1)
    await world.until_status(campaign, C.QUEUED)
    texts = [f"{imei:015d}" for imei in imeis]
    added = await world.campaigns.add_devices(account, campaign.uuid, [*texts[1:], texts[1], texts[0], "x"])
    assert [(each.device_id, each.reason) for each in added] == [
        *[(text, None) for text in texts[1:]], (texts[0], rules.BUSY), ("x", rules.BAD_IMEI),
    ]  # fmt: skip
    removed = await world.campaigns.remove_devices(
        account, campaign.uuid, [*texts[:5], "stray", "x", f"{FIRST_IMEI + 99}"]
    )
    assert [each.reason for each in removed] == [None] * 6 + [rules.BAD_IMEI, rules.NOT_FOUND]
    page = await world.campaigns.rows(account.id, campaign.uuid, -1)
    assert ([row.imei for row in page.rows], page.strays, page.total) == ([imeis[5]], [], 1)


def test_pages_of_a_listing_say_how_many_devices_there_are(tmp_path: Any) -> None:
    async def whole() -> None:
        async with open_world(tmp_path, limits=Limits(page_size=2)) as world:
            account = await world.account()
            imeis = await world.add_devices(account, 8)
            await world.add_package(account)
            said = {"auto_assign": True, "start_day": TODAY + 1}
            campaign = await world.schedule(account, imeis[:5], **said)
            await world.until_status(campaign, C.QUEUED)

            async def page(after: int) -> RowPage:
                return await world.campaigns.rows(account.id, campaign.uuid, after)

            assert [(await page(after)).total for after in (-1, imeis[1], imeis[3])] == [5, 5, 5]
            added = [f"{imei:015d}" for imei in imeis[5:]]
            await world.campaigns.add_devices(account, campaign.uuid, added)
            assert [(await page(after)).total for after in (-1, imeis[1], imeis[3])] == [8, 8, 8]
            await world.campaigns.remove_devices(account, campaign.uuid, added)
            assert (await page(imeis[3])).total == 5  # the last page
            with mock.patch.object(service, "TOTALS", 1):
                assert [(await page(after)).total for after in (imeis[1], -1)] == [5, 5]

    run(whole())


def test_no_more_rows_are_looked_at_than_there_is_room_for(tmp_path: Any) -> None:
    looked: list[int] = []

    async def whole() -> None:
        async with open_world(tmp_path, limits=Limits(attempts_at_once=2)) as world:
            account = await world.account()
            imeis = await world.add_devices(account, 30)
            await world.add_package(account)
            look = dispatching.look

            def counted(connection: Any, candidates: dispatching.Candidates, *rest: Any, **named: Any) -> Any:
                looked.append(len(candidates.all))
                return look(connection, candidates, *rest, **named)

            with mock.patch.object(dispatching, "look", counted), mock.patch.object(dispatching, "ASLEEP", 1):
                campaign = await world.schedule(account, imeis, auto_assign=True)
                await world.until_status(campaign, C.ENDED)
            assert await world.statuses(campaign) == {R.SUCCEEDED: 30}

    run(whole())
    assert sum(looked) < 30 * 3  # not each of them for each place that came free
