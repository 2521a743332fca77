"""The table of states."""

from __future__ import annotations

import pytest

from overair.simulator.lifecycle import TRANSITIONS, Cause, Effect, State, UnexpectedEventError, next_state


def test_every_state_can_be_stopped_and_ends_off() -> None:
    for state in State:
        after, _ = next_state(state, Cause.STOP)
        if after is State.LEAVING:
            after, _ = next_state(after, Cause.FAILED)
        assert after is State.OFF


def test_every_state_is_reached_from_off_and_every_effect_is_used() -> None:
    reached = {State.OFF}
    for _ in State:
        reached |= {after for (before, _), (after, _) in TRANSITIONS.items() if before in reached}
    assert reached == set(State)
    assert {effect for _, effect in TRANSITIONS.values()} == set(Effect)


@pytest.mark.parametrize("state", [State.REGISTERING, State.UPDATING, State.LEAVING])
def test_a_device_that_asks_understands_every_outcome(state: State) -> None:
    for cause in (Cause.ACCEPTED, Cause.REJECTED, Cause.FAILED):
        assert (state, cause) in TRANSITIONS


def test_what_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(UnexpectedEventError, match="start while registered"):
        next_state(State.REGISTERED, Cause.START)
