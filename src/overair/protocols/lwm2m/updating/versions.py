"""Comparing versions, and whether an update succeeded (spec lwm2m.md 8.7)."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from overair.protocols.lwm2m.updating.results import DEFERRED_RESULT, Detail, Remark

SUCCESS = 1
BLANKS = " \t\r\n\0"


def normal(version: str, pattern: str | None = None) -> str:
    """What of a version counts: without white space and NULs around it, and as the pattern finds it."""
    text = version.strip(BLANKS)
    match = re.search(pattern, text) if pattern else None
    if match is None:
        return text
    return (match[1] if match.re.groups else match[0]) or ""


def same(one: str | None, other: str | None, pattern: str | None = None) -> bool:
    """Whether two versions are the same, letter by letter; one that is missing or empty is like no other."""
    if not one or not other:
        return False
    return bool(normal(one, pattern)) and normal(one, pattern) == normal(other, pattern)


class Verdict(NamedTuple):
    """Exactly one of: success (`remark` may say more), a failure, a result to fail by; all empty: wait.

    `detail` beside nothing else is the failure that waiting ends in.
    """

    success: bool = False
    remark: Remark | None = None
    failure: Detail | None = None
    result: int = 0
    detail: Detail | None = None


class Evidence(NamedTuple):
    """What a device shows after an update. `version` None: not readable. `idle`: its state is 0.

    `trusted` is None unless the model's result counts instead of its version: then what else of it names a
    version.
    """

    version: str | None
    result: int
    idle: bool
    returned: bool
    trusted: Sequence[str] | None = None


def judge(seen: Evidence, *, target: str, previous: str | None, pattern: str | None = None) -> Verdict:
    """Whether the update succeeded.

    The old version with no result at all is a failure once the device has registered again; until then it
    may be about to reboot.
    """
    result = seen.result
    if same(seen.version, target, pattern):
        return Verdict(success=True, remark=Remark.STALE if result not in (0, SUCCESS) else None)
    if result not in (0, SUCCESS):
        # A deferral that is over says nothing any more.
        return Verdict(result=result) if result != DEFERRED_RESULT else Verdict(detail=Detail.DEFERRED)
    unchanged = same(seen.version, previous, pattern)
    if result == SUCCESS:
        return _claimed(seen, target, pattern, unchanged)
    detail = Detail.UNCHANGED if unchanged else Detail.UPDATE
    over = seen.returned and (seen.idle or not unchanged)
    return Verdict(failure=detail) if over else Verdict(detail=detail)


def _claimed(seen: Evidence, target: str, pattern: str | None, unchanged: bool) -> Verdict:
    """The device claims success and shows another version than the target, or none."""
    if seen.trusted is not None:
        return _trusting(seen.trusted, target, pattern)
    if unchanged:
        return Verdict(detail=Detail.UNCHANGED)
    return Verdict(success=True, remark=Remark.MISMATCH if seen.version else Remark.UNREADABLE)


def _trusting(named: Sequence[str], target: str, pattern: str | None) -> Verdict:
    if any(same(version, target, pattern) for version in named):
        return Verdict(success=True)
    if not named:
        return Verdict(success=True, remark=Remark.TRUSTED)
    return Verdict(detail=Detail.UNCHANGED)
