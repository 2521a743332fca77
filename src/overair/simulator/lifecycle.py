"""The life of a registration, as a device sees it (spec lwm2m.md 3.1-3.7).

A device is off until it is started. It registers; whoever refuses it with 4.xx knows why, so it does not
ask again. Where there is no answer, or a 5.xx, it waits, longer each time. Once registered it sends Updates
in time; one that is answered with 4.xx (4.04 says that the registration is gone) makes it register anew at
once, one without answer after a wait. A reboot forgets everything but the object tree. De-registering ends
at the answer, when there is none, or by a second stop.

A pair that is not in the table is an UnexpectedEventError.
"""

from __future__ import annotations

import enum
from typing import Final


class State(enum.StrEnum):
    """Where a device stands; members equal their text."""

    OFF = "off"
    REGISTERING = "registering"
    REGISTERED = "registered"
    UPDATING = "updating"
    WAITING = "waiting"
    """No answer; it will register again."""
    REFUSED = "refused"
    REBOOTING = "rebooting"
    LEAVING = "leaving"


class Cause(enum.StrEnum):
    """What changes a state."""

    START = "start"
    STOP = "stop"
    REBOOT = "reboot"
    DUE = "due"
    """The time that was set has come."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    """An answer 4.xx, but for those that ask for patience."""
    FAILED = "failed"
    """No answer, a 5.xx, or an answer without sense."""


class Effect(enum.StrEnum):
    """What the device does at a change of state."""

    REGISTER = "register"
    UPDATE = "update"
    DEREGISTER = "deregister"
    PLAN_UPDATE = "plan_update"
    BACK_OFF = "back_off"
    SHUT_DOWN = "shut_down"
    """Forget the registration and all that is under way."""
    POWER_UP = "power_up"
    """Register with an endpoint that knows nothing of what was before."""


class UnexpectedEventError(Exception):
    """A cause that means nothing in the state: a fault of the caller."""


TRANSITIONS: Final[dict[tuple[State, Cause], tuple[State, Effect]]] = {
    (State.OFF, Cause.START): (State.REGISTERING, Effect.POWER_UP),
    (State.REFUSED, Cause.START): (State.REGISTERING, Effect.POWER_UP),
    (State.REGISTERING, Cause.ACCEPTED): (State.REGISTERED, Effect.PLAN_UPDATE),
    (State.REGISTERING, Cause.REJECTED): (State.REFUSED, Effect.SHUT_DOWN),
    (State.REGISTERING, Cause.FAILED): (State.WAITING, Effect.BACK_OFF),
    (State.WAITING, Cause.DUE): (State.REGISTERING, Effect.REGISTER),
    (State.REGISTERED, Cause.DUE): (State.UPDATING, Effect.UPDATE),
    (State.UPDATING, Cause.ACCEPTED): (State.REGISTERED, Effect.PLAN_UPDATE),
    (State.UPDATING, Cause.REJECTED): (State.REGISTERING, Effect.REGISTER),
    (State.UPDATING, Cause.FAILED): (State.WAITING, Effect.BACK_OFF),
    (State.REGISTERING, Cause.REBOOT): (State.REBOOTING, Effect.SHUT_DOWN),
    (State.REGISTERED, Cause.REBOOT): (State.REBOOTING, Effect.SHUT_DOWN),
    (State.UPDATING, Cause.REBOOT): (State.REBOOTING, Effect.SHUT_DOWN),
    (State.WAITING, Cause.REBOOT): (State.REBOOTING, Effect.SHUT_DOWN),
    (State.REBOOTING, Cause.REBOOT): (State.REBOOTING, Effect.SHUT_DOWN),
    (State.REBOOTING, Cause.DUE): (State.REGISTERING, Effect.POWER_UP),
    (State.OFF, Cause.STOP): (State.OFF, Effect.SHUT_DOWN),
    (State.REGISTERING, Cause.STOP): (State.OFF, Effect.SHUT_DOWN),
    (State.REGISTERED, Cause.STOP): (State.LEAVING, Effect.DEREGISTER),
    (State.UPDATING, Cause.STOP): (State.LEAVING, Effect.DEREGISTER),
    (State.WAITING, Cause.STOP): (State.OFF, Effect.SHUT_DOWN),
    (State.REFUSED, Cause.STOP): (State.OFF, Effect.SHUT_DOWN),
    (State.REBOOTING, Cause.STOP): (State.OFF, Effect.SHUT_DOWN),
    (State.LEAVING, Cause.STOP): (State.OFF, Effect.SHUT_DOWN),
    (State.LEAVING, Cause.REBOOT): (State.OFF, Effect.SHUT_DOWN),
    (State.LEAVING, Cause.ACCEPTED): (State.OFF, Effect.SHUT_DOWN),
    (State.LEAVING, Cause.REJECTED): (State.OFF, Effect.SHUT_DOWN),
    (State.LEAVING, Cause.FAILED): (State.OFF, Effect.SHUT_DOWN),
}


def next_state(state: State, cause: Cause) -> tuple[State, Effect]:
    """Return what becomes of a state, and what is to be done."""
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise UnexpectedEventError(f"{cause} while {state}") from None
