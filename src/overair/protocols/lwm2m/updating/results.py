"""What becomes of an attempt that failed: the words of the record, and what is tried again when.

Source: spec lwm2m.md 8.4 and 9 (results, retries), spec device-record.md, section 7 (failure details).
"""

import enum
from typing import Final, NamedTuple

MINUTE_MS: Final = 60_000


class Detail(enum.StrEnum):
    """Why an update failed, in the words of spec device-record.md 7; the last three are ours."""

    STORAGE = "insufficient storage"
    MEMORY = "insufficient memory"
    CONNECTION = "connection lost"
    INTEGRITY = "integrity check failed"
    PACKAGE = "unsupported package"
    URI = "invalid URI"
    PROTOCOL = "unsupported protocol"
    AUTHENTICATION = "download authentication failed"
    UPDATE = "update failed"
    CANCELLED = "cancelled by device"
    DEFERRED = "deferred"
    CONFLICT = "conflicting component"
    DEPENDENCY = "dependency error"
    UNCHANGED = "version unchanged"
    NO_RESPONSE = "no response"
    ENDED = "window or campaign ended after download"
    UNKNOWN = "unknown code"
    BUSY = "device busy"
    """It did not become idle by any kind of reset (spec lwm2m.md 8.3)."""
    FORBIDDEN = "not authorised"
    """Its access control refuses us (spec lwm2m.md 5.2)."""
    PREREQUISITE = "another version is installed"
    """It has neither the version that the package starts from nor the one it leads to."""


class Remark(enum.StrEnum):
    """What is to be said of a success beyond that it is one."""

    ALREADY = "already current"
    STALE = "the device still shows an old result"
    MISMATCH = "the version differs from the package's"
    UNREADABLE = "the device does not show its version"
    TRUSTED = "the result was trusted, the version does not show it"


class Rule(NamedTuple):
    """What a result means, and the pauses before each time that it is tried again."""

    detail: Detail
    pauses_minutes: tuple[int, ...] = ()


LOST: Final = 4
CANCELLED_RESULT: Final = 10
DEFERRED_RESULT: Final = 11
CONFLICT: Final = 12
TROUBLE: Final = 500
"""A cause of ours beside the results: 5.xx answers (spec lwm2m.md 5.2)."""
UNREADABLE: Final = 501
"""A cause of ours: the state can't be read."""

RULES: Final[dict[int, Rule]] = {
    2: Rule(Detail.STORAGE),
    3: Rule(Detail.MEMORY, (0,)),
    LOST: Rule(Detail.CONNECTION, (5, 15, 60, 240, 720)),
    5: Rule(Detail.INTEGRITY, (0,)),
    6: Rule(Detail.PACKAGE),
    7: Rule(Detail.URI, (0,)),
    8: Rule(Detail.UPDATE, (0,)),
    9: Rule(Detail.PROTOCOL, (0,)),
    CANCELLED_RESULT: Rule(Detail.CANCELLED),
    DEFERRED_RESULT: Rule(Detail.DEFERRED),
    CONFLICT: Rule(Detail.CONFLICT, (0,)),
    13: Rule(Detail.DEPENDENCY),
    TROUBLE: Rule(Detail.CONNECTION, (5, 15, 60)),
    UNREADABLE: Rule(Detail.NO_RESPONSE, (5, 15, 60)),
}
"""By result in the numbers of object 5."""

_UNKNOWN: Final = Rule(Detail.UNKNOWN)


def rule_of(cause: int) -> Rule:
    """What a result means and when it is tried again; an unknown one fails for good."""
    return RULES.get(cause, _UNKNOWN)


def pause_ms(cause: int, used: int) -> int | None:
    """How long to wait before the next attempt after `used` retries for this cause; None: no more."""
    pauses = rule_of(cause).pauses_minutes
    return pauses[used] * MINUTE_MS if used < len(pauses) else None
