"""The two tables of states: of a campaign, and of one of its devices (spec lifecycle.md, sections 1 and 3).

A campaign is asked for, verified, and then waits for its first day. That day its devices are looked for, and
from then on it runs until its last day is over or all devices have come to an end. Only its own timetable
and its owner move it; what happens to a device moves that device's row.

A row is checked first. Then the device has to be heard; then a place, a window and an awake device have to
come together, and an attempt begins. An attempt ends in success, or is repeated as long as its failure
allows and the campaign lasts. When the campaign is over, rows that never got that far stay as they are.

A transition that is not in a table is a mistake of this program, and raises one exception.
"""

from enum import StrEnum

from overair.campaigns.model import CampaignStatus, RowStatus

C = CampaignStatus
R = RowStatus


class CampaignEvent(StrEnum):
    """What moves a campaign."""

    ACCEPT = "checks pass"
    REJECT = "checks fail"
    LOOK = "the first day has begun"
    START = "devices were looked for"
    BREAK = "it cannot be carried out"
    END = "the last day is over, or all devices are done"
    CANCEL = "cancelled by its owner"
    ABORT = "aborted by an operator"


class RowEvent(StrEnum):
    """What moves a row."""

    ACCEPT = "checks pass"
    REJECT = "a check fails"
    HEAR = "the device is heard"
    MISS = "the device is not heard"
    POSTPONE = "no window, no place, or no device awake"
    REFUSE = "the package is missing"
    BEGIN = "an attempt begins"
    SUCCEED = "the device has what it was to get"
    FAIL = "the attempt failed for good"
    RETRY = "the attempt failed, another one may come"
    CANCEL = "cancelled"
    ABORT = "aborted"


class TransitionError(Exception):
    """Something happened that cannot happen in that state."""


CAMPAIGN: dict[tuple[CampaignStatus, CampaignEvent], CampaignStatus] = {
    (C.PENDING, CampaignEvent.ACCEPT): C.QUEUED,
    (C.PENDING, CampaignEvent.REJECT): C.REQUEST_FAILED,
    (C.QUEUED, CampaignEvent.LOOK): C.PRE_SCHEDULED,
    (C.PRE_SCHEDULED, CampaignEvent.START): C.SCHEDULED,
    (C.QUEUED, CampaignEvent.BREAK): C.FAILED,
    (C.PRE_SCHEDULED, CampaignEvent.BREAK): C.FAILED,
    (C.QUEUED, CampaignEvent.END): C.ENDED,
    (C.PRE_SCHEDULED, CampaignEvent.END): C.ENDED,
    (C.SCHEDULED, CampaignEvent.END): C.ENDED,
    (C.PENDING, CampaignEvent.CANCEL): C.CANCELLED,
    (C.QUEUED, CampaignEvent.CANCEL): C.CANCELLED,
    (C.PRE_SCHEDULED, CampaignEvent.CANCEL): C.CANCELLED,
    (C.SCHEDULED, CampaignEvent.ABORT): C.ABORTED,
}

ROW: dict[tuple[RowStatus, RowEvent], RowStatus] = {
    (R.UNCHECKED, RowEvent.ACCEPT): R.WAITING,
    (R.UNCHECKED, RowEvent.REJECT): R.REJECTED,
    (R.UNCHECKED, RowEvent.CANCEL): R.CANCELLED,
    (R.WAITING, RowEvent.HEAR): R.REACHABLE,
    (R.WAITING, RowEvent.MISS): R.WAITING,
    (R.REACHABLE, RowEvent.MISS): R.WAITING,
    (R.RUNNING, RowEvent.SUCCEED): R.SUCCEEDED,
    (R.RUNNING, RowEvent.FAIL): R.FAILED,
    (R.RUNNING, RowEvent.RETRY): R.PENDING,
    (R.RUNNING, RowEvent.REFUSE): R.REFUSED,
    (R.RUNNING, RowEvent.ABORT): R.ABORTED,
    (R.REFUSED, RowEvent.POSTPONE): R.PENDING,
}
for _open in (R.WAITING, R.REACHABLE, R.PENDING, R.REFUSED):
    ROW[_open, RowEvent.CANCEL] = R.CANCELLED
    ROW[_open, RowEvent.ABORT] = R.ABORTED
for _heard in (R.WAITING, R.REACHABLE, R.PENDING, R.REFUSED):
    ROW[_heard, RowEvent.BEGIN] = R.RUNNING
    ROW[_heard, RowEvent.REFUSE] = R.REFUSED
    ROW[_heard, RowEvent.FAIL] = R.FAILED  # the device is no more what the campaign is for
    ROW[_heard, RowEvent.SUCCEED] = R.SUCCEEDED  # it has the version already
for _postponed in (R.REACHABLE, R.PENDING):
    ROW[_postponed, RowEvent.POSTPONE] = R.PENDING

CAMPAIGN_OVER = frozenset({C.REQUEST_FAILED, C.ENDED, C.CANCELLED, C.ABORTED, C.FAILED})
OPEN_TO_MEMBERS = frozenset({C.PENDING, C.QUEUED, C.PRE_SCHEDULED})
"""While devices may still be added and removed (spec api-v3.md, section 5.3)."""

ROW_FINAL = frozenset({R.SUCCEEDED, R.FAILED, R.REJECTED, R.CANCELLED, R.ABORTED})
ROW_IDLE = frozenset({R.WAITING, R.REACHABLE, R.PENDING, R.REFUSED})
"""Accepted, and no attempt runs."""


def next_campaign_status(status: CampaignStatus, event: CampaignEvent) -> CampaignStatus:
    """Return the status after an event; :class:`TransitionError` if it can't happen."""
    try:
        return CAMPAIGN[status, event]
    except KeyError:
        raise TransitionError(f"a campaign with status {status}: {event}") from None


def next_row_status(status: RowStatus, event: RowEvent) -> RowStatus:
    """Return the status after an event; :class:`TransitionError` if it can't happen."""
    try:
        return ROW[status, event]
    except KeyError:
        raise TransitionError(f"a row with status {status}: {event}") from None
