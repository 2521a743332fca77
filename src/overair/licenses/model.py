"""Licences: what an account bought, which devices hold one, and what can become of it (spec lifecycle.md, 5).

A device of the account holds one licence or none. Times are UTC epoch milliseconds, devices are IMEIs as
integers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from overair.accounts.model import Account


class State(StrEnum):
    """Where a licence is in its life; a device without one has no row."""

    UNLICENSED = "unlicensed"
    LICENSED = "licensed"
    """No upgrade was completed since it was assigned."""
    BUSY = "busy"
    """The first upgrade runs."""
    USED = "used"
    BUSY_AGAIN = "busy_again"
    """A further upgrade runs."""


class Event(StrEnum):
    """What can happen to a licence."""

    ASSIGN = "assign"
    UPGRADE_STARTED = "upgrade_started"
    UPGRADE_SUCCEEDED = "upgrade_succeeded"
    UPGRADE_FAILED = "upgrade_failed"
    REMOVE = "remove"
    SHRINK = "shrink"


@dataclass(frozen=True, slots=True)
class License:
    """The licence of one device."""

    account_id: int
    imei: int
    assigned_ms: int
    state: State = State.LICENSED
    campaign_id: str | None = None
    """The campaign whose upgrade runs, or ran last."""
    leaving: bool = False
    """Whether the subscription has shrunk, and this licence ends with the upgrade that runs."""
    changed_ms: int = 0
    """When its state was last told of an upgrade; its assignment, before the first."""


@dataclass(frozen=True, slots=True)
class Counters:
    """An account as it is now, and how many licences its devices hold."""

    account: Account
    assigned: int


@dataclass(frozen=True, slots=True)
class LicensePage:
    """One page of the licences of an account, by IMEI, and the counters of the same moment."""

    rows: list[tuple[int, int]]
    """(imei, time of assignment in ms)."""
    more: bool
    counters: Counters


class AssignOutcome(StrEnum):
    """What became of one device that was to get a licence."""

    ASSIGNED = "assigned"
    PREEXISTING = "preexisting"
    NOT_FOUND = "not_found"
    NOT_ELIGIBLE = "not_eligible"
    POOL_EMPTY = "pool_empty"


class RemoveOutcome(StrEnum):
    """What became of one device that was to lose its licence."""

    REMOVED = "removed"
    NONE_HELD = "none_held"
    UPGRADED = "upgraded"
    """An upgrade runs, or one was completed since the licence was assigned."""
    FAILED = "failed"
    """The licence is there, but the account has lost the device."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """What an assignment did, by IMEI in the order of the request, and the counters after it."""

    outcomes: dict[int, AssignOutcome]
    counters: Counters


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal did, by IMEI in the order of the request, and the counters after it."""

    outcomes: dict[int, RemoveOutcome]
    counters: Counters


CancelScheduled = Callable[[Connection, Sequence[int]], None]
"""Cancels the upgrades of these devices that are scheduled and have not started, in the transaction."""

RemovalCandidates = Callable[[Connection, int], Sequence[int]]
"""Returns the IMEIs that an account wants to see lose their licences first, in its order."""


class ImpossibleEvent(Exception):
    """The licence's state allows no such event; the message names both."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"licence: {event} is not possible in state {state}")
        self.state = state
        self.event = event
