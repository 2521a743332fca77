"""What must hold of every world when it has come to rest. Each check complains of what does not.

Sources: design, sections 2 and 6; spec lifecycle.md, sections 1, 3, 4 and 5; spec callbacks.md, section 2.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, select

from overair.callbacks.sql import messages
from overair.campaigns import rows as row_statements
from overair.campaigns import rules, sql
from overair.campaigns.model import Campaign, CampaignStatus, Row, RowStatus
from overair.campaigns.states import CAMPAIGN_OVER, ROW_FINAL
from overair.campaigns.tables import campaign_rows, campaigns
from overair.campaigns.texts import V3_STATUS
from overair.devices.model import Device
from overair.devices.sql import devices_of
from overair.devices.tables import devices as device_table
from overair.devices.tables import registrations
from overair.licenses.model import License, State
from overair.licenses.rules import RUNNING, bought, pays_events
from overair.licenses.sql import COLUMNS, billed_events, counters
from overair.simulator import Happening, What
from overair.simulator import State as DeviceState
from overair.simulator.misbehaviour import NONE

from ..virtual import START_MS
from .chronicle import Turn, clock_text, seconds_of
from .devices import Member

if TYPE_CHECKING:
    from .world import World

ON_ITS_WAY_SECONDS = 180.0
"""A request reaches its device that much later at most: it is repeated for 45 s, and may be late by 60 s."""
REST_MINUTES = 30
IN_TALK = (DeviceState.REGISTERING, DeviceState.UPDATING)
IDLE = frozenset({RowStatus.WAITING, RowStatus.REACHABLE, RowStatus.PENDING, RowStatus.REFUSED})
MAY_HIDE_SUCCESS = ("no response", "window or campaign ended after download")
"""Failures of an attempt that was given up while the device was away: it may come back updated."""
NOT_BY_THE_DEVICE = (
    rules.NO_LICENSE, rules.OTHER_VERSION, rules.NOT_FOUND, "window or campaign ended after download",
)  # fmt: skip
"""Failures that a device has no part in."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds at the end."""

    campaigns: dict[int, Campaign]
    rows: list[Row]
    open_rows: int
    devices: dict[int, Device]
    registered: set[int]
    licenses: dict[int, License]
    assigned: int
    bought: int
    billed: list[tuple[str, int]]
    pays_events: bool
    told: list[Any]


def stored(connection: Connection, account_id: int) -> Stored:
    """Read it."""
    numbers = set(connection.scalars(select(campaigns.c.id)))
    found = sql.campaigns_by_id(connection, numbers)
    rows = [row for number in found for row in row_statements.page(connection, number, -1, 100_000)]
    held = [_license(row) for row in connection.execute(select(*COLUMNS))]
    counted = counters(connection, account_id)
    imeis = list(connection.scalars(select(device_table.c.imei)))
    return Stored(
        campaigns=found,
        rows=rows,
        open_rows=len(
            connection.execute(select(campaign_rows.c.imei).where(campaign_rows.c.open == 1)).all()
        ),
        devices=devices_of(connection, account_id, imeis),
        registered=set(connection.scalars(select(registrations.c.imei))),
        licenses={one.imei: one for one in held},
        assigned=counted.assigned,
        bought=bought(counted.account),
        billed=[
            (row[0], row[1])
            for row in connection.execute(select(billed_events.c.campaign_id, billed_events.c.imei))
        ],
        pays_events=pays_events(counted.account),
        told=[
            msgspec.json.decode(body)
            for body in connection.scalars(select(messages.c.body).order_by(messages.c.id))
        ],
    )


def _license(row: Any) -> License:
    account_id, imei, assigned_ms, state, campaign_id, leaving, changed_ms = row
    return License(account_id, imei, assigned_ms, State(state), campaign_id, bool(leaving), changed_ms)


async def check(world: World) -> None:
    """Complain of everything that does not hold."""
    await _rest(world)
    found = await world.insist(lambda service: _read(world))
    for one in CHECKS:
        for complaint in one(world, found):
            world.chronicle.complain(f"{one.__name__}: {complaint}")


async def _rest(world: World) -> None:
    """Wait for a moment at which nobody is just being asked something."""
    for _ in range(REST_MINUTES):
        idle = all(member.device.state not in IN_TALK for member in world.devices)
        if idle and world.service.is_open and not any(size for _, size in _sizes(world.service)):
            return
        await asyncio.sleep(60)


async def _read(world: World) -> Stored:
    account_id = world.account.id
    return await world.service.database.read(lambda connection: stored(connection, account_id))


def _show(imei: int) -> str:
    return f"{imei:015d}"


# -- campaigns and rows ----------------------------------------------------------------------------


def all_is_over(_world: World, found: Stored) -> Iterator[str]:
    """Campaigns are over and closed, no row of them is open or running, and the counters say so."""
    for campaign in found.campaigns.values():
        if campaign.status not in CAMPAIGN_OVER or campaign.closed_ms is None:
            yield f"campaign {campaign.id} is {campaign.status}, closed {campaign.closed_ms}"
        if campaign.open_rows:
            yield f"campaign {campaign.id} counts {campaign.open_rows} open rows"
    if found.open_rows:
        yield f"{found.open_rows} rows are open"
    for row in found.rows:
        if row.status not in ROW_FINAL | IDLE:
            yield f"{_show(row.imei)} in campaign {row.campaign_id} is {row.status}"


def transitions_end_once(world: World, _found: Stored) -> Iterator[str]:
    """A row that came to an end stays as it is."""
    for imei, turns in world.chronicle.turns.items():
        ended: set[int] = set()
        for turn in turns:
            if turn.campaign_id in ended and turn.status is not RowStatus.WAITING:
                yield f"{_show(imei)} in campaign {turn.campaign_id} goes on after its end: {turn.status}"
            if turn.status in ROW_FINAL and turn.status is not RowStatus.REJECTED:
                ended.add(turn.campaign_id)


def what_was_stored_last_is_there(world: World, found: Stored) -> Iterator[str]:
    """Nothing that was committed is lost."""
    there = {(row.campaign_id, row.imei): row.status for row in found.rows}
    for imei, turns in world.chronicle.turns.items():
        last = {turn.campaign_id: turn.status for turn in turns}
        for campaign_id, status in last.items():
            if there.get((campaign_id, imei)) != status:
                now = there.get((campaign_id, imei))
                yield f"{_show(imei)} was {status} in campaign {campaign_id} and is {now}"


def success_is_the_devices(world: World, found: Stored) -> Iterator[str]:
    """A row succeeded only if its device has run the version; failed only if it does not by our doing."""
    for row in found.rows:
        campaign, member = found.campaigns[row.campaign_id], world.devices.members[row.imei]
        booted = [each for each in member.device.history if each.what is What.BOOTED]
        has_run = campaign.version_to in (member.first_firmware, *[each.detail for each in booted])
        if row.status is RowStatus.SUCCEEDED and not has_run:
            yield f"{_show(row.imei)} succeeded in campaign {campaign.id} and never ran {campaign.version_to}"
        runs = member.device.firmware == campaign.version_to
        ours = any(_is_of(world, row, each.at) for each in booted if each.detail == campaign.version_to)
        if row.status is RowStatus.FAILED and runs and ours and row.detail not in MAY_HIDE_SUCCESS:
            told = f"failed in campaign {campaign.id} ({row.detail})"
            yield f"{_show(row.imei)} {told} and runs {campaign.version_to}"


def who_behaves_succeeds(world: World, found: Stored) -> Iterator[str]:
    """In fine weather no attempt fails with a device that does nothing wrong and an image that is for it."""
    if world.plan.roughness:
        return
    fitting = {package.name for package in world.plan.packages if package.fits}
    for row in found.rows:
        member = world.devices.members[row.imei]
        expected = row.detail is None or row.detail in NOT_BY_THE_DEVICE
        fits = found.campaigns[row.campaign_id].package_name in fitting
        behaves = fits and member.device.misbehaviour is NONE
        if row.status is RowStatus.FAILED and behaves and not expected:
            yield f"{_show(row.imei)} behaves, and failed in campaign {row.campaign_id}: {row.detail}"


def _is_of(world: World, row: Row, at: float) -> bool:
    """Whether something happened after the first attempt of a row began."""
    begun = [
        each.at
        for each in world.chronicle.turns[row.imei]
        if each.campaign_id == row.campaign_id and each.status is RowStatus.RUNNING
    ]
    return bool(begun) and at >= begun[0]


# -- what devices felt -----------------------------------------------------------------------------


def none_is_flashed_twice(world: World, found: Stored) -> Iterator[str]:
    """No device writes an image whole twice for one campaign, or writes one that no campaign has for it."""
    attempted: dict[int, Counter[str]] = {}
    for row in found.rows:
        if row.attempts:
            attempted.setdefault(row.imei, Counter())[found.campaigns[row.campaign_id].version_to] += 1
    for member in world.devices:
        flashed = Counter(each.detail for each in member.device.history if each.what is What.FLASHED)
        for version, times in flashed.items():
            allowed = attempted.get(member.imei, Counter())[version]
            if times > allowed:
                yield f"{_show(member.imei)} flashed {version} {times} times, in {allowed} campaigns"


def told_to_install_in_time(world: World, found: Stored) -> Iterator[str]:
    """An Execute comes of an attempt that runs, in a window, before the campaign's end."""
    for member in world.devices:
        turns = world.chronicle.turns.get(member.imei, [])
        for each in member.device.history:
            if each.what is What.EXECUTE and (wrong := _wrong_time(turns, found, each)):
                yield f"{_show(member.imei)} was told to install at {clock_text(each.at)}: {wrong}"


def _wrong_time(turns: list[Turn], found: Stored, told: Happening) -> str | None:
    sent = (told.at - ON_ITS_WAY_SECONDS, told.at)
    running = _running_at(turns, *sent)
    if running is None:
        return "no attempt runs"
    campaign = found.campaigns[running]
    if sent[0] >= seconds_of(rules.end_ms(campaign)):
        return f"campaign {campaign.id} is over"
    if not any(rules.window_open(campaign.windows, START_MS + max(0, int(at * 1000))) for at in sent):
        return f"outside the windows of campaign {campaign.id}"
    return None


def _running_at(turns: list[Turn], first: float, last: float) -> int | None:
    """Return the campaign whose attempt ran at some moment of a span."""
    until: dict[int, float] = {}
    for turn in reversed(turns):
        lasted = until.get(turn.campaign_id, float("inf"))
        if turn.status is RowStatus.RUNNING and turn.at <= last and lasted >= first:
            return turn.campaign_id
        until[turn.campaign_id] = turn.at
    return None


def attempts_begin_in_time(world: World, found: Stored) -> Iterator[str]:
    """An attempt begins inside a window, after the start and before the end."""
    for imei, turns in world.chronicle.turns.items():
        known: dict[int, int] = {}
        for turn in turns:
            campaign = found.campaigns.get(turn.campaign_id)
            begins = turn.attempts > known.get(turn.campaign_id, 0)
            known[turn.campaign_id] = turn.attempts
            if not begins or campaign is None:
                continue
            at_ms = START_MS + int(turn.at * 1000)
            in_time = rules.start_ms(campaign) <= at_ms < rules.end_ms(campaign)
            if not in_time or not rules.window_open(campaign.windows, at_ms):
                yield f"{_show(imei)} in campaign {campaign.id}: an attempt began at {clock_text(turn.at)}"


# -- records ---------------------------------------------------------------------------------------


def records_agree(world: World, found: Stored) -> Iterator[str]:
    """Every device is registered, and its record has the firmware that it runs."""
    for member in world.devices:
        record = found.devices.get(member.imei)
        if record is None:
            continue
        if member.device.state is not DeviceState.REGISTERED:
            if not member.may_be_away:
                why = f"{member.device.state} ({member.device.refusal})"
                yield f"{_show(member.imei)} is {why} after days of quiet"
            continue
        if member.imei not in found.registered:
            yield f"{_show(member.imei)} believes to be registered, and is not"
        known = record.firmware.value if record.firmware else None
        if known != member.device.firmware:
            yield f"{_show(member.imei)} runs {member.device.firmware}, its record says {known}"
        if record.make is None or record.model is None:
            yield f"{_show(member.imei)} was never read: {record.make} {record.model}"


# -- licences --------------------------------------------------------------------------------------


def licenses_add_up(world: World, found: Stored) -> Iterator[str]:
    """No more are assigned than bought, none is busy, and those are used whose devices were upgraded."""
    if found.assigned > found.bought:
        yield f"{found.assigned} licences assigned, {found.bought} bought"
    for imei, held in found.licenses.items():
        if held.state in RUNNING or held.leaving:
            yield f"{_show(imei)}: licence {held.state}, leaving {held.leaving}"
        upgraded = any(at >= seconds_of(held.assigned_ms) for at, _ in _upgrades(world, imei))
        if upgraded is not (held.state is State.USED):
            yield f"{_show(imei)}: licence {held.state}, upgraded since its assignment: {upgraded}"
    flags = {imei for imei, device in found.devices.items() if device.licensed}
    if flags != set(found.licenses):
        yield f"records say {sorted(flags)} are licensed, the licences {sorted(found.licenses)}"


def upgrades_are_billed_once(world: World, found: Stored) -> Iterator[str]:
    """An upgrade is billed once, if the account pays for it and the device held no licence; others never."""
    upgraded = {
        (found.campaigns[number].uuid, imei)
        for imei in world.devices.members
        for _, number in _upgrades(world, imei)
        if number in found.campaigns
    }
    billed = set(found.billed)
    if billed - upgraded:
        yield f"billed and not upgraded: {sorted(billed - upgraded)}"
    if not found.pays_events and billed:
        yield f"billed without a subscription: {sorted(billed)}"
    if found.pays_events and not world.plan.subscriptions.startswith("mrc") and upgraded - billed:
        yield f"upgraded and not billed: {sorted(upgraded - billed)}"


def _upgrades(world: World, imei: int) -> Iterator[tuple[float, int]]:
    """Yield when a device was upgraded by an attempt, and the campaign."""
    running: set[int] = set()
    for turn in world.chronicle.turns.get(imei, ()):
        if turn.status is RowStatus.SUCCEEDED and turn.campaign_id in running:
            yield turn.at, turn.campaign_id
        (running.add if turn.status is RowStatus.RUNNING else running.discard)(turn.campaign_id)


# -- what owners were told -------------------------------------------------------------------------


def ends_are_told_once(_world: World, found: Stored) -> Iterator[str]:
    """Every end of a device is told once, and as it is."""
    told: Counter[tuple[str, str, str]] = Counter()
    for message in found.told:
        progress = message.get("upgradeProgress") or {}
        for device in progress.get("deviceList") or ():
            told[progress["campaignId"], device["deviceId"], device["status"]] += 1
    expected = {
        (found.campaigns[row.campaign_id].uuid, _show(row.imei), V3_STATUS[row.status])
        for row in found.rows
        if row.status in ROW_FINAL
    }
    for key in sorted(expected):
        if told[key] != 1:
            yield f"{key} told {told[key]} times"
    for key in sorted(set(told) - expected):
        yield f"{key} told, and is not so"


def what_was_answered_holds(world: World, found: Stored) -> Iterator[str]:
    """What an owner was told is done."""
    by_uuid = {campaign.uuid: campaign for campaign in found.campaigns.values()}
    for what, answer in world.answered.items():
        if what.startswith("cancelled"):
            if by_uuid[answer].status is not CampaignStatus.CANCELLED:
                yield f"{what}, and it is {by_uuid[answer].status}"
        elif what.startswith("prolonged"):
            if by_uuid[answer[0]].end_day != answer[1]:
                yield f"{what} to {answer[1]}, and it ends {by_uuid[answer[0]].end_day}"
        elif answer not in by_uuid:
            yield f"{what} was scheduled as {answer}, and is not there"


# -- memory ----------------------------------------------------------------------------------------


def nothing_is_left_in_memory(world: World, _found: Stored) -> Iterator[str]:
    """What was kept for updates, conversations and attempts is gone."""
    service = world.service
    for name, size in _sizes(service):
        if size:
            yield f"{name}: {size} left"


def _sizes(service: Any) -> Iterator[tuple[str, int]]:
    updates, engine, work = service.updates, service.engine, service.gateway.work
    yield "updates", len(updates)
    yield "tokens of updates", len(updates._tokens)
    yield "images in memory", len(updates._images)
    yield "attempts of the engine", engine.running
    yield "devices heard by the engine", len(engine._heard)
    yield "conversations", len(work._running)
    yield "records behind", len(service.gateway.settling)
    yield "waiting writes", service.database.backlog


CHECKS: tuple[Callable[[World, Stored], Iterator[str]], ...] = (
    all_is_over,
    transitions_end_once,
    what_was_stored_last_is_there,
    success_is_the_devices,
    who_behaves_succeeds,
    none_is_flashed_twice,
    told_to_install_in_time,
    attempts_begin_in_time,
    records_agree,
    licenses_add_up,
    upgrades_are_billed_once,
    ends_are_told_once,
    what_was_answered_holds,
    nothing_is_left_in_memory,
)

__all__ = ["CHECKS", "Member", "check"]
