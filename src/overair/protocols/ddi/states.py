"""The life of an action: one update of one device, as the device is told of it (spec ddi.md, section 6).

An action is *running* from the moment that the device may fetch it; where the account wants it, it first
waits to be *confirmed* by the device. It stays on offer until the device sends its final feedback, since
some clients report success only when they find the same action again after their restart. Whether and when
its link is shown is another matter (:mod:`overair.protocols.ddi.offering`).

To stop an action that the device may have begun, the device is asked: it is *cancelling* until the device
agrees, or goes on with it. The device may also finish in the meantime, and what it says counts. One that the
device has not begun is simply taken back, and so is one whose device never answers.

What is *finished*, *failed* or *cancelled* stays so. Another try is another action, with another number: a
client that remembers the number of what it installed would take the same one for done.

A transition that is not in the table is a mistake of this program, and raises one exception.
"""

from enum import StrEnum


class State(StrEnum):
    """Where an action stands."""

    CONFIRMING = "wait for confirmation"
    RUNNING = "running"
    CANCELLING = "cancelling"
    FINISHED = "finished"
    FAILED = "error"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What moves an action."""

    CONFIRM = "the device agrees to it"
    PROGRESS = "the device is at it"
    SUCCEED = "the device has what it was to get"
    FAIL = "the device could not do it, or will not"
    CANCEL = "it is to be stopped, and the device is asked"
    AGREE = "the device stopped it"
    REFUSE = "the device goes on with it"
    WITHDRAW = "it is taken back without the device"


class TransitionError(Exception):
    """Something happened that cannot happen in that state."""


TABLE: dict[tuple[State, Event], State] = {
    (State.CONFIRMING, Event.CONFIRM): State.RUNNING,
    (State.CONFIRMING, Event.WITHDRAW): State.CANCELLED,
    (State.RUNNING, Event.PROGRESS): State.RUNNING,
    (State.RUNNING, Event.SUCCEED): State.FINISHED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.CANCEL): State.CANCELLING,
    (State.RUNNING, Event.WITHDRAW): State.CANCELLED,
    (State.CANCELLING, Event.PROGRESS): State.CANCELLING,
    (State.CANCELLING, Event.SUCCEED): State.FINISHED,
    (State.CANCELLING, Event.FAIL): State.FAILED,
    (State.CANCELLING, Event.AGREE): State.CANCELLED,
    (State.CANCELLING, Event.REFUSE): State.RUNNING,
    (State.CANCELLING, Event.WITHDRAW): State.CANCELLED,
}

CLOSED = frozenset({State.FINISHED, State.FAILED, State.CANCELLED})


def next_state(state: State, event: Event) -> State:
    """Return the state after an event; :class:`TransitionError` if it can't happen."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise TransitionError(f"an action that is {state}: {event}") from None
