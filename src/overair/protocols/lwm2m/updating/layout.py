"""What objects 5, 33629 and 9 have in common, by each one's numbers (spec lwm2m.md 8.1, 8.9, 9).

The states and results of object 9 are read as those of object 5, so that one set of rules serves both; what
object 5 has no number for keeps its own, as a negative one.
"""

import enum
from typing import Final

from msgspec import Struct

from overair.protocols.lwm2m.paths import Path

DEVICE: Final = 3
FIRMWARE_VERSION: Final[Path] = (3, 0, 3)
SOFTWARE_VERSION: Final[Path] = (3, 0, 19)
FIRMWARE_UPDATE: Final = 5
SOFTWARE_MANAGEMENT: Final = 9
ADVANCED_FIRMWARE: Final = 33629


class Condition(enum.IntEnum):
    """State of an update object as object 5 numbers it; INSTALLED is object 9's alone."""

    IDLE = 0
    DOWNLOADING = 1
    DOWNLOADED = 2
    UPDATING = 3
    INSTALLED = 4


class Layout(Struct, frozen=True):
    """Resource ids of one object; None where it has no such resource."""

    package: int
    uri: int
    update: int
    state: int
    result: int
    package_version: int
    readable_uri: bool
    protocols: int | None = None
    delivery: int | None = None
    cancel: int | None = None
    defer_period: int | None = None
    automatic: int | None = None
    component: int | None = None
    current_version: int | None = None
    conflicting: int | None = None
    uninstall: int | None = None
    activate: int | None = None
    deactivate: int | None = None
    activation: int | None = None


_FIRMWARE: Final = Layout(
    package=0,
    uri=1,
    update=2,
    state=3,
    result=5,
    package_version=7,
    readable_uri=True,
    protocols=8,
    delivery=9,
    cancel=10,
    defer_period=13,
    automatic=14,
)
_ADVANCED: Final = Layout(
    package=0,
    uri=1,
    update=2,
    state=3,
    result=5,
    package_version=7,
    readable_uri=True,
    protocols=8,
    delivery=9,
    cancel=10,
    defer_period=13,
    component=14,
    current_version=15,
    conflicting=17,
)
_SOFTWARE: Final = Layout(
    package=2,
    uri=3,
    update=4,
    state=7,
    result=9,
    package_version=1,
    readable_uri=False,
    uninstall=6,
    activate=10,
    deactivate=11,
    activation=12,
)
PACKAGE_NAME: Final = 0
"""Of object 9: the name by which its instances are told apart."""

LAYOUTS: Final = {FIRMWARE_UPDATE: _FIRMWARE, ADVANCED_FIRMWARE: _ADVANCED, SOFTWARE_MANAGEMENT: _SOFTWARE}

_SOFTWARE_CONDITIONS: Final = (
    Condition.IDLE,
    Condition.DOWNLOADING,
    Condition.DOWNLOADING,  # the bytes are there, not yet checked
    Condition.DOWNLOADED,
    Condition.INSTALLED,
)
_SOFTWARE_RESULTS: Final = {
    0: 0,
    1: 0,
    2: 1,
    3: 0,
    50: 2,
    51: 3,
    52: 4,
    53: 5,
    54: 6,
    56: 7,
    57: 8,
    58: 8,
    59: 8,
}


def condition_of(object_id: int, state: int | None) -> Condition | None:
    """What a State means; None for one that is unknown or could not be read."""
    if state is None or state < 0:
        return None
    if object_id == SOFTWARE_MANAGEMENT:
        return _SOFTWARE_CONDITIONS[state] if state < len(_SOFTWARE_CONDITIONS) else None
    return Condition(state) if state <= Condition.UPDATING else None


def result_of(object_id: int, result: int | None) -> int:
    """An Update Result in the numbers of object 5; 0 where it could not be read.

    A number that the object has no meaning for comes back negative: the rules know none below 0.
    """
    if result is None:
        return 0
    if object_id == SOFTWARE_MANAGEMENT:
        return _SOFTWARE_RESULTS.get(result, -abs(result))
    return -result if result in (12, 13) and object_id == FIRMWARE_UPDATE else result
