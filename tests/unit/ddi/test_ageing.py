"""What becomes of actions by themselves; and whatever a device says, its action stays in order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.ddi import ageing
from overair.protocols.ddi import feedback as rules
from overair.protocols.ddi.errors import Malformed, TooMany
from overair.protocols.ddi.states import State

from .made import NOW_MS, action, feedback

STUCK_MS, ENDING_MS = 86_400_000, 10_800_000


def around(**changes: Any) -> ageing.Circumstances:
    said: dict[str, Any] = {"stops": False, "heard_ms": None, "waits": False, **changes}
    return ageing.Circumstances(stuck_ms=STUCK_MS, ending_ms=ENDING_MS, **said)


def test_an_action_goes_on_by_itself() -> None:
    assert ageing.due(action(), around(heard_ms=NOW_MS + STUCK_MS - 1), NOW_MS + STUCK_MS) is None
    assert ageing.due(action(), around(), NOW_MS + 10 * STUCK_MS) is None  # it is away, perhaps at work


def test_a_device_that_comes_and_does_nothing() -> None:
    outcome = ageing.due(action(), around(heard_ms=NOW_MS + STUCK_MS), NOW_MS + STUCK_MS)
    assert outcome is not None
    assert (outcome.action.state, outcome.action.detail) == (State.FAILED, "connection lost")
    assert outcome.action.retry


def test_what_waits_for_its_window_is_not_stuck_until_it_is_begun() -> None:
    late = around(waits=True, heard_ms=NOW_MS + STUCK_MS)
    assert ageing.due(action(), late, NOW_MS + STUCK_MS) is None
    assert ageing.due(action(begun=True), late, NOW_MS + STUCK_MS) is not None


@pytest.mark.parametrize(
    ("before", "state"),
    [
        (action(), State.CANCELLED),
        (action(retrieved_ms=NOW_MS), State.CANCELLING),
        (action(state=State.CONFIRMING), State.CANCELLED),
        (action(state=State.CONFIRMING, retrieved_ms=NOW_MS), State.CANCELLED),
    ],
)
def test_stopping(before: Any, state: State) -> None:
    outcome = ageing.due(before, around(stops=True), NOW_MS)
    assert outcome is not None
    assert outcome.action.state is state


def test_a_device_has_some_hours_to_answer_and_is_asked_once() -> None:
    asked = action(state=State.CANCELLING, cancelled_ms=NOW_MS)
    assert ageing.due(asked, around(stops=True), NOW_MS + ENDING_MS - 1) is None
    outcome = ageing.due(asked, around(), NOW_MS + ENDING_MS)
    assert outcome is not None
    assert outcome.action.state is State.CANCELLED
    refused = action(retrieved_ms=NOW_MS, cancelled_ms=NOW_MS)
    assert ageing.due(refused, around(stops=True), NOW_MS + 1) is None


WORDS = st.sampled_from(
    ["proceeding", "scheduled", "resumed", "download", "downloaded", "rejected", "canceled", "closed", "?"]
)
SAID = st.tuples(
    st.sampled_from(["deployment", "cancellation", "time", "stop"]),
    WORDS,
    st.sampled_from(["success", "failure", "none"]),
    st.integers(0, 2 * STUCK_MS),
)


@given(st.lists(SAID, max_size=40), st.sampled_from([State.RUNNING, State.CONFIRMING]))
def test_whatever_is_said_an_action_stays_in_order(said: list[Any], state: State) -> None:
    """As the door asks: of what is closed nothing, of a cancellation only while there is one."""
    now, now_ms = action(state=state, retrieved_ms=NOW_MS), NOW_MS
    for what, execution, finished, later_ms in said:
        now_ms += later_ms
        if now.is_closed:
            break
        try:
            if what == "deployment" and now.state is not State.CONFIRMING:
                outcome = rules.of_deployment(now, feedback(execution, finished), now_ms)
            elif what == "cancellation" and now.state is State.CANCELLING:
                outcome = rules.of_cancellation(now, feedback(execution, finished), now_ms)
            else:
                found = ageing.due(now, around(stops=what == "stop", heard_ms=now_ms), now_ms)
                if found is None:
                    continue
                outcome = found
        except (Malformed, TooMany):
            continue
        assert outcome.action.statuses == now.statuses + 1
        assert (outcome.action.closed_ms is not None) == outcome.action.is_closed
        assert bool(outcome.action.detail) == (outcome.action.state is State.FAILED)
        now = outcome.action
