"""The life of an action: the table as a whole, and what it never allows."""

from itertools import product

import pytest

from overair.protocols.ddi.states import CLOSED, TABLE, Event, State, TransitionError, next_state


def test_what_is_closed_stays_closed() -> None:
    for state, event in product(CLOSED, Event):
        with pytest.raises(TransitionError, match=str(state)):
            next_state(state, event)


def test_every_state_can_come_to_an_end_without_the_device() -> None:
    for state in set(State) - CLOSED:
        assert next_state(state, Event.WITHDRAW) is State.CANCELLED


def test_every_state_can_be_reached() -> None:
    assert set(TABLE.values()) | {State.CONFIRMING} == set(State)


@pytest.mark.parametrize("state", sorted(set(State) - {State.CANCELLING}))
def test_only_what_is_being_cancelled_can_be_agreed_to_or_refused(state: State) -> None:
    for event in (Event.AGREE, Event.REFUSE):
        with pytest.raises(TransitionError):
            next_state(state, event)


def test_an_action_that_waits_for_confirmation_can_be_neither_done_nor_failed() -> None:
    assert {event for state, event in TABLE if state is State.CONFIRMING} == {Event.CONFIRM, Event.WITHDRAW}
