"""All that can be updated in one device, and what has happened to it.

A part is made when it is first spoken of: a device that nobody updates has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from overair.protocols.lwm2m.arguments import Argument
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.values import Value
from overair.simulator.bank import Happening, What
from overair.simulator.firmware import UpdateState
from overair.simulator.part import Base, Board, Part
from overair.simulator.software import SOFTWARE_OBJECT, SoftwareUpdater
from overair.simulator.transfer import BlockAnswer, PushedBlock
from overair.simulator.tree import FIRMWARE_VERSION, Tree
from overair.simulator.updating import COMPONENTS_OBJECT, CURRENT_VERSION, FIRMWARE_OBJECT, STATE, Updater

HISTORY_MAX: Final = 500
"""Happenings remembered, the newest; the counts of `UpdateTally` are of all."""

_OWNED: Final[dict[int, tuple[int, ...]]] = {
    FIRMWARE_OBJECT: (0, 1, 2, 10),
    COMPONENTS_OBJECT: (0, 1, 2, 10),
    SOFTWARE_OBJECT: (2, 3, 4, 6, 10, 11),
}
"""Resources by object to which a request is more than a value."""


class UpdateTally(Struct, gc=False):
    """How often what has happened to a device; every field only grows."""

    downloads: int = 0
    downloaded: int = 0
    executes: int = 0
    flashed: int = 0
    """Slots or software packages written whole."""
    booted: int = 0
    """Times that it came back with another version."""
    failed: int = 0
    """Results that were no success."""


_COUNTED: Final = {
    What.DOWNLOAD: "downloads",
    What.DOWNLOADED: "downloaded",
    What.EXECUTE: "executes",
    What.FLASHED: "flashed",
    What.BOOTED: "booted",
    What.FAILED: "failed",
}


class Upkeep:
    """The parts of one device. `deaf` says whether it hears no requests."""

    __slots__ = ("_board", "_history", "_parts", "_tree", "deaf", "tally")

    def __init__(self, board: Board, tree: Tree) -> None:
        self.tally: Final = UpdateTally()
        self.deaf = False
        self._board = board
        self._tree = tree
        self._parts: dict[Base, Part] = {}
        self._history: deque[Happening] | None = None

    @property
    def history(self) -> tuple[Happening, ...]:
        """What happened, oldest first."""
        return tuple(self._history or ())

    @property
    def firmware(self) -> str:
        """The version that runs."""
        return str(self._tree.value(FIRMWARE_VERSION))

    @property
    def state(self) -> UpdateState:
        """How far the update of the firmware is; of several components, the one that is furthest."""
        bases = [(FIRMWARE_OBJECT, 0)]
        if self._board.profile.components:
            bases = [(COMPONENTS_OBJECT, each) for each in range(len(self._board.profile.components))]
        return max(UpdateState(int(str(self._tree.value((*base, STATE))))) for base in bases)

    def record(self, what: What, base: Base, detail: str, now: float) -> None:
        """Remember and count."""
        if self._history is None:
            self._history = deque(maxlen=HISTORY_MAX)
        self._history.append(Happening(now, what, base, detail))
        name = _COUNTED.get(what)
        if name is not None:
            setattr(self.tally, name, getattr(self.tally, name) + 1)

    # -- requests ----------------------------------------------------------------------------------

    def owns(self, path: Path) -> bool:
        """Whether a Write or Execute of a resource is for a part."""
        return len(path) == 3 and path[2] in _OWNED.get(path[0], ())

    def is_package(self, path: Path) -> bool:
        """Whether what is written there comes in blocks."""
        return self.owns(path) and path[2] == (2 if path[0] == SOFTWARE_OBJECT else 0)

    def write(self, path: Path, value: Value, now: float) -> int:
        """Carry out a Write to a path that it owns; returns the code of the answer."""
        return self._part(path).write(path[2], value, now)

    def take_block(self, path: Path, pushed: PushedBlock, now: float) -> BlockAnswer:
        """Take a block of a package."""
        return self._part(path).take_block(pushed, now)

    def execute(self, path: Path, arguments: tuple[Argument, ...], now: float) -> int:
        """Carry out an Execute of a path that it owns; returns the code of the answer."""
        return self._part(path).execute(path[2], arguments, now)

    @property
    def is_engaged(self) -> bool:
        """Whether a push is going on that leaves no time for anything else."""
        return self._board.profile.manner.exclusive_push and any(
            part.delivery.pushing for part in self._parts.values()
        )

    # -- time and power ----------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a part is at work, so that the device does not sleep."""
        return any(part.busy for part in self._parts.values())

    def next_due(self) -> float | None:
        """When `advance` must be called next."""
        if not self._parts:
            return None
        times = [part.next_due() for part in self._parts.values()]
        return min((time for time in times if time is not None), default=None)

    def advance(self, now: float) -> None:
        """Do what is due."""
        for part in tuple(self._parts.values()):
            part.advance(now)

    def power_off(self) -> None:
        """Forget what only the running memory held."""
        self.deaf = False
        for part in self._parts.values():
            part.power_off()

    def boot(self, now: float) -> None:
        """Make of what the power left what the device shows."""
        for part in self._parts.values():
            part.boot(now)

    # -- parts -------------------------------------------------------------------------------------

    def _part(self, path: Path) -> Part:
        base = (path[0], path[1])
        part = self._parts.get(base)
        if part is None:
            self._parts.update(self._made(base))
            part = self._parts[base]
        return part

    def _made(self, base: Base) -> Iterator[tuple[Base, Part]]:
        if base[0] == SOFTWARE_OBJECT:
            yield base, SoftwareUpdater(base, self._board, str(self._tree.value((*base, 1))))
        elif base[0] == FIRMWARE_OBJECT:
            yield base, Updater(base, self._board, self.firmware)
        else:
            updaters: dict[Base, Updater] = {}
            for instance, _ in enumerate(self._board.profile.components):
                each = (COMPONENTS_OBJECT, instance)
                version = str(self._tree.value((*each, CURRENT_VERSION)))
                updaters[each] = Updater(each, self._board, version)
                updaters[each].partners = updaters
            yield from updaters.items()
