"""Where time comes from.

Stored times are UTC epoch milliseconds (spec device-record.md, section 1).
Nothing else in Overair reads the machine's clock, so a test can move time by hand, and so can the operator
of a sandbox.
"""

import os
import secrets
import time
from pathlib import Path
from typing import Protocol

DAY_MS = 86_400_000

SANDBOX_FILE = "sandbox.clock"
SANDBOX_DAYS = 3660
"""How far a sandbox may be ahead, ten years: whatever is stored stays a time that every client can read."""


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


class ClockError(Exception):
    """A sandbox's clock can't be moved or read so; the message says why."""


class SandboxClock:
    """The machine's clock and what an operator has moved it ahead by.

    That is kept in the data directory: a restart must not bring back a time before what is stored there.
    """

    def __init__(self, data: Path) -> None:
        """Take up what the data directory says; blocks on its file."""
        self._file = data / SANDBOX_FILE
        self._ahead_ms = _ahead_ms(self._file)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms

    @property
    def ahead_ms(self) -> int:
        """How far it is ahead of the machine's clock."""
        return self._ahead_ms

    def advance(self, seconds: int) -> None:
        """Move forward once that is on the disk; blocks. Raises :class:`ClockError`."""
        if seconds < 1:
            raise ClockError("a clock is moved forward only, by a second or more")
        ahead_ms = self._ahead_ms + seconds * 1000
        if ahead_ms > SANDBOX_DAYS * DAY_MS:
            raise ClockError(f"a sandbox is ahead by {SANDBOX_DAYS} days at most")
        _write(self._file, f"{ahead_ms}\n")
        self._ahead_ms = ahead_ms


def clock_of(data: Path) -> Clock:
    """Return the clock that what is in a data directory goes by; blocks on a file."""
    return SandboxClock(data) if was_moved(data) else SystemClock()


def was_moved(data: Path) -> bool:
    """Whether a sandbox moved the clock of a data directory; blocks on a file."""
    return (data / SANDBOX_FILE).exists()


def _ahead_ms(file: Path) -> int:
    try:
        said = file.read_text(errors="replace").strip()
    except FileNotFoundError:
        return 0
    if not (said.isascii() and said.isdigit() and len(said) <= 15) or int(said) > SANDBOX_DAYS * DAY_MS:
        raise ClockError(f"{file}: must hold how many milliseconds the sandbox is ahead")
    return int(said)


def _write(file: Path, content: str) -> None:
    """Write the file under another name first: nobody ever reads half of it."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    with draft.open("w") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(file)
