"""Deadlines of an endpoint: one heap, entries left in it when they no longer count.

Moving or clearing a deadline costs no search. Dead entries are swept when they are the majority, so
the heap stays within twice the live ones and a cleared object is not held until its old deadline.
"""

from __future__ import annotations

import heapq
from typing import Final

_SWEEP_FROM: Final = 64


class Timed:
    """Something with a deadline: `due` is a time in seconds, None while it waits for nothing."""

    __slots__ = ("due",)

    def __init__(self) -> None:
        self.due: float | None = None


class Timers:
    """The deadlines of Timed objects, each with at most one."""

    __slots__ = ("_dead", "_heap", "_tickets")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._tickets = 0
        self._dead = 0

    def __len__(self) -> int:
        """Entries in the heap, dead ones included."""
        return len(self._heap)

    def set(self, timed: Timed, due: float) -> None:
        """Give `timed` this deadline in place of the one it has."""
        self.clear(timed)
        timed.due = due
        # The ticket orders equal deadlines first come, first served, and keeps heapq off `timed`.
        self._tickets += 1
        heapq.heappush(self._heap, (due, self._tickets, timed))

    def clear(self, timed: Timed) -> None:
        """Take the deadline away, if there is one."""
        if timed.due is None:
            return
        timed.due = None
        self._dead += 1
        if self._dead > _SWEEP_FROM and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].due == entry[0]]
            heapq.heapify(self._heap)
            self._dead = 0

    def next_due(self) -> float | None:
        """The earliest deadline."""
        heap = self._heap
        while heap and heap[0][2].due != heap[0][0]:
            heapq.heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> Timed | None:
        """An object whose deadline has come; it has none afterwards."""
        due = self.next_due()
        if due is None or due > now:
            return None
        timed = heapq.heappop(self._heap)[2]
        timed.due = None
        return timed
