"""The table of phases, the text that is printed from it, and small rules about what was seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from overair.protocols.lwm2m.updating import (
    FINAL,
    Event,
    Job,
    Phase,
    Seen,
    UpdateStateError,
    Watch,
    learn,
    observed,
    registered,
)
from overair.protocols.lwm2m.updating.decision import RULES
from overair.protocols.lwm2m.updating.layout import Condition, condition_of, result_of
from overair.protocols.lwm2m.updating.printing import result_table, state_diagram, timer_table
from overair.protocols.lwm2m.updating.states import TABLE, follow

DOCUMENT = Path(__file__).parents[3] / "docs" / "lwm2m-updates.md"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("states", f"```mermaid\n{state_diagram()}\n```"),
        ("results", result_table()),
        ("timers", timer_table()),
    ],
)
def test_the_document_is_current(name: str, text: str) -> None:
    printed = re.search(rf"<!-- {name}: [^\n]*-->\n(.*?)\n<!-- end -->", DOCUMENT.read_text(), re.DOTALL)
    assert printed is not None
    assert printed[1] == text


def test_the_ways_through_the_table() -> None:
    reached, last = {Phase.QUEUED}, set[Phase]()
    while reached != last:
        last = set(reached)
        reached |= {after for (phase, _), after in TABLE.items() if phase in reached}
    assert reached == set(Phase)
    assert not [phase for phase, _ in TABLE if phase in FINAL]
    assert {event for _, event in TABLE} == set(Event)
    for phase in set(Phase) - FINAL:
        assert follow(phase, Event.FAILED) is Phase.FAILED


def test_every_phase_but_the_ends_has_its_rules() -> None:
    assert set(RULES) == set(Phase) - FINAL


@pytest.mark.parametrize(
    ("phase", "event"),
    [
        (Phase.DONE, Event.FAILED),
        (Phase.INSTALLING, Event.CANCEL),
        (Phase.VERIFY, Event.CANCEL),
        (Phase.QUEUED, Event.SUCCEEDED),
    ],
)
def test_what_is_not_in_the_table_is_an_error(phase: Phase, event: Event) -> None:
    with pytest.raises(UpdateStateError, match=str(phase)):
        follow(phase, event)


@pytest.mark.parametrize(
    ("number", "state", "condition"),
    [
        (5, 3, Condition.UPDATING),
        (5, 4, None),
        (9, 1, Condition.DOWNLOADING),
        (9, 2, Condition.DOWNLOADING),
        (9, 3, Condition.DOWNLOADED),
        (9, 4, Condition.INSTALLED),
        (9, 5, None),
        (5, -1, None),
        (5, None, None),
    ],
)
def test_states_in_the_words_of_object_5(number: int, state: int | None, condition: Condition | None) -> None:
    assert condition_of(number, state) is condition


@pytest.mark.parametrize(
    ("number", "result", "expected"),
    [(5, 8, 8), (5, 12, -12), (33629, 12, 12), (9, 2, 1), (9, 3, 0), (9, 52, 4), (9, 55, -55), (9, None, 0)],
)
def test_results_in_the_numbers_of_object_5(number: int, result: int | None, expected: int) -> None:
    assert result_of(number, result) == expected


JOB = Job(token="t", deadline_ms=1)


def test_what_was_seen_before_a_reboot_counts_no_more_but_for_what_the_device_can_do() -> None:
    values = {(5, 0, 3): 1, (5, 0, 8, 0): 2, (3, 0, 3): "1"}
    seen = learn(Seen(), JOB, values, asked=((5, 0, 3), (5, 0, 8), (3, 0, 3)), now_ms=5)
    later = learn(seen, registered(JOB), {(5, 0, 5): 0}, now_ms=6)
    assert later.values == {(5, 0, 8, 0): 2, (5, 0, 5): 0}
    assert later.asked == {(5, 0, 8), (5, 0, 8, 0), (5, 0, 5)}
    assert (later.turn, later.at_ms) == (1, 6)


def test_a_value_that_changed_makes_the_others_be_read_again() -> None:
    seen = learn(Seen(), JOB, {(5, 0, 3): 1, (5, 0, 5): 0}, now_ms=5)
    same = learn(seen, JOB, {(5, 0, 3): 1}, now_ms=6)
    assert (5, 0, 5) in same.asked
    changed = learn(same, JOB, {(5, 0, 3): 0}, now_ms=7)
    assert changed.asked == {(5, 0, 3)}


def test_a_value_that_is_not_there_any_more_is_forgotten() -> None:
    seen = learn(Seen(), JOB, {(3, 0, 3): "1"}, asked=((3, 0, 3),), now_ms=5)
    assert learn(seen, JOB, {}, asked=((3, 0, 3),), now_ms=6).values == {}


def test_an_observation_ends_with_a_registration() -> None:
    job = observed(JOB, True)
    assert job.watch is Watch.OBSERVED
    assert registered(job).watch is Watch.UNKNOWN
    assert observed(JOB, False).watch is Watch.POLLED
