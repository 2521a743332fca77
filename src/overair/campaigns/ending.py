"""How attempts end, and how campaigns let go of their devices: portions of work in one transaction each.

What a driver says of an attempt counts only while that very attempt runs: what comes late, of an attempt that
is over or has been followed by another, changes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from sqlalchemy import Connection

from overair.campaigns import checking, plan, rows, sql
from overair.campaigns.model import Campaign, CampaignStatus, Row, RowStatus
from overair.devices.changes import Upgraded
from overair.devices.group import apply_changes
from overair.licenses import store as licenses
from overair.platform.limits import Limits

PORTION = 500
NO_RESPONSE = "no response"


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver says of an attempt."""

    campaign_id: int
    imei: int
    attempt: int
    outcome: Literal["succeeded", "failed", "refused"]
    now_ms: int
    detail: str = ""
    retry_seconds: float | None = None
    """When another attempt may come after one that failed; None: never."""
    version: str | None = None
    """What the device says it has after a success; None where it does not say, and the target stands in."""


class Progress(msgspec.Struct, frozen=True):
    """What a driver wants to know of its attempt after a restart."""

    campaign_id: int
    imei: int
    attempt: int
    progress: bytes


def keep_progress(connection: Connection, items: Sequence[Progress]) -> list[None]:
    """Store what drivers want to know."""
    for item in items:
        rows.keep_progress(connection, item.campaign_id, item.imei, item.attempt, item.progress)
    return [None] * len(items)


def end_attempts(connection: Connection, items: Sequence[Ended]) -> list[bool]:
    """Take what drivers said; returns for each whether it counted. Of an attempt, what is said first does."""
    counted: set[int] = set()
    by_campaign: dict[int, dict[int, Ended]] = {}
    for index, item in enumerate(items):
        by_campaign.setdefault(item.campaign_id, {})[index] = item
    for campaign_id, of_it in by_campaign.items():
        counted |= _end(connection, sql.get(connection, campaign_id), of_it)
    return [index in counted for index in range(len(items))]


def close_portion(
    connection: Connection, campaign_id: int, after: int, limits: Limits, now_ms: int
) -> tuple[int | None, list[int]]:
    """Let go of some devices of a campaign that is over.

    Returns the device after which to go on, None at the end; and those whose attempts are to be stopped.
    """
    campaign = sql.get(connection, campaign_id)
    if not campaign.open_rows:
        return None, []
    only_running = _only_running(connection, campaign, limits)
    portion = only_running or rows.open_page(connection, campaign_id, after, PORTION)
    changed = {row.imei: plan.closed(row, campaign, limits, now_ms) for row in portion}
    # Not those that run and are as they were: until they end, they are looked at again and again.
    before = {row.imei: row for row in portion}
    rows.put(connection, [row for row in changed.values() if row is not None and row != before[row.imei]])
    stay = [row for row in portion if changed[row.imei] is None]
    rows.close(connection, stay)
    running = [row.imei for row in portion if row.status is RowStatus.RUNNING]
    aborted = running if campaign.status is CampaignStatus.ABORTED else []
    gone = [row.imei for row in portion if row.status is not RowStatus.RUNNING] + aborted
    if aborted:
        account = sql.account_of_campaign(connection, campaign)
        licenses.upgrade_failed(connection, account, aborted, campaign.uuid, now_ms)
    checking.released(connection, campaign_id, gone)
    more = not only_running and len(portion) == PORTION
    return (portion[-1].imei if more else None), running


def close_unchecked(connection: Connection, campaign_id: int, now_ms: int) -> bool:
    """Cancel rows that were never checked, of a campaign that is over; returns whether there were any."""
    unchecked = rows.of_status(connection, campaign_id, RowStatus.UNCHECKED, PORTION)
    rows.put(connection, [plan.cancelled(row, now_ms) for row in unchecked])
    return bool(unchecked)


def note_closed(connection: Connection, campaign_id: int, now_ms: int) -> bool:
    """Note that a campaign that is over has let go of all its devices, if it has."""
    campaign = sql.get(connection, campaign_id)
    if campaign.open_rows:
        return False
    sql.put(connection, campaign, closed_ms=now_ms)
    return True


def overdue(connection: Connection, campaigns: Sequence[Campaign], now_ms: int) -> list[Row]:
    """Return rows whose attempt should have been over by now."""
    found: list[Row] = []
    for campaign in campaigns:
        found += rows.due(connection, campaign.id, RowStatus.RUNNING, now_ms, PORTION)
    return found


def _only_running(connection: Connection, campaign: Campaign, limits: Limits) -> list[Row]:
    """Return the rows whose attempts run, where no others are open any more; else none.

    They are looked at until they end, and to find them among all rows would take long each time.
    """
    if campaign.status is not CampaignStatus.ENDED or campaign.open_rows > limits.attempts_at_once:
        return []
    running = rows.of_status(connection, campaign.id, RowStatus.RUNNING, campaign.open_rows)
    return running if len(running) == campaign.open_rows else []


def _end(connection: Connection, campaign: Campaign, said: Mapping[int, Ended]) -> set[int]:
    """Take what was said of attempts of one campaign, by its place in the group; returns what counted."""
    members = rows.members(connection, campaign.id, [item.imei for item in said.values()])
    valid: dict[int, Ended] = {}
    counted: set[int] = set()
    for index, item in said.items():
        if item.imei not in valid and _runs(members.get(item.imei), item):
            valid[item.imei] = item
            counted.add(index)
    if valid:
        _store(connection, campaign, members, valid)
    return counted


def _store(
    connection: Connection, campaign: Campaign, members: Mapping[int, Row], valid: Mapping[int, Ended]
) -> None:
    after = [_after(members[imei], campaign, item) for imei, item in valid.items()]
    rows.put(connection, after)
    ended = [row.imei for row in after if row.status in (RowStatus.SUCCEEDED, RowStatus.FAILED)]
    checking.released(connection, campaign.id, ended)
    _tell_records(connection, campaign, [item for item in valid.values() if item.outcome == "succeeded"])
    _tell_licences(connection, campaign, list(valid.values()))


def _runs(row: Row | None, item: Ended) -> bool:
    return row is not None and row.status is RowStatus.RUNNING and row.attempts == item.attempt


def _after(row: Row, campaign: Campaign, item: Ended) -> Row:
    if item.outcome == "succeeded":
        return plan.succeeded(row, item.now_ms)
    if item.outcome == "refused" and campaign.status is CampaignStatus.SCHEDULED:
        return plan.refused(row, item.now_ms)
    return plan.failed(row, campaign, item.detail, item.retry_seconds, item.now_ms)


def _tell_records(connection: Connection, campaign: Campaign, succeeded: Sequence[Ended]) -> None:
    changes = [
        Upgraded(
            campaign.account_id, item.imei, campaign.kind, campaign.package_name,
            item.version or campaign.version_to, item.version is not None, item.now_ms,
        )
        for item in succeeded
    ]  # fmt: skip
    if changes:
        apply_changes(connection, changes)


def _tell_licences(connection: Connection, campaign: Campaign, items: Sequence[Ended]) -> None:
    account = sql.account_of_campaign(connection, campaign)
    now_ms = items[0].now_ms
    succeeded = [item.imei for item in items if item.outcome == "succeeded"]
    failed = [item.imei for item in items if item.outcome != "succeeded"]
    if succeeded:
        licenses.upgrade_succeeded(connection, account, succeeded, campaign.uuid, now_ms)
    if failed:
        licenses.upgrade_failed(connection, account, failed, campaign.uuid, now_ms)
