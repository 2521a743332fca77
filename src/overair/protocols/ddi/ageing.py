"""What becomes of an action by itself, or because it is to be stopped (spec ddi.md, section 6)."""

from msgspec import Struct

from overair.protocols.ddi.action import Action
from overair.protocols.ddi.feedback import Outcome, moved, of_server
from overair.protocols.ddi.states import Event, State

NO_PROGRESS = "connection lost"


class Circumstances(Struct, frozen=True, kw_only=True):
    """What matters besides the action itself."""

    stops: bool
    """Whether it is to be stopped."""
    heard_ms: int | None
    """When the device last came."""
    waits: bool
    """Whether it may be that the device is not shown it yet."""
    stuck_ms: int
    """How long a device may come and do nothing."""
    ending_ms: int
    """How long a device has to answer that it is to stop."""


def due(action: Action, around: Circumstances, now_ms: int) -> Outcome | None:
    """Return what is to become of an open action now; None: it goes on."""
    if action.state is State.CANCELLING:
        asked_ms = action.cancelled_ms or action.opened_ms
        is_late = now_ms - asked_ms >= around.ending_ms
        return withdrawn(action, "closed without the device", now_ms) if is_late else None
    if around.stops and not _was_refused(action):
        return _stopped(action, now_ms)
    if _is_stuck(action, around):
        after = moved(action, Event.FAIL, now_ms, detail=NO_PROGRESS, retry=True)
        return of_server(after, "ERROR", "no progress", now_ms)
    return None


def withdrawn(action: Action, reason: str, now_ms: int) -> Outcome:
    """Return an action that is closed without its device."""
    return of_server(moved(action, Event.WITHDRAW, now_ms), "CANCELED", reason, now_ms)


def _stopped(action: Action, now_ms: int) -> Outcome:
    """Ask the device if it has seen the action; else it need not know."""
    if action.state is State.RUNNING and action.retrieved_ms is not None:
        asked = moved(action, Event.CANCEL, now_ms)
        return of_server(asked, "CANCELING", "the device is asked to stop", now_ms)
    return withdrawn(action, "taken back", now_ms)


def _was_refused(action: Action) -> bool:
    """Whether the device was asked to stop it, and goes on: it is not asked again."""
    return action.state is State.RUNNING and action.cancelled_ms is not None


def _is_stuck(action: Action, around: Circumstances) -> bool:
    """Whether the device comes and does nothing; one that is away may be at work."""
    if action.state is not State.RUNNING or (around.waits and not action.begun):
        return False
    idle_ms = 0 if around.heard_ms is None else around.heard_ms - action.progressed_ms
    return idle_ms >= around.stuck_ms
