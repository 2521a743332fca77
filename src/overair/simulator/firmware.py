"""The states of object 5, as a device goes through them (spec lwm2m.md 8.2).

A device is idle until its server writes where the package is (pull) or the first block of it (push). It then
downloads, and when all is there and its hash is right, the package is downloaded: it may be installed by
Execute, for as long as nobody takes it back. A download that fails makes the device idle, with a result that
says why. Taking it back is a reset (the result is gone too) or a cancellation (the result says so).

Execute makes the device update. From there no request leads out: it flashes, boots, and is idle with result 1
when it runs what it was given. An installation that fails leaves the package where it was, so that Execute
may be tried again, unless it is the package's fault: then the device is idle, and needs another one. LwM2M
1.0 knows only the first of the two.

What a power cut leaves is for `updating` to say. If the device does not remember anything, it is idle, with
no result, whatever it was before.

A result of None is the failure's own. A pair that is not in the table is an UnexpectedCauseError: what a
request may not do in a state is refused before it comes to that.
"""

from __future__ import annotations

import enum
from typing import Final


class UpdateState(enum.IntEnum):
    """Resource 3 of objects 5 and 33629."""

    IDLE = 0
    DOWNLOADING = 1
    DOWNLOADED = 2
    UPDATING = 3


class Result(enum.IntEnum):
    """Resource 5 of objects 5 and 33629 (spec lwm2m.md 8.4)."""

    INITIAL = 0
    SUCCESS = 1
    STORAGE = 2
    MEMORY = 3
    CONNECTION_LOST = 4
    INTEGRITY = 5
    PACKAGE_TYPE = 6
    INVALID_URI = 7
    FAILED = 8
    PROTOCOL = 9
    CANCELLED = 10
    DEFERRED = 11


class UpdateCause(enum.StrEnum):
    """What changes the state of an update."""

    PULL = "pull"
    """A Package URI that can be used was written."""
    PUSH = "push"
    """The first block of a package came."""
    BAD_URI = "bad uri"
    BAD_SCHEME = "bad scheme"
    COMPLETE = "complete"
    """All bytes are there and are what they should be."""
    BREAK_OFF = "break off"
    """A download that came to nothing."""
    RESET = "reset"
    CANCEL = "cancel"
    EXECUTE = "execute"
    DEFER = "defer"
    """Execute came, and the user of the device has no time now."""
    SUCCEED = "succeed"
    FAIL = "fail"
    """The installation failed; the package may be tried again."""
    SPOIL = "spoil"
    """The installation failed, and the package is to blame."""
    FORGET = "forget"
    """The power went, and with it all that was known."""


class UnexpectedCauseError(Exception):
    """A cause that means nothing in the state: a fault of the simulator."""


_IDLE, _DOWNLOADING, _DOWNLOADED, _UPDATING = UpdateState

UPDATE_TRANSITIONS: Final[dict[tuple[UpdateState, UpdateCause], tuple[UpdateState, Result | None]]] = {
    (_IDLE, UpdateCause.PULL): (_DOWNLOADING, Result.INITIAL),
    (_IDLE, UpdateCause.PUSH): (_DOWNLOADING, Result.INITIAL),
    (_IDLE, UpdateCause.BAD_URI): (_IDLE, Result.INVALID_URI),
    (_IDLE, UpdateCause.BAD_SCHEME): (_IDLE, Result.PROTOCOL),
    (_IDLE, UpdateCause.RESET): (_IDLE, Result.INITIAL),
    (_IDLE, UpdateCause.FORGET): (_IDLE, Result.INITIAL),
    (_DOWNLOADING, UpdateCause.COMPLETE): (_DOWNLOADED, Result.INITIAL),
    (_DOWNLOADING, UpdateCause.BREAK_OFF): (_IDLE, None),
    (_DOWNLOADING, UpdateCause.RESET): (_IDLE, Result.INITIAL),
    (_DOWNLOADING, UpdateCause.CANCEL): (_IDLE, Result.CANCELLED),
    (_DOWNLOADING, UpdateCause.FORGET): (_IDLE, Result.INITIAL),
    (_DOWNLOADED, UpdateCause.RESET): (_IDLE, Result.INITIAL),
    (_DOWNLOADED, UpdateCause.CANCEL): (_IDLE, Result.CANCELLED),
    (_DOWNLOADED, UpdateCause.EXECUTE): (_UPDATING, Result.INITIAL),
    (_DOWNLOADED, UpdateCause.DEFER): (_DOWNLOADED, Result.DEFERRED),
    (_DOWNLOADED, UpdateCause.FORGET): (_IDLE, Result.INITIAL),
    (_UPDATING, UpdateCause.SUCCEED): (_IDLE, Result.SUCCESS),
    (_UPDATING, UpdateCause.FAIL): (_DOWNLOADED, None),
    (_UPDATING, UpdateCause.SPOIL): (_IDLE, None),
    (_UPDATING, UpdateCause.FORGET): (_IDLE, Result.INITIAL),
}

SPOILING: Final = (Result.INTEGRITY, Result.PACKAGE_TYPE)
"""Results of an installation after which LwM2M 1.1 and later throw the package away."""


def next_update_state(state: UpdateState, cause: UpdateCause, result: int = 0) -> tuple[UpdateState, int]:
    """Return the state and the result after a cause; `result` is what a failure brings."""
    try:
        after, fixed = UPDATE_TRANSITIONS[state, cause]
    except KeyError:
        raise UnexpectedCauseError(f"{cause} while {state.name.lower()}") from None
    return after, result if fixed is None else int(fixed)
