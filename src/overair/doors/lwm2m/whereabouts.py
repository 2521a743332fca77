"""When devices were last heard, and from where, between their Registers and Updates; written behind.

Any message of a device tells when it was heard, and with a Connection ID any of them may come from a new
address (RFC 9146, section 6). A write for each would be the most frequent of all, and a restart needs only
the last.
"""

import asyncio

import msgspec
import structlog

from overair.devices.changes import Move
from overair.devices.model import Outcome, Registration, UnknownDevice, imei_text
from overair.devices.service import DeviceService
from overair.doors.lwm2m.registry import Live, Registry
from overair.doors.lwm2m.security import Nowhere, address_of
from overair.platform.clock import Clock

_log = structlog.get_logger()

STORE_SECONDS = 60
MOVED_AT_ONCE = 256  # a group of the writer, beside which Registers still find room


class Whereabouts:
    """What is still to be stored of where devices are, and when they were heard."""

    def __init__(self, registry: Registry, service: DeviceService, clock: Clock) -> None:
        self._registry = registry
        self._service = service
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._heard: dict[int, int] = {}
        self._moved: set[int] = set()

    def __len__(self) -> int:
        return len(self._heard) + len(self._moved)

    def heard(self, live: Live | None) -> None:
        """The device said something."""
        if live is not None:
            live.touched(self._loop.time())
            self._heard[live.registration.imei] = self._clock.now_ms()

    def moved(self, live: Live) -> None:
        """The device speaks from another address, and no Update has said so."""
        registration = _stands(live)
        if (registration.host, registration.port) != (live.registration.host, live.registration.port):
            live.registration = registration
            self._moved.add(registration.imei)

    async def store(self) -> None:
        """Store what came since the last time."""
        moved = list(self._moved)
        for start in range(0, len(moved), MOVED_AT_ONCE):
            await asyncio.gather(*map(self._place, moved[start : start + MOVED_AT_ONCE]))
        # After them: a registration that is stored takes its last uplink back to its last Update.
        heard, self._heard = self._heard, {}
        if heard:
            await self._service.heard(list(heard.items()))

    async def _place(self, imei: int) -> None:
        """Store the registration as it stands; again if a Register or Update overtook that on its way."""
        stored: Registration | None = None
        while (live := self._registry.by_imei(imei)) is not None and (stands := _stands(live)) != stored:
            failure = await self._write(stands)
            if isinstance(failure, UnknownDevice):
                break
            if failure is not None:
                _log.error("address_not_stored", imei=imei_text(imei), error=repr(failure))
                return  # until the next time
            stored = stands
        self._moved.discard(imei)
        if live is None and stored is not None:
            self._service.end_registration(stored, _log_failure)

    async def _write(self, registration: Registration) -> object:
        """Store a registration; returns what went wrong, or None."""
        written: asyncio.Future[object] = self._loop.create_future()

        def done(result: object) -> None:
            if not written.done():
                written.set_result(None if isinstance(result, Outcome) else result)

        self._service.move(Move(registration), done)
        return await written


def _stands(live: Live) -> Registration:
    """Return the registration with what is known since its last Update."""
    registration = live.registration
    if isinstance(live.peer, Nowhere):
        return registration
    host, port = address_of(live.peer)
    return msgspec.structs.replace(registration, host=host, port=port, updated_ms=live.updated_ms)


def _log_failure(failure: Exception | None) -> None:
    if failure is not None:
        _log.error("registration_not_ended", error=repr(failure))
