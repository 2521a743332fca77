"""What a device keeps when the power goes: the firmware it runs, and the package that is to replace it.

There are two slots to boot from. An installation writes the one that is not in use, so a power cut in the
middle of it leaves a device that boots into what it had.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from msgspec import Struct

from overair.simulator.image import Slot
from overair.simulator.source import Source


class Bank(Struct):
    """The memory of one component, or of one software package."""

    version: str
    """What runs."""
    other: str | None = None
    """What the second slot boots into; None while there is nothing whole in it."""
    package: Slot | None = None
    """What was downloaded, or as much as came."""
    source: Source | None = None
    """Where that is pulled from, None for what was pushed."""
    etag: bytes = b""
    size_bytes: int = 0
    """Of the package, as far as announced."""
    half: bool = False
    """Whether half of it was there already."""
    claim: int | None = None
    """The result that it will show after the boot, whatever it boots into."""
    mishaps: int = 0

    def clear(self, source: Source | None = None) -> Slot:
        """Make room for another package."""
        self.package = package = Slot()
        self.source = source
        self.etag = b""
        self.size_bytes = 0
        self.half = False
        return package

    def forget(self) -> None:
        """Throw the package away."""
        self.clear()
        self.package = None


class What(enum.StrEnum):
    """What can happen to a device in an update, of what its service must answer for."""

    DOWNLOAD = "download"
    """A download begins; the detail is the URI, or "push"."""
    DOWNLOADED = "downloaded"
    EXECUTE = "execute"
    """Update or Install was executed, whatever came of it."""
    FLASHED = "flashed"
    """A slot was written whole."""
    BOOTED = "booted"
    """It runs another version than before."""
    FAILED = "failed"
    """The detail is the result."""
    POWER_CUT = "power cut"
    MOVED = "moved"
    SLEPT = "slept"


class Happening(NamedTuple):
    """One line of a device's history. `at` is seconds of its clock; `path` the object instance.

    `detail` is the version if not said otherwise.
    """

    at: float
    what: What
    path: tuple[int, int]
    detail: str
