"""Feedback: every row of spec ddi.md, 5.1 and 5.2, and the guards around them."""

import pytest

from overair.protocols.ddi import feedback as rules
from overair.protocols.ddi.errors import Malformed, TooMany
from overair.protocols.ddi.records import Confirmation
from overair.protocols.ddi.states import State

from .made import NOW_MS, action, feedback

CANCELLING = action(state=State.CANCELLING, cancelled_ms=NOW_MS)


@pytest.mark.parametrize(
    ("execution", "finished", "status", "state"),
    [
        ("proceeding", "none", "RUNNING", State.RUNNING),
        ("proceeding", "success", "RUNNING", State.RUNNING),
        ("proceeding", "failure", "RUNNING", State.RUNNING),
        ("scheduled", "none", "RUNNING", State.RUNNING),
        ("resumed", "success", "RUNNING", State.RUNNING),
        ("download", "none", "DOWNLOAD", State.RUNNING),
        ("downloaded", "success", "DOWNLOADED", State.RUNNING),
        ("rejected", "none", "WARNING", State.RUNNING),
        ("canceled", "none", "CANCELED", State.FAILED),
        ("closed", "success", "FINISHED", State.FINISHED),
        ("closed", "none", "FINISHED", State.FINISHED),
        ("closed", "failure", "ERROR", State.FAILED),
    ],
)
def test_feedback_to_a_deployment(execution: str, finished: str, status: str, state: State) -> None:
    outcome = rules.of_deployment(action(), feedback(execution, finished), NOW_MS + 5)
    assert (outcome.status, outcome.action.state) == (status, state)
    assert outcome.action.begun
    assert outcome.action.progressed_ms == NOW_MS + 5
    assert outcome.action.statuses == 1
    assert (outcome.action.closed_ms is None) == (state is State.RUNNING)


@pytest.mark.parametrize(
    ("execution", "finished", "status", "state"),
    [
        ("closed", "success", "CANCELED", State.CANCELLED),
        ("closed", "none", "CANCELED", State.CANCELLED),
        ("closed", "failure", "ERROR", State.RUNNING),
        ("rejected", "none", "CANCEL_REJECTED", State.RUNNING),
        ("canceled", "none", "WARNING", State.CANCELLING),
        ("proceeding", "none", "RUNNING", State.CANCELLING),
        ("scheduled", "success", "RUNNING", State.CANCELLING),
    ],
)
def test_feedback_to_a_cancellation(execution: str, finished: str, status: str, state: State) -> None:
    outcome = rules.of_cancellation(CANCELLING, feedback(execution, finished), NOW_MS)
    assert (outcome.status, outcome.action.state) == (status, state)


@pytest.mark.parametrize(
    ("execution", "finished", "state"),
    [
        ("closed", "success", State.FINISHED),
        ("closed", "failure", State.FAILED),
        ("canceled", "none", State.CANCELLED),
        ("proceeding", "none", State.CANCELLING),
    ],
)
def test_a_device_that_is_asked_to_stop_may_finish_first(execution: str, finished: str, state: State) -> None:
    assert rules.of_deployment(CANCELLING, feedback(execution, finished), NOW_MS).action.state is state


def test_cancelling_unasked_is_a_failure_of_its_own() -> None:
    assert rules.of_deployment(action(), feedback("canceled"), NOW_MS).action.detail == "cancelled by device"


@pytest.mark.parametrize("execution", ["", "CLOSED", "done", "closed "])
def test_words_that_nobody_knows_are_refused(execution: str) -> None:
    with pytest.raises(Malformed, match=r"status\.execution"):
        rules.of_deployment(action(), feedback(execution), NOW_MS)
    with pytest.raises(Malformed):
        rules.of_cancellation(CANCELLING, feedback(execution), NOW_MS)


def test_the_fifth_rejection_is_taken_for_an_answer() -> None:
    now = action()
    for _ in range(4):
        now = rules.of_deployment(now, feedback("rejected"), NOW_MS).action
        assert now.state is State.RUNNING
    now = rules.of_deployment(now, feedback("rejected"), NOW_MS).action
    assert (now.state, now.detail) == (State.FAILED, "deferred")


def test_a_success_right_after_being_told_not_to_install_is_none() -> None:
    told = action(skipped_ms=NOW_MS)
    outcome = rules.of_deployment(told, feedback("closed", "success", "Skipped Update."), NOW_MS + 999)
    assert (outcome.action.state, outcome.action.detail) == (State.FAILED, "skipped by device")
    assert outcome.action.retry
    for later, downloaded in ((NOW_MS + 1000, False), (NOW_MS + 10, True)):
        told = action(skipped_ms=NOW_MS, downloaded=downloaded)
        assert rules.of_deployment(told, feedback("closed", "success"), later).action.state is State.FINISHED


def test_the_history_of_an_action_is_bounded_but_its_end_finds_room() -> None:
    full = action(statuses=1000)
    with pytest.raises(TooMany):
        rules.of_deployment(full, feedback("proceeding"), NOW_MS)
    with pytest.raises(TooMany):
        rules.of_confirmation(action(state=State.CONFIRMING, statuses=1000), Confirmation("denied"), NOW_MS)
    assert rules.of_deployment(full, feedback("closed", "success"), NOW_MS).action.state is State.FINISHED
    assert rules.of_deployment(action(statuses=999), feedback("proceeding"), NOW_MS).action.statuses == 1000


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["No space left on device"], "insufficient storage"),
        (["Checksum mismatch", "code 3"], "integrity check failed"),
        (["HASH mismatch"], "integrity check failed"),
        (["unsupported filetype"], "unsupported package"),
        (["More than one chunk"], "unsupported package"),
        (["Out of memory"], "insufficient memory"),
        (["installer exited with 1"], "update failed"),
        ([], "update failed"),
    ],
)
def test_what_owners_are_told_of_a_failure(said: list[str], reason: str) -> None:
    outcome = rules.of_deployment(action(), feedback("closed", "failure", *said), NOW_MS)
    assert outcome.action.detail == reason


def test_messages_are_bounded_and_the_last_ones_kept() -> None:
    said = feedback("proceeding", "none", *[f"line {number}" for number in range(51)], "x" * 600, code=17)
    assert len(said.messages) == 51
    assert said.messages[0] == "line 2"
    assert said.messages[-2:] == ("x" * 512, "code 17")


@pytest.mark.parametrize(
    ("timestamp", "at_ms"),
    [(None, NOW_MS), (NOW_MS - 5000, NOW_MS - 5000), (NOW_MS - 86_400_001, NOW_MS), (0, NOW_MS)],
)
def test_a_clock_that_was_never_set_is_not_believed(timestamp: int | None, at_ms: int) -> None:
    outcome = rules.of_deployment(action(), feedback("proceeding", timestamp=timestamp), NOW_MS)
    assert outcome.at_ms == at_ms


def test_confirmation() -> None:
    waiting = action(state=State.CONFIRMING)
    assert rules.of_confirmation(waiting, Confirmation("denied"), NOW_MS).action.state is State.CONFIRMING
    confirmed = rules.of_confirmation(waiting, Confirmation("confirmed", 1, ["by the driver"]), NOW_MS)
    assert confirmed.action.state is State.RUNNING
    assert confirmed.messages == ("by the driver",)
