"""The state table and the decisions around it (spec lifecycle.md, section 5)."""

from itertools import product

import pytest

from overair.accounts.model import Account, Subscription
from overair.licenses import rules
from overair.licenses.model import Counters, Event, ImpossibleEvent, License, State

from .world import C1, C2

UNLICENSED, LICENSED, BUSY, USED, AGAIN = State
MRC, EVENT = Subscription.MRC, Subscription.EVENT

# The diagram of the specification, arrow by arrow.
ARROWS = {
    (UNLICENSED, Event.ASSIGN, LICENSED),
    (LICENSED, Event.REMOVE, UNLICENSED),
    (LICENSED, Event.UPGRADE_STARTED, BUSY),
    (BUSY, Event.UPGRADE_SUCCEEDED, USED),
    (BUSY, Event.UPGRADE_FAILED, LICENSED),
    (USED, Event.SHRINK, UNLICENSED),
    # Used → Busy: the further upgrade.
    (USED, Event.UPGRADE_STARTED, AGAIN),
    (AGAIN, Event.UPGRADE_SUCCEEDED, USED),
    (AGAIN, Event.UPGRADE_FAILED, USED),
    # Section 5.3: the ones that are assigned and not upgraded go as well.
    (LICENSED, Event.SHRINK, UNLICENSED),
    # An upgrade that started before the licence was there.
    (LICENSED, Event.UPGRADE_SUCCEEDED, USED),
}


def account(*subscriptions: Subscription, licenses: int = 5) -> Account:
    return Account(1, "1-1", True, licenses, subscriptions, 0)


def test_the_table_has_the_arrows_of_the_diagram_and_no_other() -> None:
    moves = {(state, event, after) for (state, event), after in rules.TABLE.items() if after != state}
    assert moves == ARROWS


@pytest.mark.parametrize(
    ("state", "event"),
    [
        *product([UNLICENSED], [event for event in Event if event is not Event.ASSIGN]),
        *product([BUSY, USED, AGAIN], [Event.REMOVE]),
    ],
)
def test_what_is_not_in_the_table_is_an_error_that_names_it(state: State, event: Event) -> None:
    with pytest.raises(ImpossibleEvent, match=f"{event}.*{state}"):
        rules.next_state(state, event)


@pytest.mark.parametrize(("state", "event"), [*product([LICENSED, BUSY, USED, AGAIN], Event)])
def test_everything_else_can_happen(state: State, event: Event) -> None:
    if event is not Event.REMOVE or state is LICENSED:
        rules.next_state(state, event)


@pytest.mark.parametrize(
    ("subscriptions", "licensed", "allowed"),
    [
        ((MRC,), False, False),
        ((MRC,), True, True),
        ((EVENT,), False, True),
        ((EVENT,), True, True),
        ((MRC, EVENT), False, True),
        ((MRC, EVENT), True, True),
        ((), False, False),
        ((), True, False),
    ],
)
def test_who_may_upgrade(subscriptions: tuple[Subscription, ...], licensed: bool, allowed: bool) -> None:
    assert rules.may_upgrade(account(*subscriptions), licensed) is allowed
    assert rules.has_any(account(*subscriptions)) is bool(subscriptions)


def test_only_who_pays_by_the_month_has_licences() -> None:
    assert [rules.bought(account(*paid)) for paid in [(MRC,), (MRC, EVENT), (EVENT,), ()]] == [5, 5, 0, 0]


def test_the_surplus_is_never_negative() -> None:
    assert [rules.surplus(Counters(account(MRC), assigned)) for assigned in (0, 5, 7)] == [0, 0, 2]
    assert rules.surplus(Counters(account(EVENT), 2)) == 2


def test_the_end_of_another_upgrade_changes_nothing() -> None:
    busy = License(1, 1, 0, BUSY, C2)
    assert rules.after_upgrade(busy, Event.UPGRADE_FAILED, C1, 9) == busy
    assert rules.after_upgrade(busy, Event.UPGRADE_SUCCEEDED, C1, 9) == busy
    assert rules.after_upgrade(busy, Event.UPGRADE_FAILED, C2, 9).state is LICENSED


def test_an_upgrade_whose_predecessor_was_never_ended_takes_its_place() -> None:
    after = rules.after_upgrade(License(1, 1, 0, BUSY, C1), Event.UPGRADE_STARTED, C2, 9)
    assert (after.state, after.campaign_id, after.changed_ms) == (BUSY, C2, 9)


@pytest.mark.parametrize("state", [LICENSED, BUSY, USED, AGAIN])
@pytest.mark.parametrize("event", [Event.UPGRADE_STARTED, Event.UPGRADE_SUCCEEDED, Event.UPGRADE_FAILED])
def test_what_is_said_twice_changes_nothing(state: State, event: Event) -> None:
    once = rules.after_upgrade(License(1, 1, 0, state, C1), event, C1, 9)
    assert rules.after_upgrade(once, event, C1, 10) == once


def test_candidates_go_in_their_order_and_then_the_oldest() -> None:
    a, b, c, d = (License(1, imei, imei) for imei in range(4))
    assert rules.losers([d, b], [a, b, c, d], 3) == [d, b, a]
    assert rules.losers([d, b], [a, b, c, d], 1) == [d]
    assert rules.losers([], [a, b, c, d], 2) == [a, b]
