"""Campaigns from request to end, with the real engine on virtual time and SQLite (spec lifecycle.md)."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from overair.campaigns import rules
from overair.campaigns.model import (
    AlreadyEnded,
    AlreadyStarted,
    Assignment,
    CampaignStatus,
    DateRefused,
    NotEnoughLicenses,
    RowStatus,
    UnknownCampaign,
    UnknownPackage,
    Window,
)
from overair.platform.clock import DAY_MS
from overair.platform.limits import Limits

from ..virtual import START_MS, run
from .world import FIRST_IMEI, NEW, TODAY, World, open_world, succeed

R = RowStatus
C = CampaignStatus


def played(test: Any) -> Any:
    """Run a test of ``(world)`` on virtual time."""

    def on_virtual_time(tmp_path: Path) -> None:
        async def whole() -> None:
            async with open_world(tmp_path) as world:
                await test(world)

        run(whole())

    on_virtual_time.__name__ = test.__name__
    on_virtual_time.__doc__ = test.__doc__
    return on_virtual_time


async def rows_of(world: World, campaign: Any) -> dict[int, Any]:
    page = await world.campaigns.rows(campaign.account_id, campaign.uuid, -1)
    return {row.imei: row for row in page.rows}


@played
async def test_all_devices_are_upgraded_once_and_the_campaign_ends(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 5)
    await world.add_package(account)
    campaign = await world.schedule(account, imeis, auto_assign=True)
    assert campaign.status is C.PENDING
    await world.until_status(campaign, C.ENDED)
    assert await world.statuses(campaign) == {R.SUCCEEDED: 5}
    assert sorted(each.imei for each in world.driver.begun) == imeis
    record = json.loads(await world.devices.show(account.id, f"{imeis[0]:015d}"))
    assert record["firmware"] == NEW
    assert record["licenseAssigned"] is True
    assert "statusTime" in record
    (history,) = await world.campaigns.history(account.id, imeis[0], "v3")
    assert history.row.status is R.SUCCEEDED
    after = await world.campaigns.campaign(account.id, campaign.uuid)
    assert (after.open_rows, after.closed_ms is not None) == (0, True)


@played
async def test_a_campaign_waits_for_its_first_day(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 2)
    await world.add_package(account)
    campaign = await world.schedule(account, imeis, auto_assign=True, start_day=TODAY + 2)
    await world.until_status(campaign, C.QUEUED)
    await asyncio.sleep(86_400)
    assert not world.driver.begun
    await world.hear(imeis)
    await asyncio.sleep(86_400)
    await world.hear(imeis)
    await world.until_status(campaign, C.ENDED)
    assert all(each.end_ms == (TODAY + 7) * DAY_MS for each in world.driver.begun)
    assert world.clock.now_ms() >= START_MS + 2 * DAY_MS


@played
async def test_every_reason_for_a_rejection_in_its_order(world: World) -> None:
    account = await world.account(licenses=2)
    await world.add_package(account)
    good = await world.add_devices(account, 1)
    base = FIRST_IMEI + 100
    not_capable = await world.add_devices(account, 1, first=base, firmware_capable=False, firmware="9.9")
    busy = await world.add_devices(account, 1, first=base + 10)
    other_version = await world.add_devices(account, 1, first=base + 20, firmware="0.9", model="T9")
    other_model = await world.add_devices(account, 1, first=base + 30, model="T9")
    inactive = await world.add_devices(account, 1, first=base + 40)
    await world.devices.add(account.id, [_provisioned(inactive[0], "Suspended")])
    unlicensed = await world.add_devices(account, 1, first=base + 50)
    foreign_account = await world.account()
    foreign = await world.add_devices(foreign_account, 1, first=base + 60)
    earlier = await world.schedule(account, busy, start_day=TODAY + 3, auto_assign=True)
    await world.until_status(earlier, C.QUEUED)
    everyone: list[int | str] = [
        *good, *not_capable, *busy, *other_version, *other_model, *inactive, *unlicensed, *foreign, "12345",
    ]  # fmt: skip
    campaign = await world.schedule(account, everyone, auto_assign=True, start_day=TODAY + 1)
    await world.until_status(campaign, C.QUEUED)
    page = await world.campaigns.rows(account.id, campaign.uuid, -1)
    details = {row.imei: (row.status, row.detail) for row in page.rows}
    assert details == {
        good[0]: (R.WAITING, None),
        not_capable[0]: (R.REJECTED, rules.NOT_CAPABLE),
        busy[0]: (R.REJECTED, rules.BUSY),
        other_version[0]: (R.REJECTED, rules.OTHER_VERSION),
        other_model[0]: (R.REJECTED, rules.OTHER_MODEL),
        inactive[0]: (R.REJECTED, rules.NOT_ACTIVE),
        unlicensed[0]: (R.REJECTED, rules.NO_LICENSE),
        foreign[0]: (R.REJECTED, rules.NOT_FOUND),
    }
    assert (page.strays, page.total, page.more) == (["12345"], 9, False)


def _provisioned(imei: int, status: str) -> Any:
    from overair.devices.model import Provisioning

    return Provisioning(imei, status=status)


@played
async def test_a_campaign_of_which_no_device_can_be_taken_fails(world: World) -> None:
    account = await world.account()
    await world.add_package(account)
    campaign = await world.schedule(account, [FIRST_IMEI])
    await world.until_status(campaign, C.REQUEST_FAILED)
    assert await world.statuses(campaign) == {R.REJECTED: 1}
    assert await world.campaigns.history(account.id, FIRST_IMEI, "v3") == []


@played
async def test_what_a_request_cannot_ask_for(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 1)
    await world.add_package(account)
    for wrong, field in (
        ({"start_day": TODAY - 1}, "start"),
        ({"end_day": TODAY - 1}, "end"),
        ({"windows": (Window(8, 8),)}, "windows"),
        ({"windows": (Window(8, 25),)}, "windows"),
        ({"windows": (Window(0, 1),) * 49}, "windows"),
    ):
        with pytest.raises(DateRefused) as refused:
            await world.schedule(account, imeis, **wrong)
        assert refused.value.field == field
    for wrong in ({"package_name": "x"}, {"version_from": "0.1"}, {"version_to": "3"}):
        with pytest.raises(UnknownPackage):
            await world.schedule(account, imeis, **wrong)
    neither = await world.account(subscriptions="")
    with pytest.raises(NotEnoughLicenses):
        await world.schedule(neither, imeis)
    with pytest.raises(UnknownCampaign):
        await world.campaigns.campaign(account.id, "00000000-0000-0000-0000-000000000000")


@played
async def test_attempts_begin_in_windows_only(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 3)
    await world.add_package(account)
    campaign = await world.schedule(account, imeis, auto_assign=True, windows=(Window(5, 6), Window(20, 24)))
    await world.until_status(campaign, C.SCHEDULED)
    await asyncio.sleep(60)
    row = next(iter((await rows_of(world, campaign)).values()))
    assert (row.status, row.next_ms) == (R.PENDING, START_MS + 5 * rules.HOUR_MS)
    await world.until_status(campaign, C.ENDED)
    assert [
        (each.recent_ms or 0) % DAY_MS // rules.HOUR_MS for each in (await rows_of(world, campaign)).values()
    ] == [5] * 3


@played
async def test_a_device_that_sleeps_is_upgraded_when_it_is_heard(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 1, heard=False)
    await world.add_package(account)
    campaign = await world.schedule(account, imeis, auto_assign=True)
    await world.until_status(campaign, C.SCHEDULED)
    await asyncio.sleep(3 * 86_400)
    (row,) = (await rows_of(world, campaign)).values()
    assert row.status is R.WAITING
    assert row.tries == 19
    asleep = True
    world.driver.awake = lambda _imei: not asleep
    await world.hear(imeis)
    await asyncio.sleep(60)
    (row,) = (await rows_of(world, campaign)).values()
    assert row.status is R.PENDING
    asleep = False
    await world.hear(imeis)
    await world.until_status(campaign, C.ENDED)
    assert await world.statuses(campaign) == {R.SUCCEEDED: 1}


@played
async def test_devices_that_never_come_keep_their_rows_when_the_campaign_is_over(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 2, heard=False)
    await world.add_package(account)
    campaign = await world.schedule(account, imeis, auto_assign=True, end_day=TODAY + 30)
    await world.until_status(campaign, C.ENDED)
    (row, _) = (await rows_of(world, campaign)).values()
    assert (row.status, row.tries, row.next_ms) == (R.WAITING, 42, None)
    again = await world.schedule(account, imeis, start_day=TODAY + 31, end_day=TODAY + 32)
    await world.until_status(again, C.SCHEDULED)
    assert await world.statuses(again) == {R.WAITING: 2}


def test_an_attempt_that_fails_is_repeated_as_long_as_that_makes_sense(tmp_path: Path) -> None:
    def script(attempts: Any) -> Any:
        async def play(assignment: Assignment) -> None:
            key = (assignment.campaign_id, assignment.imei, assignment.attempt)
            if assignment.attempt == 3:
                await attempts.failed(*key, "integrity check failed", None)
            else:
                await attempts.failed(*key, "connection lost", 7200.0)

        return play

    async def whole() -> None:
        async with open_world(tmp_path, script=script) as world:
            account = await world.account()
            imeis = await world.add_devices(account, 1)
            await world.add_package(account)
            campaign = await world.schedule(account, imeis, auto_assign=True)
            await world.until(lambda: len(world.driver.begun) == 1)
            await asyncio.sleep(1)
            (row,) = (await rows_of(world, campaign)).values()
            assert row.status is R.PENDING
            assert row.next_ms is not None
            assert row.recent_ms is not None
            assert row.next_ms - row.recent_ms >= 7_200_000
            await world.hear(imeis)  # it is awake, but its time has not come
            await asyncio.sleep(600)
            assert len(world.driver.begun) == 1
            await world.until_status(campaign, C.ENDED)
            (row,) = (await rows_of(world, campaign)).values()
            assert (row.status, row.detail, row.attempts) == (R.FAILED, "integrity check failed", 3)

    run(whole())


def test_an_attempt_of_which_nothing_is_heard_ends_by_its_deadline(tmp_path: Path) -> None:
    async def whole() -> None:
        async with open_world(tmp_path, script=lambda _attempts: lambda _assignment: None) as world:
            account = await world.account()
            imeis = await world.add_devices(account, 1)
            await world.add_package(account)
            campaign = await world.schedule(account, imeis, auto_assign=True)
            await world.until_status(campaign, C.ENDED)
            (row,) = (await rows_of(world, campaign)).values()
            assert (row.status, row.detail) == (R.FAILED, "no response")
            assert world.driver.stopped == imeis
            assert world.clock.now_ms() < START_MS + 32 * rules.HOUR_MS

    run(whole())


@played
async def test_what_comes_late_of_an_attempt_changes_nothing(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 1)
    await world.add_package(account)
    campaign = await world.schedule(account, imeis, auto_assign=True)
    await world.until_status(campaign, C.ENDED)
    begun = world.driver.begun[0]
    counted = await world.attempts.failed(begun.campaign_id, begun.imei, begun.attempt, "late", None)
    assert counted is False
    assert await world.statuses(campaign) == {R.SUCCEEDED: 1}


@played
async def test_cancelled_before_the_start(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 2)
    await world.add_package(account)
    campaign = await world.schedule(account, imeis, auto_assign=True, start_day=TODAY + 1)
    await world.until_status(campaign, C.QUEUED)
    await world.campaigns.cancel(account.id, campaign.uuid)
    assert await world.status(campaign) is C.CANCELLED
    await asyncio.sleep(60)
    assert await world.statuses(campaign) == {R.CANCELLED: 2}
    with pytest.raises(AlreadyEnded):
        await world.campaigns.cancel(account.id, campaign.uuid)
    with pytest.raises(AlreadyEnded):
        await world.campaigns.change_dates(account.id, campaign.uuid, TODAY + 1, TODAY + 2, ())
    again = await world.schedule(account, imeis)
    await world.until_status(again, C.ENDED)
    assert await world.statuses(again) == {R.SUCCEEDED: 2}


@played
async def test_a_campaign_that_runs_cannot_be_cancelled_and_changes_its_end_only(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 1, heard=False)
    await world.add_package(account)
    campaign = await world.schedule(account, imeis, auto_assign=True, end_day=TODAY + 2)
    await world.until_status(campaign, C.SCHEDULED)
    with pytest.raises(AlreadyStarted):
        await world.campaigns.cancel(account.id, campaign.uuid)
    with pytest.raises(AlreadyStarted):
        await world.campaigns.add_devices(account, campaign.uuid, [f"{FIRST_IMEI + 9}"])
    for start, end, windows in (
        (TODAY + 1, TODAY + 5, ()),
        (TODAY, TODAY, ()),
        (TODAY, TODAY + 5, (Window(0, 1),)),
    ):
        with pytest.raises(DateRefused):
            await world.campaigns.change_dates(account.id, campaign.uuid, start, end, windows)
    changed = await world.campaigns.change_dates(account.id, campaign.uuid, TODAY, TODAY + 5, ())
    assert changed.end_day == TODAY + 5
    await world.until_status(campaign, C.ENDED)
    assert world.clock.now_ms() >= START_MS + 6 * DAY_MS


@played
async def test_devices_come_and_go_before_the_start(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 3)
    await world.add_package(account)
    campaign = await world.schedule(account, imeis[:1], auto_assign=True, start_day=TODAY + 1)
    await world.until_status(campaign, C.QUEUED)
    texts = [f"{imei:015d}" for imei in imeis]
    added = await world.campaigns.add_devices(account, campaign.uuid, [texts[1], texts[2], texts[0], "x"])
    assert [each.reason for each in added] == [None, None, rules.BUSY, rules.BAD_IMEI]
    removed = await world.campaigns.remove_devices(account, campaign.uuid, [texts[2], "990012349999999"])
    assert [each.reason for each in removed] == [None, rules.NOT_FOUND]
    assert await world.statuses(campaign) == {R.WAITING: 2}
    assert (await world.campaigns.campaign(account.id, campaign.uuid)).open_rows == 2
    other = await world.schedule(account, imeis[2:], auto_assign=True, start_day=TODAY + 1)
    await world.until_status(other, C.QUEUED)


@played
async def test_devices_that_come_by_themselves(world: World) -> None:
    account = await world.account(licenses=7)
    first = await world.add_devices(account, 2)
    await world.add_package(account)
    await world.add_devices(account, 1, first=FIRST_IMEI + 50, firmware="7.0")
    campaign = await world.schedule(account, first, auto_assign=True, auto_add=True, end_day=TODAY + 3)
    await world.until_status(campaign, C.SCHEDULED)
    await world.add_devices(account, 4, first=FIRST_IMEI + 100)
    await world.add_devices(account, 4, first=FIRST_IMEI + 200)
    await world.until_status(campaign, C.ENDED)
    assert await world.statuses(campaign) == {R.SUCCEEDED: 7}  # as many as there are licences
    assert world.clock.now_ms() >= START_MS + 4 * DAY_MS


@played
async def test_a_package_that_disappears(world: World) -> None:
    account = await world.account()
    imeis = await world.add_devices(account, 1)
    await world.add_package(account)
    before = await world.schedule(account, imeis, auto_assign=True, start_day=TODAY + 1)
    await world.until_status(before, C.QUEUED)
    await world.set_package(state="withdrawn")
    await world.until_status(before, C.FAILED)
    with pytest.raises(UnknownPackage):
        await world.schedule(account, imeis)
    await world.set_package(state="ready")
    world.driver.awake = lambda _imei: False
    running = await world.schedule(account, imeis, end_day=TODAY + 3)
    await world.until_status(running, C.SCHEDULED)
    await world.set_package(state="damaged")
    await world.hear(imeis)
    await asyncio.sleep(10)
    (row,) = (await rows_of(world, running)).values()
    assert row.status is R.REFUSED
    await world.set_package(state="ready")
    world.driver.awake = lambda _imei: True
    await world.until_status(running, C.ENDED)
    assert await world.statuses(running) == {R.SUCCEEDED: 1}


@played
async def test_a_suspended_account_begins_no_attempts(world: World) -> None:
    from sqlalchemy import update

    from overair.accounts.sql import accounts

    account = await world.account()
    imeis = await world.add_devices(account, 1)
    await world.add_package(account)
    world.driver.awake = lambda _imei: False
    campaign = await world.schedule(account, imeis, auto_assign=True, end_day=TODAY + 2)
    await world.until_status(campaign, C.SCHEDULED)
    await world.database.write(lambda connection: connection.execute(update(accounts).values(active=False)))
    world.driver.awake = lambda _imei: True
    await world.hear(imeis)
    await world.until_status(campaign, C.ENDED)
    assert not world.driver.begun
    assert await world.statuses(campaign) == {R.PENDING: 1}


@played
async def test_a_device_that_became_another_is_left_alone(world: World) -> None:
    from overair.devices.model import Report

    account = await world.account()
    one, two, three = await world.add_devices(account, 3)
    await world.add_package(account)
    world.driver.awake = lambda _imei: False
    campaign = await world.schedule(account, [one, two, three], auto_assign=True)
    await world.until_status(campaign, C.SCHEDULED)
    await world.devices.report(one, Report("LWM2M", firmware=NEW))
    await world.devices.report(two, Report("LWM2M", firmware="0.5"))
    world.driver.awake = lambda _imei: True
    await world.hear([one, two, three])
    await world.until_status(campaign, C.ENDED)
    found = {imei: (row.status, row.detail) for imei, row in (await rows_of(world, campaign)).items()}
    assert found == {
        one: (R.SUCCEEDED, None),
        two: (R.FAILED, rules.OTHER_VERSION),
        three: (R.SUCCEEDED, None),
    }
    assert [each.imei for each in world.driver.begun] == [three]


def test_no_more_attempts_at_once_than_the_limit_says(tmp_path: Path) -> None:
    at_once: list[int] = []

    async def whole() -> None:
        async with open_world(tmp_path, limits=Limits(attempts_at_once=3)) as world:
            play = succeed(world.attempts)

            def counted(assignment: Assignment) -> Any:
                at_once.append(world.engine.running)
                return play(assignment)

            world.driver.script = counted
            account = await world.account()
            imeis = await world.add_devices(account, 20)
            await world.add_package(account)
            campaign = await world.schedule(account, imeis, auto_assign=True)
            await world.until_status(campaign, C.ENDED)
            assert await world.statuses(campaign) == {R.SUCCEEDED: 20}

    run(whole())
    assert max(at_once) == 3


def test_a_restart_goes_on_with_the_attempts_that_ran(tmp_path: Path) -> None:
    def never(_attempts: Any) -> Any:
        return lambda _assignment: None

    async def before() -> None:
        async with open_world(tmp_path, script=never) as world:
            account = await world.account()
            imeis = await world.add_devices(account, 4)
            await world.add_package(account)
            await world.schedule(account, imeis, auto_assign=True)
            await world.until(lambda: len(world.driver.begun) == 4)
            begun = world.driver.begun[0]
            await world.attempts.keep(begun.campaign_id, begun.imei, begun.attempt, b"half-way")

    async def after() -> None:
        async with open_world(tmp_path) as world:
            await world.until(lambda: len(world.driver.begun) == 4)
            assert {each.attempt for each in world.driver.begun} == {1}
            assert [each.progress for each in world.driver.begun].count(b"half-way") == 1
            await world.until(lambda: world.engine.running == 0)

    run(before())
    run(after())
