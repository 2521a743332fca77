"""The states of an instance of object 9, as a device goes through them (spec lwm2m.md 9).

A package is delivered (by pull or push, then its hash is looked at), installed and activated, each at its own
request. A new version of what is installed comes by preparing for it: Uninstall with argument 1 makes the
instance ready for a package, and the program runs on until that one is installed. Uninstall without argument
removes it.

A result of None is the failure's own.
"""

from __future__ import annotations

import enum
from typing import Final

from overair.simulator.firmware import Result, UnexpectedCauseError


class SoftwareState(enum.IntEnum):
    """Resource 7 of object 9."""

    INITIAL = 0
    DOWNLOAD_STARTED = 1
    DOWNLOADED = 2
    DELIVERED = 3
    INSTALLED = 4


class SoftwareResult(enum.IntEnum):
    """Resource 9 of object 9."""

    INITIAL = 0
    DOWNLOADING = 1
    INSTALLED = 2
    DELIVERED = 3
    STORAGE = 50
    MEMORY = 51
    CONNECTION_LOST = 52
    INTEGRITY = 53
    PACKAGE_TYPE = 54
    INVALID_URI = 56
    DEVICE_ERROR = 57
    INSTALL_FAILED = 58
    UNINSTALL_FAILED = 59


class SoftwareCause(enum.StrEnum):
    """What changes the state of a software package."""

    BEGIN = "begin"
    """A URI that can be used was written, or the first block of a package came."""
    BAD_URI = "bad uri"
    ARRIVE = "arrive"
    """All bytes are there."""
    BREAK_OFF = "break off"
    VERIFY = "verify"
    REJECT = "reject"
    """The bytes are not what they should be."""
    INSTALL = "install"
    FAIL = "fail"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    UNINSTALL = "uninstall"


_INITIAL, _STARTED, _DOWNLOADED, _DELIVERED, _INSTALLED = SoftwareState

SOFTWARE_TRANSITIONS: Final[
    dict[tuple[SoftwareState, SoftwareCause], tuple[SoftwareState, SoftwareResult | None]]
] = {
    (_INITIAL, SoftwareCause.BEGIN): (_STARTED, SoftwareResult.DOWNLOADING),
    (_INITIAL, SoftwareCause.BAD_URI): (_INITIAL, None),
    (_INITIAL, SoftwareCause.UNINSTALL): (_INITIAL, SoftwareResult.INITIAL),
    (_STARTED, SoftwareCause.ARRIVE): (_DOWNLOADED, SoftwareResult.DOWNLOADING),
    (_STARTED, SoftwareCause.BREAK_OFF): (_INITIAL, None),
    (_DOWNLOADED, SoftwareCause.VERIFY): (_DELIVERED, SoftwareResult.DELIVERED),
    (_DOWNLOADED, SoftwareCause.REJECT): (_INITIAL, None),
    (_DELIVERED, SoftwareCause.INSTALL): (_INSTALLED, SoftwareResult.INSTALLED),
    (_DELIVERED, SoftwareCause.FAIL): (_DELIVERED, None),
    (_DELIVERED, SoftwareCause.UNINSTALL): (_INITIAL, SoftwareResult.INITIAL),
    (_INSTALLED, SoftwareCause.ACTIVATE): (_INSTALLED, SoftwareResult.INSTALLED),
    (_INSTALLED, SoftwareCause.DEACTIVATE): (_INSTALLED, SoftwareResult.INSTALLED),
    (_INSTALLED, SoftwareCause.UNINSTALL): (_INITIAL, SoftwareResult.INITIAL),
}

SOFTWARE_RESULTS: Final[dict[int, SoftwareResult]] = {
    Result.STORAGE: SoftwareResult.STORAGE,
    Result.MEMORY: SoftwareResult.MEMORY,
    Result.CONNECTION_LOST: SoftwareResult.CONNECTION_LOST,
    Result.INTEGRITY: SoftwareResult.INTEGRITY,
    Result.PACKAGE_TYPE: SoftwareResult.PACKAGE_TYPE,
    Result.INVALID_URI: SoftwareResult.INVALID_URI,
    Result.FAILED: SoftwareResult.INSTALL_FAILED,
    Result.PROTOCOL: SoftwareResult.INVALID_URI,
}
"""What object 9 calls a result of object 5; another one is an error of the device's own."""


def next_software_state(
    state: SoftwareState, cause: SoftwareCause, result: int = 0
) -> tuple[SoftwareState, int]:
    """Return the state and the result after a cause; `result` is what a failure brings."""
    try:
        after, fixed = SOFTWARE_TRANSITIONS[state, cause]
    except KeyError:
        raise UnexpectedCauseError(f"{cause} while {state.name.lower()}") from None
    return after, result if fixed is None else int(fixed)
