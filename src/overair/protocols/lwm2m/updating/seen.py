"""What is known of a device: values by path, and which of them count for the job as it stands."""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from overair.protocols.lwm2m.links import NO_OBJECTS, ObjectList
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.updating.layout import ADVANCED_FIRMWARE, FIRMWARE_UPDATE
from overair.protocols.lwm2m.updating.model import Job
from overair.protocols.lwm2m.values import Value

# Capabilities outlive a turn: a reset does not change what a device can do.
_LASTING: Final = frozenset(
    (number, each) for number in (FIRMWARE_UPDATE, ADVANCED_FIRMWARE) for each in (8, 9, 14)
)


class Seen(Struct, frozen=True, kw_only=True):
    """What a device showed. Kept in memory only: after a restart it is read again.

    `asked` are the paths that were answered in any way, so a value missing under one of them is absent.
    """

    objects: ObjectList = NO_OBJECTS
    values: dict[Path, Value] = {}
    asked: frozenset[Path] = frozenset()
    turn: int = -1
    at_ms: int = 0
    """When something was learned last."""


def learn(
    seen: Seen, job: Job, values: Mapping[Path, Value], *, asked: Iterable[Path] = (), now_ms: int
) -> Seen:
    """Fold in what the device said: the answer to a Read of `asked`, a notification, a Send.

    Where a value changed, the others are asked for again: a result belongs to its state.
    """
    kept, known = seen.values, seen.asked
    if seen.turn != job.turn or any(kept.get(path, value) != value for path, value in values.items()):
        kept = {path: value for path, value in kept.items() if _lasts(path)}
        known = frozenset(filter(_lasts, known))
    answered = frozenset(asked)
    kept = {path: value for path, value in kept.items() if not covered(path, answered)}
    return Seen(
        objects=seen.objects,
        values=kept | dict(values),
        asked=known | answered | frozenset(values),
        turn=job.turn,
        at_ms=now_ms,
    )


def covered(path: Path, asked: frozenset[Path]) -> bool:
    """Whether a path, or one above it, is among those that were asked for."""
    return any(path[:length] in asked for length in range(1, len(path) + 1))


def _lasts(path: Path) -> bool:
    return len(path) > 2 and (path[0], path[2]) in _LASTING
