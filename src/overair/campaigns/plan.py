"""What is due: pure decisions on a campaign, and on one of its rows, from what is known now.

Nothing here reads or writes. Whoever carries a plan out (:mod:`overair.campaigns.checking`,
:mod:`~overair.campaigns.dispatching`, :mod:`~overair.campaigns.ending`) does so in one transaction with what
it was made from.
"""

import msgspec

from overair.campaigns import rules
from overair.campaigns.model import Campaign, CampaignStatus, Row, RowStatus
from overair.campaigns.states import CAMPAIGN_OVER, CampaignEvent, RowEvent, next_row_status
from overair.platform.clock import DAY_MS
from overair.platform.limits import Limits

DETAIL_CHARACTERS = 255


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a device when its row is looked at."""

    heard_ms: int | None
    ready: bool = False
    """Whether its driver could begin right now."""
    mismatch: str | None = None
    """Why it is no more what the campaign is for."""
    current: bool = False
    """Whether it has already what it is to get."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a whole campaign at the moment."""

    active: bool = True
    """Whether the account is."""
    package: bool = True
    """Whether the package can be had."""


def campaign_event(campaign: Campaign, conditions: Conditions, now_ms: int) -> CampaignEvent | None:
    """Return what is to happen to a campaign whose devices have been checked; None: nothing yet."""
    if campaign.status is CampaignStatus.PENDING:
        return _verified(campaign, conditions, now_ms)
    if campaign.status in CAMPAIGN_OVER:
        return None
    if now_ms >= rules.end_ms(campaign):
        return CampaignEvent.END
    if campaign.status is CampaignStatus.SCHEDULED:
        return None if campaign.open_rows or campaign.auto_add else CampaignEvent.END
    return _before_start(campaign, conditions, now_ms)


def _before_start(campaign: Campaign, conditions: Conditions, now_ms: int) -> CampaignEvent | None:
    if not conditions.package:
        return CampaignEvent.BREAK
    if now_ms < rules.start_ms(campaign):
        return None
    return CampaignEvent.LOOK if campaign.status is CampaignStatus.QUEUED else CampaignEvent.START


def _verified(campaign: Campaign, conditions: Conditions, now_ms: int) -> CampaignEvent:
    has_devices = campaign.open_rows > 0 or campaign.auto_add
    possible = conditions.active and conditions.package and now_ms < rules.end_ms(campaign)
    return CampaignEvent.ACCEPT if has_devices and possible else CampaignEvent.REJECT


def row_after(
    row: Row, campaign: Campaign, known: Known, conditions: Conditions, limits: Limits, now_ms: int
) -> Row:
    """Return an idle row of a campaign that runs, after it was looked at; RUNNING: an attempt is to begin."""
    if known.heard_ms is None or now_ms - known.heard_ms >= limits.reachable_hours * rules.HOUR_MS:
        return _missed(row, limits, now_ms)
    if known.current:
        return _ended(row, RowEvent.SUCCEED, None, now_ms)
    if known.mismatch is not None:
        return _ended(row, RowEvent.FAIL, known.mismatch, now_ms)
    if not conditions.package:
        return _changed(row, RowEvent.REFUSE, now_ms, next_ms=now_ms + rules.SLOT_MS)
    wait_until_ms = _wait_until(row, campaign, known, conditions, now_ms)
    if wait_until_ms is None:
        return begun(row, limits, now_ms)
    return _postponed(row, now_ms, wait_until_ms)


def without_place(row: Row, now_ms: int) -> Row:
    """Return an idle row for which an attempt could begin if there were a place: it is due until there is."""
    if row.status is RowStatus.WAITING:
        return _changed(row, RowEvent.HEAR, now_ms, next_ms=now_ms)
    if row.next_ms is not None and row.next_ms <= now_ms:
        return row
    return msgspec.structs.replace(row, next_ms=now_ms)


def begun(row: Row, limits: Limits, now_ms: int) -> Row:
    """Return a row with an attempt that begins."""
    return _changed(
        row, RowEvent.BEGIN, now_ms, attempts=row.attempts + 1, recent_ms=now_ms, not_before_ms=None,
        next_ms=now_ms + limits.attempt_hours * rules.HOUR_MS,
    )  # fmt: skip


def failed(row: Row, campaign: Campaign, detail: str, retry_seconds: float | None, now_ms: int) -> Row:
    """Return a running row after its attempt failed: another one may come if the campaign lasts that long."""
    if retry_seconds is not None and campaign.status is CampaignStatus.SCHEDULED:
        again_ms = now_ms + round(retry_seconds * 1000)
        opening_ms = rules.next_opening_ms(campaign.windows, again_ms)
        if opening_ms < rules.end_ms(campaign):
            return _changed(
                row, RowEvent.RETRY, now_ms, detail=detail, next_ms=opening_ms, not_before_ms=again_ms
            )
    return _ended(row, RowEvent.FAIL, detail, now_ms)


def succeeded(row: Row, now_ms: int) -> Row:
    """Return a running row whose device has what it was to get."""
    return _ended(row, RowEvent.SUCCEED, None, now_ms)


def refused(row: Row, now_ms: int) -> Row:
    """Return a running row for which the service had nothing to bring after all."""
    return _changed(row, RowEvent.REFUSE, now_ms, next_ms=now_ms + rules.SLOT_MS)


def closed(row: Row, campaign: Campaign, limits: Limits, now_ms: int) -> Row | None:
    """Return an open row of a campaign that is over; None if it stays as it is and is just let go.

    An attempt that runs may be past the point where it can be stopped: it ends by itself, or by its deadline.
    """
    event = _CLOSING.get(campaign.status)
    if event is RowEvent.CANCEL and row.status is RowStatus.RUNNING:
        raise ValueError("a campaign that was cancelled before its start has no attempts")
    if event is not None:
        return _ended(row, event, None, now_ms)
    if row.status is not RowStatus.RUNNING:
        return None
    latest_ms = now_ms + limits.ending_hours * rules.HOUR_MS
    return msgspec.structs.replace(row, next_ms=min(row.next_ms or latest_ms, latest_ms))


def cancelled(row: Row, now_ms: int) -> Row:
    """Return a row that its owner takes out of the campaign."""
    return _ended(row, RowEvent.CANCEL, None, now_ms)


def unlicensed(row: Row, now_ms: int) -> Row:
    """Return an idle row whose device lost the licence that it was accepted with."""
    return _ended(row, RowEvent.FAIL, rules.NO_LICENSE, now_ms)


def next_auto_add_ms(now_ms: int) -> int:
    """Return when devices are to be added again: once a day (spec lifecycle.md, section 5.4)."""
    return now_ms + DAY_MS


_CLOSING = {CampaignStatus.CANCELLED: RowEvent.CANCEL, CampaignStatus.ABORTED: RowEvent.ABORT}


def _missed(row: Row, limits: Limits, now_ms: int) -> Row:
    """The device was looked for in vain. After so many times it is left alone until it is heard."""
    if row.status not in (RowStatus.WAITING, RowStatus.REACHABLE):
        return msgspec.structs.replace(row, next_ms=now_ms + rules.SLOT_MS)
    tries = row.tries + 1
    next_ms = now_ms + rules.SLOT_MS if tries < limits.reachability_tries else None
    return _changed(row, RowEvent.MISS, now_ms, tries=tries, next_ms=next_ms)


def _wait_until(
    row: Row, campaign: Campaign, known: Known, conditions: Conditions, now_ms: int
) -> int | None:
    """Return until when an attempt has to wait; None: it begins."""
    earliest_ms = max(now_ms, row.not_before_ms or 0)
    opening_ms = rules.next_opening_ms(campaign.windows, earliest_ms)
    if opening_ms > now_ms:
        return opening_ms
    if not conditions.active or not known.ready:
        return now_ms + rules.SLOT_MS
    return None


def _postponed(row: Row, now_ms: int, until_ms: int) -> Row:
    if row.status is RowStatus.WAITING:
        row = _changed(row, RowEvent.HEAR, now_ms)
    if row.status is RowStatus.PENDING and row.next_ms == until_ms:
        return row
    return _changed(row, RowEvent.POSTPONE, now_ms, next_ms=until_ms)


def _ended(row: Row, event: RowEvent, detail: str | None, now_ms: int) -> Row:
    shown = None if detail is None else detail[:DETAIL_CHARACTERS]
    return _changed(row, event, now_ms, detail=shown, next_ms=None, not_before_ms=None)


def _changed(row: Row, event: RowEvent, now_ms: int, **changes: object) -> Row:
    status = next_row_status(row.status, event)
    return msgspec.structs.replace(row, status=status, updated_ms=now_ms, **changes)
