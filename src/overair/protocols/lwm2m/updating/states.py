"""The phases of one device's update as a table: (phase, event) → phase (spec lwm2m.md 8.6, 8.8, 9).

The way of an update that meets no trouble is

    queued → prepare → observe → deliver → downloading → downloaded → execute → installing → verify → done

*prepare* reads what the device has; a device that isn't idle, or still shows the result of another update,
goes through *reset* first. *deliver* gives the image's address, or the image itself; only when the device
says that it has all of it, and the owner lets it install, is it told to (*execute*). *verify* asks for the
version that runs: an update has succeeded when the device says so afterwards, never because it took a
request. Software has one phase more, since installed is not yet running: *activate*.

A phase says what is expected of the device, not what was sent to it. It moves by what the device shows, so
whoever finds a job after a crash reads the device again and goes on from there: a device that installs by
itself goes from *downloading* straight to *installing*, one that came back with the image but without
installing it is told once more.

An attempt that failed may be made again later: RETRY leads back to *queued* from wherever it failed. A job
can always fail, and until the image is installed it can be cancelled: at once while nothing was delivered,
by way of *cancelling* while the device has part of it or all. What is not in the table is an error of ours.
"""

import enum
from typing import Final


class UpdateStateError(Exception):
    """An event in a phase where the table has none for it."""


class Phase(enum.StrEnum):
    """Where a job stands; the members equal their text."""

    QUEUED = "queued"
    PREPARE = "prepare"
    RESET = "reset"
    OBSERVE = "observe"
    DELIVER = "deliver"
    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    EXECUTE = "execute"
    INSTALLING = "installing"
    ACTIVATE = "activate"
    VERIFY = "verify"
    REMOVE = "remove"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(enum.StrEnum):
    """What moves a job."""

    AWAKE = "awake"
    READY = "ready"
    """Nothing stands in the way of the next phase."""
    UNCLEAN = "not idle, or an old result"
    KEPT = "has the image already"
    PRESENT = "installed, not active"
    REMOVABLE = "is to be removed"
    BUSY = "installing something"
    WAITED = "read long ago"
    STARTED = "took the request"
    BROKEN = "transfer broken"
    ARRIVED = "downloaded"
    WINDOW = "may install"
    EXECUTED = "took the command"
    ITSELF = "installs by itself"
    RETURNED = "installed or given up"
    INSTALLED = "installed"
    ACTIVE = "active"
    SUCCEEDED = "is as wanted"
    RETRY = "try again later"
    FAILED = "failed"
    DROP = "nothing to take back"
    CANCEL = "cancelled"


FINAL: Final = frozenset({Phase.DONE, Phase.FAILED, Phase.CANCELLED})

Table = dict[tuple[Phase, Event], Phase]

_ORDINARY: Final[Table] = {
    (Phase.QUEUED, Event.AWAKE): Phase.PREPARE,
    (Phase.PREPARE, Event.READY): Phase.OBSERVE,
    (Phase.PREPARE, Event.UNCLEAN): Phase.RESET,
    (Phase.PREPARE, Event.KEPT): Phase.DOWNLOADED,
    (Phase.PREPARE, Event.PRESENT): Phase.ACTIVATE,
    (Phase.PREPARE, Event.REMOVABLE): Phase.REMOVE,
    (Phase.PREPARE, Event.SUCCEEDED): Phase.DONE,
    (Phase.RESET, Event.READY): Phase.OBSERVE,
    (Phase.RESET, Event.BUSY): Phase.PREPARE,
    (Phase.OBSERVE, Event.READY): Phase.DELIVER,
    (Phase.DELIVER, Event.STARTED): Phase.DOWNLOADING,
    (Phase.DELIVER, Event.BROKEN): Phase.RESET,
    (Phase.DELIVER, Event.WAITED): Phase.PREPARE,
    (Phase.DOWNLOADING, Event.ARRIVED): Phase.DOWNLOADED,
    (Phase.DOWNLOADING, Event.ITSELF): Phase.INSTALLING,
    (Phase.DOWNLOADED, Event.WINDOW): Phase.EXECUTE,
    (Phase.DOWNLOADED, Event.ITSELF): Phase.INSTALLING,
    (Phase.EXECUTE, Event.EXECUTED): Phase.INSTALLING,
    (Phase.INSTALLING, Event.RETURNED): Phase.VERIFY,
    (Phase.INSTALLING, Event.INSTALLED): Phase.ACTIVATE,
    (Phase.ACTIVATE, Event.ACTIVE): Phase.VERIFY,
    (Phase.VERIFY, Event.BUSY): Phase.INSTALLING,
    (Phase.VERIFY, Event.SUCCEEDED): Phase.DONE,
    (Phase.REMOVE, Event.SUCCEEDED): Phase.DONE,
    (Phase.CANCELLING, Event.ITSELF): Phase.INSTALLING,
    (Phase.CANCELLING, Event.DROP): Phase.CANCELLED,
}

_DROPPED_IN: Final = (Phase.QUEUED, Phase.PREPARE, Phase.RESET, Phase.OBSERVE, Phase.DELIVER)
_CANCELLED_IN: Final = (Phase.DELIVER, Phase.DOWNLOADING, Phase.DOWNLOADED, Phase.EXECUTE)
_RETRIED_IN: Final = (
    Phase.PREPARE,
    Phase.DELIVER,
    Phase.DOWNLOADING,
    Phase.EXECUTE,
    Phase.INSTALLING,
    Phase.VERIFY,
)

TABLE: Final[Table] = (
    _ORDINARY
    | {(phase, Event.RETRY): Phase.QUEUED for phase in _RETRIED_IN}
    | {(phase, Event.DROP): Phase.CANCELLED for phase in _DROPPED_IN}
    | {(phase, Event.CANCEL): Phase.CANCELLING for phase in _CANCELLED_IN}
    | {(phase, Event.FAILED): Phase.FAILED for phase in Phase if phase not in FINAL}
)
"""Every transition there is."""


def follow(phase: Phase, event: Event) -> Phase:
    """The phase after an event; UpdateStateError if the table has none."""
    after = TABLE.get((phase, event))
    if after is None:
        raise UpdateStateError(f"phase {phase}: no transition for {event!r}")
    return after
