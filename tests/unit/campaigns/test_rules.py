"""Dates, windows, and why devices are rejected, in which order (spec lifecycle.md, sections 3.2 and 4)."""

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.accounts.model import Subscription
from overair.campaigns import rules
from overair.campaigns.model import DateRefused, Window
from overair.devices.model import ListEntry
from overair.platform.clock import DAY_MS

from .made import DAY, NOW, account, campaign, device, fact

HOUR = rules.HOUR_MS
windows = st.lists(
    st.builds(
        lambda start, length: Window(start, min(24, start + length)), st.integers(0, 23), st.integers(1, 24)
    ),
    max_size=5,
)
times = st.integers(NOW, NOW + 3 * DAY_MS)


def at(hour: float) -> int:
    return NOW + round(hour * HOUR)


def test_both_days_belong_to_a_campaign() -> None:
    one_day = campaign(start_day=DAY, end_day=DAY)
    assert (rules.start_ms(one_day), rules.end_ms(one_day)) == (NOW, NOW + DAY_MS)


@pytest.mark.parametrize(
    ("open_hours", "hour", "is_open"),
    [
        ((), 13, True),
        (((8, 10),), 7.999, False),
        (((8, 10),), 8, True),
        (((8, 10),), 9.999, True),
        (((8, 10),), 10, False),
        (((0, 24),), 23.999, True),
        (((22, 24), (0, 2)), 23.5, True),
        (((22, 24), (0, 2)), 1.5, True),
        (((22, 24), (0, 2)), 2, False),
        (((8, 12), (10, 14)), 11, True),
        (((8, 12), (10, 14)), 13.5, True),
        (((8, 12), (8, 9)), 10, True),
    ],
)
def test_hours_in_which_an_upgrade_may_begin(open_hours: Any, hour: float, is_open: bool) -> None:
    assert rules.window_open([Window(*each) for each in open_hours], at(hour)) is is_open


@pytest.mark.parametrize(
    ("open_hours", "hour", "opening"),
    [
        ((), 13.5, 13.5),
        (((8, 10),), 9.25, 9.25),
        (((8, 10),), 3, 8),
        (((8, 10),), 10, 32),
        (((8, 10), (20, 22)), 10, 20),
        (((20, 22), (8, 10)), 22, 32),
        (((22, 24), (0, 2)), 24, 24),
        (((22, 24), (0, 2)), 2, 22),
        (((0, 1),), 23.999, 24),
        (((8, 12), (10, 14)), 14, 32),
    ],
)
def test_when_a_window_opens_next(open_hours: Any, hour: float, opening: float) -> None:
    assert rules.next_opening_ms([Window(*each) for each in open_hours], at(hour)) == at(opening)


@given(windows, times)
def test_the_next_opening_is_the_first_open_moment(open_hours: list[Window], now_ms: int) -> None:
    opening_ms = rules.next_opening_ms(open_hours, now_ms)
    assert now_ms <= opening_ms < now_ms + DAY_MS
    assert rules.window_open(open_hours, opening_ms)
    hours_before = range(now_ms // HOUR, opening_ms // HOUR)
    assert not any(rules.window_open(open_hours, hour * HOUR) for hour in hours_before)
    assert opening_ms == now_ms or opening_ms % HOUR == 0


def refused_field(start: int, end: int, *open_hours: tuple[int, int], now_ms: int = NOW) -> str | None:
    try:
        rules.check_dates(start, end, [Window(*each) for each in open_hours], now_ms)
    except DateRefused as refused:
        return refused.field
    return None


def test_dates_of_a_new_campaign() -> None:
    late = NOW + DAY_MS - 1
    assert refused_field(DAY, DAY, now_ms=late) is None
    assert refused_field(DAY - 1, DAY, now_ms=NOW) == "start"
    assert refused_field(DAY - 1, DAY, now_ms=NOW - 1) is None
    assert refused_field(DAY + 1, DAY) == "end"
    assert refused_field(DAY, DAY + 3650, (0, 24), (23, 24), (0, 1)) is None
    for hours in ((8, 8), (9, 8), (-1, 3), (23, 25), (24, 24), (22, 2)):
        assert refused_field(DAY, DAY, (1, 2), hours) == "windows"


@pytest.mark.parametrize(
    ("start", "end", "open_hours", "refused"),
    [
        (DAY, DAY + 9, ((8, 10), (20, 22)), None),
        (DAY, DAY + 9, ((20, 22), (8, 10)), None),
        (DAY, DAY + 3, ((8, 10), (20, 22)), None),
        (DAY + 1, DAY + 9, ((8, 10), (20, 22)), "start"),
        (DAY - 1, DAY + 9, ((8, 10), (20, 22)), "start"),
        (DAY, DAY + 9, ((8, 10),), "windows"),
        (DAY, DAY + 9, (), "windows"),
        (DAY, DAY + 9, ((8, 10), (20, 22), (0, 1)), "windows"),
        (DAY, DAY + 2, ((8, 10), (20, 22)), "end"),
        (DAY, DAY - 1, ((8, 10), (20, 22)), "end"),
    ],
)
def test_of_a_campaign_that_runs_only_the_end_can_change(
    start: int, end: int, open_hours: Any, refused: str | None
) -> None:
    """Spec api-v3.md, section 5.4; it is noon of the third day."""
    running = campaign(end_day=DAY + 6, windows=(Window(8, 10), Window(20, 22)))
    asked = (start, end, [Window(*each) for each in open_hours])
    now_ms = NOW + 2 * DAY_MS + 12 * HOUR
    if refused is None:
        rules.check_new_end(running, *asked, now_ms)
        return
    with pytest.raises(DateRefused) as error:
        rules.check_new_end(running, *asked, now_ms)
    assert error.value.field == refused


def test_the_new_end_is_24_hours_from_now_to_the_second() -> None:
    running = campaign()
    last_moment = NOW + DAY_MS - 1000  # 23:59:59 of the first day; 24 hours later the second one ends
    rules.check_new_end(running, DAY, DAY + 1, (), last_moment)
    with pytest.raises(DateRefused):
        rules.check_new_end(running, DAY, DAY + 1, (), last_moment + 1)


# What is wrong with a device, in the order of the table: the changes, and the reason.
FAULTS: list[tuple[str, dict[str, Any]]] = [
    (rules.NOT_FOUND, {"device": None}),
    (rules.NOT_CAPABLE, {"firmware_capable": False}),
    (rules.BUSY, {"busy": True}),
    (rules.OTHER_VERSION, {"firmware": fact("0.9")}),
    (rules.OTHER_MODEL, {"model": fact("T9")}),
    (rules.NOT_ACTIVE, {"status": "Suspended"}),
    (rules.NO_LICENSE, {"licensed": False}),
]


def reason(*faults: dict[str, Any]) -> str | None:
    said: dict[str, Any] = {"busy": False, "licensed": True}
    for fault in faults:
        said |= fault
    busy, missing = said.pop("busy"), "device" in said
    made = None if missing else device(**said)
    asked = {"busy": busy, "will_be_licensed": False}
    return rules.rejection(made, campaign(), account((Subscription.MRC,)), **asked)


def test_devices_are_rejected_for_the_first_reason_of_the_table() -> None:
    assert reason() is None
    for text, fault in FAULTS:
        assert reason(fault) == text
    for (first, one), (_, other) in combinations(FAULTS, 2):
        assert reason(other, one) == first


@pytest.mark.parametrize(
    ("subscriptions", "licensed", "will_be", "taken"),
    [
        ((Subscription.MRC,), False, False, False),
        ((Subscription.MRC,), True, False, True),
        ((Subscription.MRC,), False, True, True),
        ((Subscription.EVENT,), False, False, True),
        ((Subscription.MRC, Subscription.EVENT), False, False, True),
        ((), True, True, False),
    ],
)
def test_who_needs_a_licence(
    subscriptions: tuple[Subscription, ...], licensed: bool, will_be: bool, taken: bool
) -> None:
    found = rules.rejection(
        device(licensed=licensed), campaign(), account(subscriptions), busy=False, will_be_licensed=will_be
    )
    assert found == (None if taken else rules.NO_LICENSE)


def test_versions_are_compared_with_case_makes_and_models_without() -> None:
    assert rules.mismatch(device(make=fact("aCmE"), model=fact("T1")), campaign()) is None
    lettered = campaign(version_from="1.0A")
    assert rules.mismatch(device(firmware=fact("1.0a")), lettered) == rules.OTHER_VERSION
    assert rules.mismatch(device(firmware=None), campaign()) == rules.OTHER_VERSION
    assert rules.mismatch(device(make=None), campaign()) == rules.OTHER_MODEL
    assert rules.mismatch(device(model=None), campaign()) == rules.OTHER_MODEL


def test_devices_of_another_protocol_are_not_capable() -> None:
    assert reason({"protocol": "HTTP"}) == rules.NOT_CAPABLE


def test_software_and_files_have_a_version_by_name() -> None:
    known = device(software=(ListEntry("nav", "7", 0),), files=(ListEntry("nav", "8", 0),))
    assert [rules.version_of(known, kind, "nav") for kind in ("firmware", "software", "file")] == [
        "1.0", "7", "8",
    ]  # fmt: skip
    assert rules.version_of(known, "software", "map") is None
