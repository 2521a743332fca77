"""What can be updated on its own: a component of firmware or a software package, and what goes wrong with it.

A part does nothing inside a request but note what is to be done: the answer goes out first. Whatever it does
later waits in one timer. With the power goes everything but its bank and what the object tree shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from overair.protocols.coap import codes
from overair.protocols.lwm2m.arguments import Argument
from overair.protocols.lwm2m.values import Value
from overair.simulator.bank import Bank, What
from overair.simulator.delivery import Delivery
from overair.simulator.firmware import Result
from overair.simulator.image import DamagedImageError, Header, NoImageError
from overair.simulator.misbehaviour import Misbehaviour, Mishap, Moment
from overair.simulator.profile import Profile
from overair.simulator.source import Source, UriError, parse_source
from overair.simulator.transfer import BlockAnswer, PushedBlock, Radio

Base = tuple[int, int]
"""Object and instance."""


class Board(Radio, Protocol):
    """What a part needs of the device around it."""

    @property
    def profile(self) -> Profile:
        """The model of the device."""

    @property
    def misbehaviour(self) -> Misbehaviour:
        """What goes wrong with it."""

    def value(self, base: Base, resource: int) -> Value | None:
        """Return what a resource of an instance shows; None if the device has none."""

    def show(self, base: Base, resource: int, value: Value) -> None:
        """Change what a resource shows, if the device has it; who observes it hears of it."""

    def record(self, what: What, base: Base, detail: str, now: float) -> None:
        """Put something into the history."""

    def reboot_after(self, now: float, seconds: float) -> None:
        """Say what there is to say, and be off for so long; infinity is for ever."""

    def cut_power(self, now: float, seconds: float) -> None:
        """Be off for so long, without a word."""

    def doze(self, now: float, until: float) -> None:
        """Switch the radio off for a while."""

    def change_address(self) -> None:
        """Ask the driver for another address."""

    def go_deaf(self) -> None:
        """Hear no request any more, until the next boot."""


class Part:
    """One part. `base` is its object instance."""

    __slots__ = ("_due", "_step", "bank", "base", "board", "delivery")

    package_resource = 0
    uri_resource = 1

    def __init__(self, base: Base, board: Board, version: str) -> None:
        self.base: Final = base
        self.board: Final = board
        self.bank: Final = Bank(version)
        self.delivery: Final = Delivery(self, board, board.profile, self.bank)
        self._due: float | None = None
        self._step: Callable[[float], None] = self._begin

    # -- what the object says of itself ------------------------------------------------------------

    def execute(self, resource: int, arguments: tuple[Argument, ...], now: float) -> int:
        """Carry out an Execute; returns the code of the answer."""
        raise NotImplementedError

    def take_block(self, pushed: PushedBlock, now: float) -> BlockAnswer:
        """Take a block of a pushed package."""
        raise NotImplementedError

    def take_uri(self, uri: str, now: float) -> int:
        """Take a Package URI; returns the code of the answer."""
        raise NotImplementedError

    def boot(self, now: float) -> None:
        """Make of what the power left what the device shows."""
        raise NotImplementedError

    def arrived(self, now: float) -> None:
        """All of a package is there."""
        raise NotImplementedError

    def broke_off(self, result: int, now: float) -> None:
        """A package will not come."""
        raise NotImplementedError

    # -- what the device does ----------------------------------------------------------------------

    def write(self, resource: int, value: Value, now: float) -> int:
        """Carry out a Write of a package that came in one piece, or of a URI; returns the code."""
        if resource == self.package_resource:
            payload = value if isinstance(value, bytes) else b""
            return self.take_block(PushedBlock(None, payload, None, None), now).code
        return self.take_uri(str(value), now)

    def next_due(self) -> float | None:
        """When `advance` must be called next."""
        times = [time for time in (self._due, self.delivery.due) if time is not None]
        return min(times, default=None)

    @property
    def busy(self) -> bool:
        """Whether it waits for something, so that the radio stays on."""
        return self.next_due() is not None or self.delivery.fetch is not None

    def advance(self, now: float) -> None:
        """Do what is due."""
        if self._due is not None and self._due <= now:
            self._due = None
            self._step(now)
        self.delivery.advance(now)

    def power_off(self) -> None:
        """Forget what only the running memory held."""
        self._due = None
        self.delivery.power_off()

    def _after(self, seconds: float, step: Callable[[float], None], now: float) -> None:
        self._due = now + seconds
        self._step = step

    # -- downloads ---------------------------------------------------------------------------------

    def _source(self, uri: str) -> Source:
        """Return where a URI leads. UriError; SchemeError if not to a place that this device fetches from."""
        return parse_source(uri, self.board.profile.protocols)

    def _pull(self, source: Source, now: float) -> None:
        """Begin soon: the answer to the Write comes first."""
        self.board.record(What.DOWNLOAD, self.base, source.uri, now)
        self._after(0, lambda when: self._begin(when, source), now)

    def _begin(self, now: float, source: Source | None = None) -> None:
        if not self._happens(Moment.BEGIN, now) and source is not None:
            self.delivery.pull(source, now)

    def _push_began(self, now: float) -> None:
        self.board.record(What.DOWNLOAD, self.base, "push", now)
        self._after(0, self._begin, now)

    def _resume(self, uri: str, now: float) -> bool:
        """Go on with a download after a boot, if it was pulled and the library does so."""
        if not self.board.profile.manner.resumes:
            return False
        try:
            source = self._source(uri)
        except UriError:
            return False
        self._after(0, lambda when: self._begin(when, source), now)
        return True

    def halfway(self, now: float) -> bool:
        """Half of a package is there; returns whether that was the end."""
        return self._happens(Moment.HALFWAY, now)

    def _checked(self) -> Header | int:
        """Return the header of the package, or the result that says what is wrong with it."""
        package, profile = self.bank.package, self.board.profile
        if package is None:
            return Result.INTEGRITY
        try:
            header = package.check()
        except NoImageError:
            return Result.PACKAGE_TYPE
        except DamagedImageError:
            return Result.INTEGRITY
        own = (profile.make, profile.model)
        return header if (header.make, header.model) == own else Result.PACKAGE_TYPE

    # -- what goes wrong ---------------------------------------------------------------------------

    def _mishap(self, moment: Moment) -> Misbehaviour | None:
        """Return what is to go wrong now."""
        fault = self.board.misbehaviour
        if fault.moment is not moment or (fault.times and self.bank.mishaps >= fault.times):
            return None
        self.bank.mishaps += 1
        return fault

    def _happens(self, moment: Moment, now: float) -> bool:
        """Let go wrong what does at a moment; returns whether the usual course ends here."""
        fault = self._mishap(moment)
        if fault is None or fault.mishap is None:
            return False
        return _MISHAPS[fault.mishap](self, fault, now)

    def _fail(self, fault: Misbehaviour, now: float) -> bool:
        self.broke_off(fault.result, now)
        return True

    def _stall(self, _fault: Misbehaviour, _now: float) -> bool:
        # A push goes on for as long as its blocks are answered.
        if self.delivery.pushing:
            self.board.go_deaf()
        self.delivery.stop()
        return True

    def _go_deaf(self, _fault: Misbehaviour, _now: float) -> bool:
        self.board.go_deaf()
        return False

    def _lose_power(self, _fault: Misbehaviour, now: float) -> bool:
        self.board.record(What.POWER_CUT, self.base, "", now)
        self.board.cut_power(now, self.board.profile.reboot_seconds)
        return True

    def _move(self, _fault: Misbehaviour, now: float) -> bool:
        self.board.record(What.MOVED, self.base, "", now)
        self.board.change_address()
        return False

    def _sleep(self, fault: Misbehaviour, now: float) -> bool:
        self.board.record(What.SLEPT, self.base, "", now)
        self.board.doze(now, now + fault.seconds)
        return False


_MISHAPS: Final[dict[Mishap, Callable[[Part, Misbehaviour, float], bool]]] = {
    Mishap.FAIL: Part._fail,
    Mishap.STALL: Part._stall,
    Mishap.DEAF: Part._go_deaf,
    Mishap.REBOOT: Part._lose_power,
    Mishap.MOVE: Part._move,
    Mishap.SLEEP: Part._sleep,
}
"""Those that are the same whatever is updated; the others belong to an installation."""

RESETS: Final = (b"", b"\0")
"""What takes a package back instead of bringing one."""


def refused_block(fault: Misbehaviour, pushed: PushedBlock) -> BlockAnswer | None:
    """Return the answer of a device that refuses packages; None if this one does not."""
    late = fault.refusal == codes.REQUEST_ENTITY_INCOMPLETE
    first = pushed.block is None or pushed.block.number == 0
    if not fault.refusal or (late and first):
        return None
    return BlockAnswer(fault.refusal)
