"""Portions of the engine's work that meet what happened meanwhile (spec lifecycle.md, sections 3 and 5.2)."""

from collections.abc import Iterator

import pytest

from overair.campaigns import rows, rules
from overair.campaigns.model import Campaign, CampaignStatus, RowStatus
from overair.platform.clock import DAY_MS

from .portions import TODAY, Portions, ended

R = RowStatus


@pytest.fixture
def world() -> Iterator[Portions]:
    made = Portions(licenses=10, subscriptions="mrc", portion=3)
    yield made
    made.close()


def queued(world: Portions, imeis: list[int]) -> Campaign:
    campaign = world.schedule(imeis, auto_assign=True, start_day=TODAY + 1)
    world.start(campaign.id)
    assert world.campaign(campaign.id).status is CampaignStatus.QUEUED
    return campaign


def running(world: Portions, imeis: list[int]) -> Campaign:
    world.hear(imeis)
    campaign = world.schedule(imeis, auto_assign=True)
    world.start(campaign.id)
    assert world.campaign(campaign.id).status is CampaignStatus.SCHEDULED
    return campaign


def statuses(world: Portions, campaign: Campaign) -> list[RowStatus]:
    return [row.status for row in world.rows(campaign.id).values()]


def test_a_campaign_that_is_cancelled_while_it_is_checked_is_checked_no_further(world: Portions) -> None:
    campaign = world.schedule(world.add_devices(8), auto_assign=True)
    assert world.check(campaign.id) == 3
    world.cancel(campaign.id)
    assert world.check(campaign.id) == 0
    assert len(world.held()) == 3  # no licences for a campaign that is over
    assert world.close_some(campaign.id)
    assert statuses(world, campaign) == [R.CANCELLED] * 8
    assert world.campaigning() == set()


def test_nothing_is_added_to_a_campaign_that_is_over(world: Portions) -> None:
    campaign = world.schedule([], auto_add=True, auto_assign=True)
    world.add_devices(4)
    world.cancel(campaign.id)
    assert world.auto_add(campaign.id) is False
    assert world.rows(campaign.id) == {}


def test_a_device_that_lost_its_licence_is_let_go_once(world: Portions) -> None:
    first, second = world.add_devices(2)
    campaign = queued(world, [first, second])
    world.remove_licences([first])
    assert statuses(world, campaign) == [R.CANCELLED, R.WAITING]
    other = queued(world, [first])
    world.remove_members(campaign.id, [first])
    assert world.campaign(campaign.id).open_rows == 1
    assert world.campaign(other.id).open_rows == 1
    assert world.campaigning() == {first, second}  # the first is in the other campaign


def test_of_what_is_said_of_one_attempt_the_first_counts(world: Portions) -> None:
    imeis = world.add_devices(2)
    campaign = running(world, imeis)
    one, two = world.look(imeis, places=2)
    now_ms = world.now_ms
    counted = world.end(
        ended(one, "succeeded", now_ms),
        ended(one, "failed", now_ms, detail="no response"),
        ended(two, "failed", now_ms, detail="no response"),
        ended(two, "succeeded", now_ms),
    )
    assert counted == [True, False, True, False]
    assert statuses(world, campaign) == [R.SUCCEEDED, R.FAILED]
    assert [each.state for each in world.held().values()] == ["used", "licensed"]


def test_a_device_that_is_heard_while_there_is_no_place_is_next_when_there_is_one(world: Portions) -> None:
    imeis = world.add_devices(2)
    campaign = running(world, imeis)
    assert world.look([imeis[0]], places=1)[0].imei == imeis[0]
    waiting = world.rows(campaign.id)[imeis[1]]
    assert (waiting.status, waiting.next_ms) == (R.PENDING, world.now_ms + rules.SLOT_MS)  # it slept
    world.now_ms += 60_000
    world.hear(imeis)
    assert world.look(imeis, places=0, heard=[imeis[1]]) == []
    assert [each.imei for each in world.look(imeis, places=1)] == [imeis[1]]


def test_without_a_place_only_devices_that_wait_to_be_heard_are_looked_at(world: Portions) -> None:
    imeis = world.add_devices(3)
    campaign = running(world, imeis)
    assert world.look(imeis, places=0) == []
    assert statuses(world, campaign) == [R.REACHABLE] * 3
    before = world.rows(campaign.id)
    assert world.look(imeis, places=0) == []
    assert world.rows(campaign.id) == before
    assert len(world.look(imeis, places=2)) == 2


def test_rejected_devices_are_told_too(world: Portions) -> None:
    good, other = world.add_devices(1), world.add_devices(1, firmware="9.9")
    campaign = queued(world, [*good, *other])
    assert world.flags("news") == {(campaign.id, other[0])}
    assert world.tell(campaign.id) is False
    assert world.flags("news") == set()


def test_attempts_of_a_campaign_that_is_over_are_left_alone_until_they_end(world: Portions) -> None:
    imeis = world.add_devices(2)
    campaign = running(world, imeis)
    (one,) = world.look(imeis, places=1)
    world.now_ms = rules.end_ms(campaign)
    assert world.move(campaign.id)
    assert world.close_some(campaign.id) is False
    assert world.flags("open") == {(campaign.id, one.imei)}
    after = world.rows(campaign.id)
    world.now_ms += 1000
    assert world.close_some(campaign.id) is False
    assert world.rows(campaign.id) == after
    assert world.end(ended(one, "succeeded", world.now_ms)) == [True]
    assert world.close_some(campaign.id) is True


def test_every_moment_of_the_last_day_and_no_later_one(world: Portions) -> None:
    imeis = world.add_devices(2)
    campaign = running(world, imeis)
    world.now_ms = rules.end_ms(campaign) - 1
    world.hear(imeis)
    assert len(world.look(imeis, places=1)) == 1
    world.now_ms += 1
    assert world.look(imeis, places=1) == []


def test_devices_come_by_themselves_in_portions_and_once_a_day(world: Portions) -> None:
    world.add_devices(7)
    campaign = world.schedule([], auto_add=True, auto_assign=True)
    assert [world.auto_add(campaign.id) for _ in range(3)] == [True, True, False]
    assert statuses(world, campaign) == [R.WAITING] * 7
    after = world.campaign(campaign.id)
    assert (after.open_rows, after.auto_add_after, after.auto_add_ms) == (7, -1, world.now_ms + DAY_MS)
    assert len(world.held()) == 7


def test_a_page_says_how_many_devices_there_are_whatever_became_of_them(world: Portions) -> None:
    imeis = world.add_devices(4)
    campaign = queued(world, imeis[:3])
    world.remove_members(campaign.id, imeis[:1])
    world.add_members(campaign.id, imeis[3:])
    assert rows.count(world.connection, campaign.id) == 3
    assert rows.counts(world.connection, campaign.id) == {R.WAITING: 3}
