"""What a feedback makes of an action (spec ddi.md, section 5; details of failures: device-record.md, 7)."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from overair.protocols.ddi.action import Action
from overair.protocols.ddi.errors import Malformed, TooMany
from overair.protocols.ddi.records import Confirmation, Feedback
from overair.protocols.ddi.states import CLOSED, Event, State, next_state

STATUSES = 1000
"""Entries in the history of one action (spec ddi.md, section 7)."""
REJECTIONS = 5
"""After so many the device is taken at its word (section 5.1)."""
SKIP_MS = 1000
"""A success that comes this soon after "do not install" is none (section 4, guard)."""

CANCELLED_BY_DEVICE = "cancelled by device"
DEFERRED = "deferred"
SKIPPED = "skipped by device"

# Of a deployment: execution, and what the history shows for it.
_GOING_ON = {
    "proceeding": "RUNNING",
    "scheduled": "RUNNING",
    "resumed": "RUNNING",
    "download": "DOWNLOAD",
    "downloaded": "DOWNLOADED",
}
_EXECUTIONS = frozenset({*_GOING_ON, "closed", "canceled", "rejected"})

# What clients write when something fails, in lower case, and what owners are told of it.
_REASONS = (
    (("no space", "insufficient storage", "disk full", "not enough space"), "insufficient storage"),
    (("out of memory", "insufficient memory"), "insufficient memory"),
    (("checksum", "hash", "digest", "signature"), "integrity check failed"),
    (("unsupported", "filetype", "file type", "chunk"), "unsupported package"),
)


class Outcome(Struct, frozen=True):
    """An action after something was said of it, and the entry that its history gets."""

    action: Action
    status: str
    messages: tuple[str, ...]
    at_ms: int


def of_deployment(action: Action, feedback: Feedback, now_ms: int) -> Outcome:
    """Return what feedback to an open action makes of it (section 5.1).

    Raises :class:`Malformed` for an execution that nobody knows, :class:`TooMany` when the history is full;
    final feedback finds room in it always.
    """
    execution, finished = feedback.status.execution, feedback.status.result.finished
    messages, at_ms = feedback.messages, feedback.at_ms(now_ms)
    _check(execution, action)
    seen = _seen(action, now_ms)
    if execution == "closed":
        status, after = _closed(seen, finished, messages, now_ms)
    elif execution == "canceled":
        status, after = "CANCELED", _canceled(seen, now_ms)
    elif execution == "rejected":
        status, after = "WARNING", _rejected(seen, now_ms)
    else:
        status, after = _GOING_ON[execution], moved(seen, Event.PROGRESS, now_ms)
    return _noted(after, status, messages, at_ms)


def of_cancellation(action: Action, feedback: Feedback, now_ms: int) -> Outcome:
    """Return what the answer to a cancellation makes of an action that is being cancelled (section 5.2)."""
    execution, finished = feedback.status.execution, feedback.status.result.finished
    _check(execution, action)
    seen = _seen(action, now_ms)
    if execution == "closed" and finished != "failure":
        status, after = "CANCELED", moved(seen, Event.AGREE, now_ms)
    elif execution == "closed":
        status, after = "ERROR", moved(seen, Event.REFUSE, now_ms)
    elif execution == "rejected":
        status, after = "CANCEL_REJECTED", moved(seen, Event.REFUSE, now_ms)
    else:
        status = "WARNING" if execution == "canceled" else "RUNNING"
        after = moved(seen, Event.PROGRESS, now_ms)
    return _noted(after, status, feedback.messages, feedback.at_ms(now_ms))


def of_confirmation(action: Action, said: Confirmation, now_ms: int) -> Outcome:
    """Return what a device's word makes of an action that waits for it; denied, it goes on waiting."""
    if action.statuses >= STATUSES:
        raise TooMany(f"{STATUSES} entries for action {action.id}")
    if said.confirmation == "confirmed":
        after = moved(action, Event.CONFIRM, now_ms)
        return _noted(after, "RUNNING", said.messages, now_ms)
    return _noted(action, "WAIT_FOR_CONFIRMATION", said.messages, now_ms)


def of_server(action: Action, status: str, message: str, now_ms: int) -> Outcome:
    """Return an action of which something is noted that the device did not say."""
    return _noted(action, status, (message,), now_ms)


def moved(action: Action, event: Event, now_ms: int, *, detail: str = "", retry: bool = False) -> Action:
    """Return an action after an event."""
    state = next_state(action.state, event)
    closed_ms = now_ms if state in CLOSED else None
    cancelled_ms = now_ms if state is State.CANCELLING and event is Event.CANCEL else action.cancelled_ms
    return msgspec.structs.replace(
        action, state=state, closed_ms=closed_ms, detail=detail, retry=retry, cancelled_ms=cancelled_ms
    )


def reason_of(messages: Sequence[str]) -> str:
    """Return what owners are told of a failure, from what the client wrote."""
    said = " ".join(messages).lower()
    for words, reason in _REASONS:
        if any(word in said for word in words):
            return reason
    return "update failed"


def _check(execution: str, action: Action) -> None:
    if execution not in _EXECUTIONS:
        raise Malformed("status.execution", f"must be one of {', '.join(sorted(_EXECUTIONS))}")
    if action.statuses >= STATUSES and execution not in ("closed", "canceled"):
        raise TooMany(f"{STATUSES} entries for action {action.id}")


def _seen(action: Action, now_ms: int) -> Action:
    return msgspec.structs.replace(action, progressed_ms=now_ms, begun=True)


def _closed(action: Action, finished: str, messages: Sequence[str], now_ms: int) -> tuple[str, Action]:
    if finished == "failure":
        return "ERROR", moved(action, Event.FAIL, now_ms, detail=reason_of(messages))
    skipped_ms = action.skipped_ms
    if skipped_ms is not None and not action.downloaded and now_ms - skipped_ms < SKIP_MS:
        return "ERROR", moved(action, Event.FAIL, now_ms, detail=SKIPPED, retry=True)
    return "FINISHED", moved(action, Event.SUCCEED, now_ms)


def _canceled(action: Action, now_ms: int) -> Action:
    if action.state is State.CANCELLING:
        return moved(action, Event.AGREE, now_ms)
    return moved(action, Event.FAIL, now_ms, detail=CANCELLED_BY_DEVICE)


def _rejected(action: Action, now_ms: int) -> Action:
    rejections = action.rejections + 1
    counted = msgspec.structs.replace(action, rejections=rejections)
    if rejections >= REJECTIONS:
        return moved(counted, Event.FAIL, now_ms, detail=DEFERRED)
    return moved(counted, Event.PROGRESS, now_ms)


def _noted(action: Action, status: str, messages: tuple[str, ...], at_ms: int) -> Outcome:
    counted = msgspec.structs.replace(action, statuses=action.statuses + 1)
    return Outcome(counted, status, messages, at_ms)
