"""Deadlines in one heap, with dead entries swept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overair.protocols.timers import Timed, Timers


def test_order_and_ties() -> None:
    timers, one, two, three = Timers(), Timed(), Timed(), Timed()
    timers.set(one, 5.0)
    timers.set(two, 3.0)
    timers.set(three, 5.0)
    assert timers.next_due() == 3.0
    assert timers.pop_due(2.9) is None
    assert [timers.pop_due(9.0) for _ in range(4)] == [two, one, three, None]
    assert one.due is None


def test_moved_and_cleared() -> None:
    timers, one, two = Timers(), Timed(), Timed()
    timers.set(one, 1.0)
    timers.set(one, 10.0)
    timers.set(two, 2.0)
    timers.clear(two)
    timers.clear(two)
    assert timers.next_due() == 10.0
    assert timers.pop_due(10.0) is one
    assert timers.next_due() is None


def test_moving_to_the_same_time_fires_once() -> None:
    timers, one = Timers(), Timed()
    timers.set(one, 1.0)
    timers.set(one, 1.0)
    assert timers.pop_due(1.0) is one
    assert timers.pop_due(1.0) is None


def test_dead_entries_do_not_pile_up() -> None:
    timers, one = Timers(), Timed()
    for number in range(100_000):
        timers.set(one, 1000.0 + number)
    assert len(timers) < 200


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 50)), max_size=300))
def test_like_a_plain_table(moves: list[tuple[int, int | None]]) -> None:
    timers, pool, table = Timers(), [Timed() for _ in range(6)], {}
    for index, due in moves:
        if due is None:
            timers.clear(pool[index])
            table.pop(index, None)
        else:
            timers.set(pool[index], float(due))
            table[index] = float(due)
        assert timers.next_due() == (min(table.values()) if table else None)
    popped = []
    while (timed := timers.pop_due(100.0)) is not None:
        popped.append(pool.index(timed))
    assert sorted(popped) == sorted(table)
    assert [table[index] for index in popped] == sorted(table.values())
