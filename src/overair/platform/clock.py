"""Where time comes from.

Stored times are UTC epoch milliseconds (spec device-record.md, section 1).
Nothing else in Overair reads the machine's clock, so a test can move time by hand.
"""

import time
from typing import Protocol

DAY_MS = 86_400_000


class Clock(Protocol):
    """Tells the time of day."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 00:00 UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class VirtualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start_ms: int = 1_767_225_600_000) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, seconds: float) -> None:
        """Move forward; time never runs back."""
        if seconds < 0:
            raise ValueError("a clock can't be moved back")
        self._now_ms += round(seconds * 1000)
