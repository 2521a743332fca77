"""Objects 5 and 33629: how a device is given firmware (spec lwm2m.md 8, 14; the states are in `firmware`).

After the power went, in whatever way, the device looks at what it finds: a second slot that is whole is what
it boots into; an installation without one has failed; a pull goes on, a push does not. A library that
remembers nothing is idle.

An instance of 33629 can be installed together with others: they are flashed in one go, and boot at once.
"""

from __future__ import annotations

import re
from typing import Final

from overair.protocols.coap import codes
from overair.protocols.lwm2m.arguments import Argument
from overair.simulator.bank import What
from overair.simulator.firmware import SPOILING, Result, UpdateCause, UpdateState, next_update_state
from overair.simulator.image import Header
from overair.simulator.misbehaviour import Mishap, Moment
from overair.simulator.part import RESETS, Base, Board, Part, refused_block
from overair.simulator.profile import PULL_ONLY, PUSH_ONLY
from overair.simulator.source import SchemeError, UriError
from overair.simulator.transfer import BlockAnswer, PushedBlock

FIRMWARE_OBJECT: Final = 5
COMPONENTS_OBJECT: Final = 33629

URI, UPDATE, STATE, RESULT, NAME, VERSION, CANCEL, DEFER_PERIOD, AUTO_INSTALL = 1, 2, 3, 5, 6, 7, 10, 13, 14
COMPONENT_NAME, CURRENT_VERSION = 14, 15
_DEVICE: Final[Base] = (3, 0)
_FIRMWARE_VERSION: Final = 3
_INSTANCE: Final = re.compile(r"</33629/(\d{1,5})>")


class Updater(Part):
    """One instance. `partners` are found through the device when others are to be installed with it."""

    __slots__ = ("_together", "partners")

    def __init__(self, base: Base, board: Board, version: str) -> None:
        super().__init__(base, board, version)
        self.partners: dict[Base, Updater] = {}
        """All instances of the device, this one among them."""
        self._together: tuple[Updater, ...] = ()

    @property
    def state(self) -> UpdateState:
        """What resource 3 shows."""
        return UpdateState(int(str(self.board.value(self.base, STATE))))

    def _change_state(self, cause: UpdateCause, now: float, result: int = 0) -> None:
        state, result = next_update_state(self.state, cause, result)
        # The result first: who hears of the state may ask at once what it came of.
        self.board.show(self.base, RESULT, result)
        self.board.show(self.base, STATE, int(state))
        if result > Result.SUCCESS:
            self.board.record(What.FAILED, self.base, str(int(result)), now)
        if state is UpdateState.IDLE:
            self._due = None
            self.delivery.stop()

    # -- what the server asks ----------------------------------------------------------------------

    def take_uri(self, uri: str, now: float) -> int:
        """Begin a download, or take the package back if the URI is empty."""
        fault, state, manner = self.board.misbehaviour, self.state, self.board.profile.manner
        if fault.refuses_all:
            return fault.refusal
        if self.board.profile.delivery == PUSH_ONLY:
            return codes.METHOD_NOT_ALLOWED
        passed_over = (UpdateState.DOWNLOADING, UpdateState.UPDATING) if not uri else tuple(UpdateState)[1:]
        if manner.ignores_busy_uri and state in passed_over:
            return codes.CHANGED
        if state is UpdateState.UPDATING:
            return codes.METHOD_NOT_ALLOWED
        if not uri:
            self._take_back(UpdateCause.RESET, now)
        elif state is not UpdateState.IDLE:
            return codes.BAD_REQUEST
        elif not fault.ignores_uri:
            self._begin_pull(uri, now)
        return codes.CHANGED

    def _begin_pull(self, uri: str, now: float) -> None:
        self._show_package("", "")
        self.board.show(self.base, URI, uri)
        try:
            source = self._source(uri)
        except SchemeError:
            self._change_state(UpdateCause.BAD_SCHEME, now)
        except UriError:
            self._change_state(UpdateCause.BAD_URI, now)
        else:
            self._change_state(UpdateCause.PULL, now)
            self._pull(source, now)

    def take_block(self, pushed: PushedBlock, now: float) -> BlockAnswer:
        """Take a block of a push, or take the package back if there is nothing in it."""
        refusal = refused_block(self.board.misbehaviour, pushed)
        state = self.state
        if refusal is not None:
            return refusal
        if self.board.profile.delivery == PULL_ONLY or state is UpdateState.UPDATING:
            return BlockAnswer(codes.METHOD_NOT_ALLOWED)
        if (pushed.block is None or not pushed.block.number) and pushed.payload in RESETS:
            self._take_empty(pushed.payload, now)
            return BlockAnswer(codes.CHANGED)
        if state is UpdateState.DOWNLOADED or (
            state is UpdateState.DOWNLOADING and not self.delivery.pushing
        ):
            return BlockAnswer(codes.BAD_REQUEST)
        answer = self.delivery.take_pushed(pushed, now)
        if state is UpdateState.IDLE and answer.code in (codes.CONTINUE, codes.CHANGED):
            self._show_package("", "")
            self._change_push(now)
        return answer

    def _change_push(self, now: float) -> None:
        self._change_state(UpdateCause.PUSH, now)
        self._push_began(now)

    def _take_empty(self, payload: bytes, now: float) -> None:
        phantom = self.board.profile.manner.phantom_download and not payload
        if phantom and self.state is UpdateState.IDLE:
            self._change_state(UpdateCause.PUSH, now)
        else:
            self._take_back(UpdateCause.RESET, now)

    def _take_back(self, cause: UpdateCause, now: float) -> None:
        self._change_state(cause, now)
        self.bank.forget()
        self.board.show(self.base, URI, "")
        self._show_package("", "")

    def execute(self, resource: int, arguments: tuple[Argument, ...], now: float) -> int:
        """Update, or Cancel."""
        fault = self.board.misbehaviour
        if resource == UPDATE:
            self.board.record(What.EXECUTE, self.base, str(self.board.value(self.base, VERSION) or ""), now)
        if fault.refuses_all:
            return fault.refusal
        if resource == UPDATE:
            return self._execute_update(arguments, now)
        if self.state not in (UpdateState.DOWNLOADING, UpdateState.DOWNLOADED):
            return codes.METHOD_NOT_ALLOWED
        self._take_back(UpdateCause.CANCEL, now)
        return codes.CHANGED

    def _execute_update(self, arguments: tuple[Argument, ...], now: float) -> int:
        if self.state is not UpdateState.DOWNLOADED:
            return codes.METHOD_NOT_ALLOWED
        others = self._named(arguments)
        if others is None:
            return codes.BAD_REQUEST
        put_off = self._mishap(Moment.EXECUTED)
        if put_off is not None and put_off.mishap is Mishap.DEFER:
            self._change_state(UpdateCause.DEFER, now)
            period = self.board.value(self.base, DEFER_PERIOD)
            longest = float(period) if isinstance(period, int) and period > 0 else put_off.seconds
            self._after(longest, self._install, now)
        else:
            self._install(now, others)
        return codes.CHANGED

    def _named(self, arguments: tuple[Argument, ...]) -> tuple[Updater, ...] | None:
        """Return the instances to install together with this one; None if the arguments make no sense."""
        if not arguments:
            return ()
        number, value = arguments[0]
        if self.base[0] != COMPONENTS_OBJECT or number != 0 or len(arguments) > 1:
            return None
        bases = [(COMPONENTS_OBJECT, int(instance)) for instance in _INSTANCE.findall(value or "")]
        others = [self.partners[base] for base in bases if base in self.partners]
        ready = all(other.state is UpdateState.DOWNLOADED for other in others)
        return tuple(others) if ready and len(others) == len(bases) else None

    # -- download ----------------------------------------------------------------------------------

    def arrived(self, now: float) -> None:
        """Look at the package, and offer it for installation."""
        header = self._header()
        if not isinstance(header, Header):
            self.broke_off(header, now)
            return
        self._show_package(header.name, header.version)
        self._change_state(UpdateCause.COMPLETE, now)
        self.board.record(What.DOWNLOADED, self.base, header.version, now)
        if self._happens(Moment.DOWNLOADED, now):
            return
        if self.board.value(self.base, AUTO_INSTALL) is True:
            self._install(now)

    def broke_off(self, result: int, now: float) -> None:
        """Be idle, and say why. What a lost connection left is kept, for the same URI once more."""
        if result != Result.CONNECTION_LOST:
            self.bank.forget()
        self._change_state(UpdateCause.BREAK_OFF, now, result)

    def _header(self) -> Header | int:
        header = self._checked()
        component = self.board.value(self.base, COMPONENT_NAME) if self.base[0] == COMPONENTS_OBJECT else None
        foreign = isinstance(header, Header) and component not in (None, header.name)
        return Result.PACKAGE_TYPE if foreign else header

    def _show_package(self, name: str, version: str) -> None:
        self.board.show(self.base, NAME, name)
        self.board.show(self.base, VERSION, version)

    # -- installation ------------------------------------------------------------------------------

    def _install(self, now: float, others: tuple[Updater, ...] = ()) -> None:
        self._together = (self, *[other for other in others if other is not self])
        for each in self._together:
            each._change_state(UpdateCause.EXECUTE, now)
        self._after(self.board.profile.flash_seconds / 2, self._half_flashed, now)

    def _half_flashed(self, now: float) -> None:
        fault = self._mishap(Moment.MID_FLASH)
        if fault is None:
            self._after(self.board.profile.flash_seconds / 2, self._flashed, now)
        elif fault.mishap is Mishap.FAIL:
            for each in self._together:
                each._install_failed(fault.result, now)
        elif fault.mishap is Mishap.REBOOT:
            self._lose_power(fault, now)

    def _install_failed(self, result: int, now: float) -> None:
        spoiled = result in SPOILING and self.board.profile.version != "1.0"
        self._change_state(UpdateCause.SPOIL if spoiled else UpdateCause.FAIL, now, result)
        if spoiled:
            self.bank.forget()

    def _flashed(self, now: float) -> None:
        fault = self._mishap(Moment.FLASHED)
        mishap = None if fault is None else fault.mishap
        seconds = self.board.profile.reboot_seconds
        for each in self._together:
            if mishap is Mishap.KEEP_OLD and fault is not None:
                each.bank.claim = fault.result
            else:
                each._write_slot(now)
            if mishap is Mishap.FORGET_RESULT:
                each.bank.claim = Result.INITIAL
            if self.board.profile.manner.early_result:
                each._change_state(UpdateCause.SUCCEED, now)
        if mishap is Mishap.STAY_AWAY and fault is not None:
            seconds = fault.seconds
        self.board.reboot_after(now, seconds)

    def _write_slot(self, now: float) -> None:
        header = self._header()
        if isinstance(header, Header):
            self.bank.other = header.version
            self.board.record(What.FLASHED, self.base, header.version, now)

    # -- boot --------------------------------------------------------------------------------------

    def boot(self, now: float) -> None:
        """Boot into the second slot if it is whole, and show what became of the update."""
        self._together = ()
        claim, self.bank.claim = self.bank.claim, None
        state, new = self.state, self.bank.other
        if new is not None:
            self._run(new, now)
        if not self.board.profile.manner.remembers or (claim == Result.INITIAL):
            self._change_state(UpdateCause.FORGET, now)
            self.bank.forget()
        elif state is UpdateState.UPDATING and (new is not None or claim == Result.SUCCESS):
            self._change_state(UpdateCause.SUCCEED, now)
            self.bank.forget()
        elif state is UpdateState.UPDATING:
            self._change_state(UpdateCause.FAIL, now, Result.FAILED)
        elif state is UpdateState.DOWNLOADING and not self._resume(
            str(self.board.value(self.base, URI) or ""), now
        ):
            self.broke_off(Result.CONNECTION_LOST, now)

    def _run(self, version: str, now: float) -> None:
        self.bank.version, self.bank.other = version, None
        if self.base[0] == COMPONENTS_OBJECT:
            self.board.show(self.base, CURRENT_VERSION, version)
        if self.base[1] == 0:
            self.board.show(_DEVICE, _FIRMWARE_VERSION, version)
        self.board.record(What.BOOTED, self.base, version, now)
