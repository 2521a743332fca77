"""Who may have a licence, lose it, and upgrade with or without one: pure decisions (spec lifecycle.md, 5).

A licence is *Licensed* when it is assigned, *Busy* while an upgrade runs and *Used* once one was completed:
then its device keeps it until the subscription shrinks. The specification draws one arrow for a failed
upgrade, back to Licensed; but a licence that was used once must not become removable by a later failure,
so a further upgrade has a state of its own, *Busy again*, and ends in Used either way.

What is told twice changes nothing: a campaign that was interrupted says again what it has said before.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from overair.accounts.model import Account, Subscription
from overair.devices.model import Device
from overair.devices.rules import eligible
from overair.licenses.model import (
    AssignOutcome,
    Counters,
    Event,
    ImpossibleEvent,
    License,
    RemoveOutcome,
    State,
)

TABLE: dict[tuple[State, Event], State] = {
    (State.UNLICENSED, Event.ASSIGN): State.LICENSED,
    (State.LICENSED, Event.ASSIGN): State.LICENSED,
    (State.LICENSED, Event.UPGRADE_STARTED): State.BUSY,
    # The upgrade started before the licence was there.
    (State.LICENSED, Event.UPGRADE_SUCCEEDED): State.USED,
    (State.LICENSED, Event.UPGRADE_FAILED): State.LICENSED,
    (State.LICENSED, Event.REMOVE): State.UNLICENSED,
    (State.LICENSED, Event.SHRINK): State.UNLICENSED,
    (State.BUSY, Event.ASSIGN): State.BUSY,
    (State.BUSY, Event.UPGRADE_STARTED): State.BUSY,
    (State.BUSY, Event.UPGRADE_SUCCEEDED): State.USED,
    (State.BUSY, Event.UPGRADE_FAILED): State.LICENSED,
    # It completes; the licence is marked, and goes afterwards.
    (State.BUSY, Event.SHRINK): State.BUSY,
    (State.USED, Event.ASSIGN): State.USED,
    (State.USED, Event.UPGRADE_STARTED): State.BUSY_AGAIN,
    (State.USED, Event.UPGRADE_SUCCEEDED): State.USED,
    (State.USED, Event.UPGRADE_FAILED): State.USED,
    (State.USED, Event.SHRINK): State.UNLICENSED,
    (State.BUSY_AGAIN, Event.ASSIGN): State.BUSY_AGAIN,
    (State.BUSY_AGAIN, Event.UPGRADE_STARTED): State.BUSY_AGAIN,
    (State.BUSY_AGAIN, Event.UPGRADE_SUCCEEDED): State.USED,
    (State.BUSY_AGAIN, Event.UPGRADE_FAILED): State.USED,
    (State.BUSY_AGAIN, Event.SHRINK): State.BUSY_AGAIN,
}

RUNNING = (State.BUSY, State.BUSY_AGAIN)


def next_state(state: State, event: Event) -> State:
    """Return the state after *event*; :class:`ImpossibleEvent` for what is not in the table."""
    if (state, event) not in TABLE:
        raise ImpossibleEvent(state, event)
    return TABLE[state, event]


# Subscriptions (spec lifecycle.md, 5.1).


def bought(account: Account) -> int:
    """Return how many licences the account bought: none unless it pays by the month."""
    return account.licenses if Subscription.MRC in account.subscriptions else 0


def has_any(account: Account) -> bool:
    """Tell whether the account has a subscription, without which it can schedule nothing."""
    return bool(account.subscriptions)


def pays_events(account: Account) -> bool:
    """Tell whether the account pays for upgrades of devices that hold no licence."""
    return Subscription.EVENT in account.subscriptions


def may_upgrade(account: Account, licensed: bool) -> bool:
    """Tell whether the account may upgrade a device: by the event any one, else one that holds a licence."""
    return pays_events(account) or (licensed and Subscription.MRC in account.subscriptions)


# Assigning and removing (spec lifecycle.md, 5.2).


def assignments(
    imeis: Iterable[int], held: Collection[int], devices: Mapping[int, Device], free: int
) -> dict[int, AssignOutcome]:
    """Return what becomes of each, first come first served from *free* licences.

    *held* are those that hold one, *devices* the others that the account has.
    """
    outcomes: dict[int, AssignOutcome] = {}
    for imei in imeis:
        if imei not in outcomes:
            outcomes[imei] = _assignment(imei in held, devices.get(imei), free)
            if outcomes[imei] is AssignOutcome.ASSIGNED:
                free -= 1
    return outcomes


def _assignment(held: bool, device: Device | None, free: int) -> AssignOutcome:
    if held:
        return AssignOutcome.PREEXISTING
    if device is None:
        return AssignOutcome.NOT_FOUND
    if not eligible(device):
        return AssignOutcome.NOT_ELIGIBLE
    return AssignOutcome.ASSIGNED if free > 0 else AssignOutcome.POOL_EMPTY


def removal(known: License | None) -> RemoveOutcome:
    """Return what becomes of a device that is to lose its licence."""
    if known is None:
        return RemoveOutcome.NONE_HELD
    allowed = (known.state, Event.REMOVE) in TABLE
    return RemoveOutcome.REMOVED if allowed else RemoveOutcome.UPGRADED


def after_upgrade(known: License, event: Event, campaign_id: str, now_ms: int) -> License:
    """Return the licence after an event of a campaign's upgrade.

    The end of another upgrade than the one that runs comes late, and changes nothing.
    """
    ends = event is not Event.UPGRADE_STARTED
    if ends and known.state in RUNNING and known.campaign_id != campaign_id:
        return known
    state = next_state(known.state, event)
    if state is known.state and (ends or known.campaign_id == campaign_id):
        return known
    return replace(known, state=state, campaign_id=campaign_id, changed_ms=now_ms)


# Shrinking (spec lifecycle.md, 5.3).


def surplus(counters: Counters) -> int:
    """Return how many licences are assigned beyond those bought."""
    return max(0, counters.assigned - bought(counters.account))


def losers(candidates: Sequence[License], oldest: Sequence[License], count: int) -> list[License]:
    """Return the *count* licences that go first: candidates in their order, then the *oldest*.

    As many of these as go in all are enough to choose from.
    """
    in_order = {known.imei: known for known in (*candidates, *oldest)}
    return list(in_order.values())[:count]
