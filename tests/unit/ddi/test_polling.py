"""When devices come again (spec ddi.md, 2.1 and test 9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.ddi.polling import Polling, interval, text

from .made import NOW_MS

STEADY = Polling(300, 0)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (30, "00:00:30"),
        (300, "00:05:00"),
        (86_399, "23:59:59"),
        (25 * 3600, "23:59:59"),
        (0, "00:00:30"),
        (-5, "00:00:30"),
        (3661, "01:01:01"),
    ],
)
def test_the_format_has_eight_characters(seconds: int, shown: str) -> None:
    assert text(seconds) == shown
    assert len(text(seconds)) == 8


def test_a_device_with_something_to_do_comes_soon() -> None:
    assert interval(STEADY, NOW_MS, 1, busy=True, opens_ms=None) == 30
    assert interval(STEADY, NOW_MS, 1, busy=False, opens_ms=None) == 300


@pytest.mark.parametrize(("ahead_seconds", "seconds"), [(3600, 300), (600, 200), (90, 30), (10, 30), (0, 30)])
def test_near_a_window_it_comes_more_often(ahead_seconds: int, seconds: int) -> None:
    opens_ms = NOW_MS + ahead_seconds * 1000
    assert interval(STEADY, NOW_MS, 1, busy=False, opens_ms=opens_ms) == seconds


@given(st.integers(0, 10**15), st.integers(0, 2**42), st.integers(30, 86_399), st.integers(0, 50))
def test_jitter_stays_within_its_share(seed: int, now_ms: int, seconds: int, percent: int) -> None:
    found = interval(Polling(seconds, percent), now_ms, seed, busy=False, opens_ms=None)
    spread = seconds * percent / 100 + 1
    assert max(30, seconds - spread) <= found <= min(86_399, seconds + spread)


def test_jitter_spreads_devices_with_neighbouring_numbers() -> None:
    found = {interval(Polling(300, 10), NOW_MS, seed, busy=False, opens_ms=None) for seed in range(500)}
    assert len(found) > 40
    assert min(found) < 280
    assert max(found) > 320
