"""Object 9: how a device is given software (spec lwm2m.md 9; the states are in `installing`).

It takes no power cut to install software, so nothing here is lost but a push that was under way. What goes
wrong with a download or an installation is the same as with firmware; a result is told in the numbers of
object 9.
"""

from __future__ import annotations

from typing import Final

from overair.protocols.coap import codes
from overair.protocols.lwm2m.arguments import Argument
from overair.simulator.bank import What
from overair.simulator.firmware import Result
from overair.simulator.image import Header
from overair.simulator.installing import (
    SOFTWARE_RESULTS,
    SoftwareCause,
    SoftwareResult,
    SoftwareState,
    next_software_state,
)
from overair.simulator.misbehaviour import Mishap, Moment
from overair.simulator.part import Base, Part, refused_block
from overair.simulator.profile import PULL_ONLY, PUSH_ONLY
from overair.simulator.source import SchemeError, UriError
from overair.simulator.transfer import BlockAnswer, PushedBlock

SOFTWARE_OBJECT: Final = 9

NAME, VERSION, PACKAGE, URI, INSTALL, UNINSTALL, STATE, RESULT, ACTIVATE, DEACTIVATE, ACTIVE = (
    *range(5),
    6,
    7,
    9,
    10,
    11,
    12,
)
_DEVICE: Final[Base] = (3, 0)
_SOFTWARE_VERSION: Final = 19
_FOR_UPDATE: Final = 1


class SoftwareUpdater(Part):
    """One instance."""

    __slots__ = ()

    package_resource = PACKAGE
    uri_resource = URI

    @property
    def state(self) -> SoftwareState:
        """What resource 7 shows."""
        return SoftwareState(int(str(self.board.value(self.base, STATE))))

    def _change_state(self, cause: SoftwareCause, now: float, result: int = 0) -> None:
        state, result = next_software_state(self.state, cause, result)
        self.board.show(self.base, RESULT, result)
        self.board.show(self.base, STATE, int(state))
        if result >= SoftwareResult.STORAGE:
            self.board.record(What.FAILED, self.base, str(int(result)), now)
        if state is SoftwareState.INITIAL:
            self._due = None
            self.delivery.stop()

    # -- what the server asks ----------------------------------------------------------------------

    def take_uri(self, uri: str, now: float) -> int:
        """Begin a download."""
        fault = self.board.misbehaviour
        if fault.refuses_all:
            return fault.refusal
        if self.board.profile.delivery == PUSH_ONLY:
            return codes.METHOD_NOT_ALLOWED
        if self.state is not SoftwareState.INITIAL:
            return codes.BAD_REQUEST
        if fault.ignores_uri:
            return codes.CHANGED
        try:
            source = self._source(uri)
        except SchemeError:
            self._change_state(SoftwareCause.BAD_URI, now, SOFTWARE_RESULTS[Result.PROTOCOL])
        except UriError:
            self._change_state(SoftwareCause.BAD_URI, now, SOFTWARE_RESULTS[Result.INVALID_URI])
        else:
            self._change_state(SoftwareCause.BEGIN, now)
            self._pull(source, now)
        return codes.CHANGED

    def take_block(self, pushed: PushedBlock, now: float) -> BlockAnswer:
        """Take a block of a push."""
        refusal = refused_block(self.board.misbehaviour, pushed)
        if refusal is not None:
            return refusal
        state = self.state
        if self.board.profile.delivery == PULL_ONLY:
            return BlockAnswer(codes.METHOD_NOT_ALLOWED)
        begun = state is SoftwareState.DOWNLOAD_STARTED and self.delivery.pushing
        if state is not SoftwareState.INITIAL and not begun:
            return BlockAnswer(codes.BAD_REQUEST)
        answer = self.delivery.take_pushed(pushed, now)
        if not begun and answer.code in (codes.CONTINUE, codes.CHANGED):
            self._change_state(SoftwareCause.BEGIN, now)
            self._push_began(now)
        return answer

    def execute(self, resource: int, arguments: tuple[Argument, ...], now: float) -> int:
        """Install, Uninstall, Activate or Deactivate."""
        fault = self.board.misbehaviour
        if resource == INSTALL:
            self.board.record(What.EXECUTE, self.base, "", now)
        if fault.refuses_all:
            return fault.refusal
        if resource == UNINSTALL:
            return self._uninstall(arguments, now)
        needed = SoftwareState.DELIVERED if resource == INSTALL else SoftwareState.INSTALLED
        if self.state is not needed or self._due is not None:
            return codes.METHOD_NOT_ALLOWED
        if resource == INSTALL:
            self._after(self.board.profile.flash_seconds / 2, self._half_installed, now)
        else:
            cause = SoftwareCause.ACTIVATE if resource == ACTIVATE else SoftwareCause.DEACTIVATE
            self._change_state(cause, now)
            self.board.show(self.base, ACTIVE, resource == ACTIVATE)
        return codes.CHANGED

    def _uninstall(self, arguments: tuple[Argument, ...], now: float) -> int:
        if self.state not in (SoftwareState.DELIVERED, SoftwareState.INSTALLED):
            return codes.METHOD_NOT_ALLOWED
        number = arguments[0][0] if arguments else 0
        if len(arguments) > 1 or number > _FOR_UPDATE:
            return codes.BAD_REQUEST
        self._change_state(SoftwareCause.UNINSTALL, now)
        self.bank.forget()
        if number != _FOR_UPDATE:
            self.board.show(self.base, ACTIVE, False)
            self._show("", "")
        return codes.CHANGED

    # -- download and installation -----------------------------------------------------------------

    def arrived(self, now: float) -> None:
        """Look at the package, and offer it for installation."""
        self._change_state(SoftwareCause.ARRIVE, now)
        header = self._checked()
        if not isinstance(header, Header):
            self._change_state(SoftwareCause.REJECT, now, SOFTWARE_RESULTS[header])
            self.bank.forget()
            return
        self._change_state(SoftwareCause.VERIFY, now)
        self.board.record(What.DOWNLOADED, self.base, header.version, now)
        self._happens(Moment.DOWNLOADED, now)

    def broke_off(self, result: int, now: float) -> None:
        """Be as before, and say why nothing came."""
        named = SOFTWARE_RESULTS.get(result, SoftwareResult.DEVICE_ERROR)
        self._change_state(SoftwareCause.BREAK_OFF, now, named)

    def _half_installed(self, now: float) -> None:
        fault = self._mishap(Moment.MID_FLASH)
        if fault is None:
            self._after(self.board.profile.flash_seconds / 2, self._installed, now)
        elif fault.mishap is Mishap.FAIL:
            named = SOFTWARE_RESULTS.get(fault.result, SoftwareResult.DEVICE_ERROR)
            self._change_state(SoftwareCause.FAIL, now, named)
        elif fault.mishap is Mishap.REBOOT:
            self._lose_power(fault, now)

    def _installed(self, now: float) -> None:
        header = self._checked()
        if not isinstance(header, Header):
            self._change_state(SoftwareCause.FAIL, now, SoftwareResult.INSTALL_FAILED)
            return
        self.bank.version = header.version
        self.board.record(What.FLASHED, self.base, header.version, now)
        self._show(header.name, header.version)
        self.board.show(self.base, ACTIVE, self.board.profile.auto_install)
        self._change_state(SoftwareCause.INSTALL, now)

    def _show(self, name: str, version: str) -> None:
        self.board.show(self.base, NAME, name)
        self.board.show(self.base, VERSION, version)
        if self.base[1] == 0:
            self.board.show(_DEVICE, _SOFTWARE_VERSION, version)

    def boot(self, now: float) -> None:
        """Give up a download that the power cut short; everything else is as it was."""
        if self.state is SoftwareState.DOWNLOAD_STARTED:
            source = self.bank.source
            if source is None or not self._resume(source.uri, now):
                self.broke_off(Result.CONNECTION_LOST, now)
