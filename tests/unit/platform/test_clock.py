"""Where time comes from."""

import time

import pytest

from overair.platform.clock import DAY_MS, Clock, SystemClock, VirtualClock


def test_the_systems_clock_tells_milliseconds_since_1970() -> None:
    clock: Clock = SystemClock()
    before = time.time_ns() // 1_000_000
    now_ms = clock.now_ms()
    assert isinstance(now_ms, int)
    assert before <= now_ms <= time.time_ns() // 1_000_000


def test_a_virtual_clock_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock()
    assert (clock.now_ms(), clock.now_ms()) == (1_767_225_600_000,) * 2  # 2026-01-01
    clock.advance(1.5)
    assert clock.now_ms() == 1_767_225_601_500
    clock.advance(0)
    assert clock.now_ms() == 1_767_225_601_500


def test_a_virtual_clock_starts_where_it_is_told_and_never_runs_back() -> None:
    clock = VirtualClock(DAY_MS)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-0.001)
    assert clock.now_ms() == 24 * 60 * 60 * 1000


def test_small_steps_add_up() -> None:
    clock = VirtualClock(0)
    for _ in range(1000):
        clock.advance(0.001)
    assert clock.now_ms() == 1000
