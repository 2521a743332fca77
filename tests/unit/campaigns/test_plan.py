"""What is due: every combination of what can be known of a row, and what moves a campaign."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.campaigns import plan, rules
from overair.campaigns.model import Campaign, CampaignStatus, Row, RowStatus, Window
from overair.campaigns.plan import Conditions, Known
from overair.campaigns.states import CAMPAIGN_OVER, ROW_FINAL, ROW_IDLE, CampaignEvent, TransitionError
from overair.platform.clock import DAY_MS
from overair.platform.limits import Limits

from .made import DAY, NOW, campaign, row

R = RowStatus
C = CampaignStatus
E = CampaignEvent
LIMITS = Limits()
SLOT, HOUR = rules.SLOT_MS, rules.HOUR_MS
IDLE = sorted(ROW_IDLE)
HERE = NOW + 12 * HOUR  # noon of the first day
OPEN, SHUT = (Window(12, 13),), (Window(20, 21),)


def after(before: Row, known: Known, now_ms: int = HERE, **said: Any) -> Row:
    package, active = said.pop("package", True), said.pop("active", True)
    conditions = Conditions(active=active, package=package)
    return plan.row_after(before, campaign(**said), known, conditions, LIMITS, now_ms)


def expected(
    before: Row,
    heard: bool,
    ready: bool,
    current: bool,
    mismatch: bool,
    active: bool,
    package: bool,
    wait: int,
) -> tuple[RowStatus, int | None]:
    """Status and next look, by the first thing that holds; *wait* in ms, 0: a window is open."""
    if not heard:
        lost = before.status in (R.WAITING, R.REACHABLE)
        return (R.WAITING if lost else before.status), HERE + SLOT
    if current:
        return R.SUCCEEDED, None
    if mismatch:
        return R.FAILED, None
    if not package:
        return R.REFUSED, HERE + SLOT
    if wait:
        return R.PENDING, HERE + wait
    if not active or not ready:
        return R.PENDING, HERE + SLOT
    return R.RUNNING, HERE + LIMITS.attempt_hours * HOUR


@pytest.mark.parametrize("status", IDLE)
def test_a_row_after_every_combination(status: RowStatus) -> None:
    yes_no = (True, False)
    waits = ((OPEN, None, 0), ((), None, 0), (SHUT, None, 8 * HOUR), (OPEN, HERE + HOUR, 24 * HOUR),
             ((), HERE + 5, 5), (OPEN, HERE, 0), ((), HERE - 1, 0))  # fmt: skip
    for heard, ready, current, mismatch, active, package, (windows, not_before, wait) in product(
        yes_no, yes_no, yes_no, yes_no, yes_no, yes_no, waits
    ):
        before = row(status=status, not_before_ms=not_before, attempts=3, updated_ms=NOW)
        known = Known(
            heard_ms=HERE - 1 if heard else None,
            ready=ready,
            current=current,
            mismatch=rules.OTHER_VERSION if mismatch else None,
        )
        found = after(before, known, windows=windows, active=active, package=package)
        wanted = expected(before, heard, ready, current, mismatch, active, package, wait)
        assert (found.status, found.next_ms) == wanted
        assert found.attempts == 3 + (found.status is R.RUNNING)
        assert (found.recent_ms == HERE) is (found.status is R.RUNNING)
        if found.status in ROW_FINAL or found.status is R.RUNNING:
            assert found.not_before_ms is None
        else:
            assert found.not_before_ms == not_before


@pytest.mark.parametrize(
    ("ago", "heard"), [(0, True), (24 * HOUR - 1, True), (24 * HOUR, False), (30 * DAY_MS, False)]
)
def test_a_device_counts_as_reachable_for_a_day(ago: int, heard: bool) -> None:
    found = after(row(), Known(heard_ms=HERE - ago, ready=True))
    assert found.status is (R.RUNNING if heard else R.WAITING)


def test_a_device_is_looked_for_so_often_and_then_only_when_it_is_heard() -> None:
    missing, one = Known(heard_ms=None), row()
    for tries in range(1, LIMITS.reachability_tries):
        one = after(one, missing)
        assert (one.status, one.tries, one.next_ms) == (R.WAITING, tries, HERE + SLOT)
    one = after(one, missing)
    assert (one.tries, one.next_ms) == (LIMITS.reachability_tries, None)
    assert after(one, Known(heard_ms=HERE, ready=True)).status is R.RUNNING


def test_a_row_that_waits_for_a_window_is_not_written_again_and_again() -> None:
    before = row(status=R.PENDING, next_ms=HERE + 8 * HOUR)
    assert after(before, Known(heard_ms=HERE, ready=True), windows=SHUT) is before


windows = st.lists(
    st.builds(
        lambda start, length: Window(start, min(24, start + length)), st.integers(0, 23), st.integers(1, 24)
    ),
    max_size=3,
).map(tuple)
moments = st.integers(NOW, NOW + 7 * DAY_MS - 1)
maybe_times = st.none() | st.integers(NOW - 2 * DAY_MS, NOW + 9 * DAY_MS)


@given(
    st.builds(
        row,
        status=st.sampled_from(IDLE),
        tries=st.integers(0, 43),
        next_ms=maybe_times,
        not_before_ms=maybe_times,
    ),
    st.builds(
        Known,
        heard_ms=maybe_times,
        ready=st.booleans(),
        mismatch=st.none() | st.just(rules.OTHER_MODEL),
        current=st.booleans(),
    ),
    st.builds(Conditions, active=st.booleans(), package=st.booleans()),
    windows,
    moments,
)
def test_attempts_begin_only_where_they_may_and_time_goes_on(
    before: Row, known: Known, conditions: Conditions, open_hours: tuple[Window, ...], now_ms: int
) -> None:
    found = plan.row_after(before, campaign(windows=open_hours), known, conditions, LIMITS, now_ms)
    if found.status is R.RUNNING:
        assert rules.window_open(open_hours, now_ms)
        assert known.ready
        assert conditions.active
        assert conditions.package
        assert known.heard_ms is not None
        assert known.heard_ms > now_ms - LIMITS.reachable_hours * HOUR
        assert not known.current
        assert known.mismatch is None
        assert (before.not_before_ms or 0) <= now_ms
    if found.status in ROW_FINAL:
        assert found.next_ms is None
    elif found.next_ms is None:
        assert (found.status, found.tries >= LIMITS.reachability_tries) == (R.WAITING, True)
    else:
        assert found.next_ms > now_ms
    if found.status is R.PENDING and known.heard_ms is not None and conditions.package:
        assert rules.window_open(open_hours, found.next_ms or 0) or found.next_ms == now_ms + SLOT
    assert (found.imei, found.campaign_id) == (before.imei, before.campaign_id)
    assert before.tries <= found.tries <= before.tries + 1


# Attempts that end.


def test_an_attempt_that_failed_is_repeated_in_the_next_window_of_the_campaign() -> None:
    running = row(status=R.RUNNING, attempts=2, next_ms=HERE + 9)
    again = plan.failed(running, campaign(windows=OPEN), "lost", 60.0, HERE)
    assert (again.status, again.next_ms, again.not_before_ms) == (R.PENDING, HERE + 60_000, HERE + 60_000)
    assert (again.detail, again.attempts) == ("lost", 2)
    late = plan.failed(running, campaign(windows=OPEN), "lost", 7200.0, HERE)
    assert (late.next_ms, late.not_before_ms) == (HERE + DAY_MS, HERE + 2 * HOUR)


@pytest.mark.parametrize(
    ("retry_seconds", "said"),
    [
        (None, {}),
        (6.5 * 86_400, {}),  # midnight after the last day
        (60.0, {"windows": (Window(8, 9),), "end_day": DAY}),
        (60.0, {"status": C.ENDED}),
        (60.0, {"status": C.ABORTED}),
    ],
)
def test_an_attempt_that_failed_for_good(retry_seconds: float | None, said: dict[str, Any]) -> None:
    running = row(status=R.RUNNING, attempts=1, next_ms=HERE + 9, not_before_ms=5)
    over = plan.failed(running, campaign(**said), "lost", retry_seconds, HERE)
    assert (over.status, over.detail, over.next_ms, over.not_before_ms) == (R.FAILED, "lost", None, None)


def test_the_last_moment_of_a_campaign_is_worth_another_attempt() -> None:
    running = row(status=R.RUNNING)
    seconds = (rules.end_ms(campaign()) - HERE - 1) / 1000
    assert plan.failed(running, campaign(), "lost", seconds, HERE).status is R.PENDING


def test_other_ends() -> None:
    running = row(status=R.RUNNING, attempts=1, detail="before", next_ms=HERE + 9)
    done = plan.succeeded(running, HERE)
    assert (done.status, done.detail, done.next_ms, done.updated_ms) == (R.SUCCEEDED, None, None, HERE)
    refused = plan.refused(running, HERE)
    assert (refused.status, refused.next_ms) == (R.REFUSED, HERE + SLOT)
    unlicensed = plan.unlicensed(row(status=R.PENDING), HERE)
    assert (unlicensed.status, unlicensed.detail) == (R.FAILED, rules.NO_LICENSE)
    for status in ROW_IDLE | {R.UNCHECKED}:
        assert plan.cancelled(row(status=status), HERE).status is R.CANCELLED
    with pytest.raises(TransitionError):
        plan.cancelled(running, HERE)


@pytest.mark.parametrize("status", IDLE)
@pytest.mark.parametrize("next_ms", [None, HERE - 5, HERE, HERE + SLOT])
def test_a_row_without_a_place_is_due_until_there_is_one(status: RowStatus, next_ms: int | None) -> None:
    found = plan.without_place(row(status=status, next_ms=next_ms), HERE)
    assert found.status is (R.REACHABLE if status is R.WAITING else status)
    assert found.next_ms is not None
    assert found.next_ms <= HERE
    assert plan.without_place(found, HERE) is found


@pytest.mark.parametrize("status", CAMPAIGN_OVER)
def test_rows_of_a_campaign_that_is_over(status: CampaignStatus) -> None:
    over = campaign(status=status)
    for idle in IDLE:
        let_go = plan.closed(row(status=idle), over, LIMITS, HERE)
        wanted = {C.CANCELLED: R.CANCELLED, C.ABORTED: R.ABORTED}.get(status)
        assert (let_go.status if let_go else None) is wanted


def test_attempts_of_a_campaign_that_is_over_have_some_hours_left() -> None:
    latest_ms = HERE + LIMITS.ending_hours * HOUR
    for next_ms, deadline_ms in ((HERE + 1, HERE + 1), (latest_ms + 1, latest_ms), (None, latest_ms)):
        left = plan.closed(row(status=R.RUNNING, next_ms=next_ms), campaign(status=C.ENDED), LIMITS, HERE)
        assert left is not None
        assert (left.status, left.next_ms) == (R.RUNNING, deadline_ms)
    aborted = plan.closed(row(status=R.RUNNING), campaign(status=C.ABORTED), LIMITS, HERE)
    assert aborted is not None
    assert aborted.status is R.ABORTED
    with pytest.raises(ValueError, match="no attempts"):
        plan.closed(row(status=R.RUNNING), campaign(status=C.CANCELLED), LIMITS, HERE)


# Campaigns.

BEFORE, DURING, LATER = NOW - 1, NOW, NOW + 7 * DAY_MS
WELL, NO_PACKAGE, SUSPENDED = Conditions(), Conditions(package=False), Conditions(active=False)


@pytest.mark.parametrize(
    ("said", "conditions", "now_ms", "event"),
    [
        ({"status": C.PENDING}, WELL, BEFORE, E.ACCEPT),
        ({"status": C.PENDING}, WELL, DURING, E.ACCEPT),
        ({"status": C.PENDING, "open_rows": 0}, WELL, BEFORE, E.REJECT),
        ({"status": C.PENDING, "open_rows": 0, "auto_add": True}, WELL, BEFORE, E.ACCEPT),
        ({"status": C.PENDING}, NO_PACKAGE, BEFORE, E.REJECT),
        ({"status": C.PENDING}, SUSPENDED, BEFORE, E.REJECT),
        ({"status": C.PENDING}, WELL, LATER, E.REJECT),
        ({"status": C.QUEUED}, WELL, BEFORE, None),
        ({"status": C.QUEUED, "open_rows": 0}, WELL, BEFORE, None),
        ({"status": C.QUEUED}, NO_PACKAGE, BEFORE, E.BREAK),
        ({"status": C.QUEUED}, SUSPENDED, BEFORE, None),
        ({"status": C.QUEUED}, WELL, DURING, E.LOOK),
        ({"status": C.QUEUED}, WELL, LATER, E.END),
        ({"status": C.QUEUED}, NO_PACKAGE, LATER, E.END),
        ({"status": C.PRE_SCHEDULED}, WELL, BEFORE, None),
        ({"status": C.PRE_SCHEDULED}, WELL, DURING, E.START),
        ({"status": C.PRE_SCHEDULED}, NO_PACKAGE, DURING, E.BREAK),
        ({"status": C.PRE_SCHEDULED}, WELL, LATER, E.END),
        ({}, WELL, DURING, None),
        ({}, NO_PACKAGE, DURING, None),
        ({}, WELL, LATER - 1, None),
        ({}, WELL, LATER, E.END),
        ({"open_rows": 0}, WELL, DURING, E.END),
        ({"open_rows": 0, "auto_add": True}, WELL, DURING, None),
        ({"open_rows": 0, "auto_add": True}, WELL, LATER, E.END),
        *[({"status": over}, WELL, LATER, None) for over in sorted(CAMPAIGN_OVER)],
    ],
)
def test_what_moves_a_campaign(
    said: dict[str, Any], conditions: Conditions, now_ms: int, event: CampaignEvent | None
) -> None:
    asked: Campaign = campaign(**said)
    assert plan.campaign_event(asked, conditions, now_ms) is event


def test_devices_are_added_daily() -> None:
    assert plan.next_auto_add_ms(NOW) == NOW + DAY_MS
