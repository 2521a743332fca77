"""What the doors and the command line do with devices."""

import uuid
from collections.abc import Sequence
from typing import cast

import structlog

from overair.devices import render
from overair.devices.changes import Move, Provision, Register, SynchroniseFirmware, TakeReport
from overair.devices.model import (
    Device,
    DeviceError,
    DevicePage,
    FirmwareReading,
    Observed,
    Operation,
    OperationListener,
    Outcome,
    Provisioning,
    Registration,
    Report,
    UnknownDevice,
    imei_number,
    imei_text,
)
from overair.devices.store import DeviceStore, Done
from overair.platform.clock import Clock
from overair.platform.limits import Limits

_log = structlog.get_logger()

HOUR_MS = 3_600_000


class DeviceService:
    """The use cases. Methods with ``done`` are for doors that answer after the group commit."""

    def __init__(
        self, store: DeviceStore, clock: Clock, limits: Limits, *, enrol_account_id: int | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._enrol_account_id = enrol_account_id
        self._listeners: list[OperationListener] = []

    # Owners.

    async def page(self, account_id: int, protocol: str | None, after: str | None) -> DevicePage:
        """Return the devices that follow the IMEI *after*, at most a page of them."""
        last = imei_number(after) if after else -1
        return await self._store.page(account_id, protocol, last, self._limits.page_size)

    async def look_up(
        self, account_id: int, imeis: Sequence[str], protocol: str | None = None
    ) -> list[bytes]:
        """Return one encoded V3Device an IMEI, in order; a failed row for what the account has not.

        With a *protocol*, devices of another one count as not there.
        """
        found = await self._store.records(account_id, [int(imei) for imei in imeis], protocol)
        return [found.get(int(imei)) or render.not_found(imei) for imei in imeis]

    async def synchronise_firmware(self, account_id: int, imeis: Sequence[str]) -> list[FirmwareReading]:
        """Return the firmware known of each; moves ``refreshTime``."""
        now_ms = self._clock.now_ms()
        changes = [SynchroniseFirmware(account_id, int(imei), now_ms) for imei in imeis]
        return [cast("Outcome", outcome).result for outcome in await self._store.apply(changes)]

    async def request_report(self, account_id: int, imei: str) -> str:
        """Have the device report its firmware when it is awake; return the request's id."""
        device = await self._store.get(int(imei))
        if device is None or device.account_id != account_id:
            raise UnknownDevice(f"device {imei} is not known to the account")
        operation = Operation(str(uuid.uuid4()), device.imei, "report_firmware", self._clock.now_ms())
        await self._store.add_operation(operation)
        for listener in self._listeners:
            listener(operation)
        return operation.id

    async def add(self, account_id: int, said: Sequence[Provisioning]) -> list[Device]:
        """Add devices, or say something new of them: all, or none with an :class:`AddRefused`."""
        now_ms = self._clock.now_ms()
        changes = [Provision(account_id, row, now_ms) for row in said]
        outcomes = await self._store.apply(changes, atomic=True)
        return [cast("Outcome", outcome).result for outcome in outcomes]

    async def show(self, account_id: int, imei: str) -> bytes:
        """Return the encoded V3Device of one device."""
        found = await self._store.records(account_id, [imei_number(imei)])
        if not found:
            raise UnknownDevice(f"device {imei} is not known to the account")
        return next(iter(found.values()))

    # Doors of devices.

    def register(self, registration: Registration, done: Done, *, enrol: bool = True) -> None:
        """Store a registration; *done* gets what was :class:`Admitted`, or the error.

        The record follows with :meth:`settle`: a device waits for its answer, an owner does not.
        """
        account_id = self._enrol_account_id if enrol else None
        self._store.admit(Register(registration, account_id), done)

    async def settle(self, imeis: Sequence[int]) -> None:
        """Bring the records of devices up to date with what their registrations said."""
        await self._store.settle(imeis)

    async def unsettled(self) -> list[int]:
        """Return the devices whose records are behind, after a restart."""
        return await self._store.unsettled()

    async def not_inventoried(self) -> set[int]:
        """Return the devices whose Register called for an inventory that has not been taken."""
        return await self._store.not_inventoried(self._limits.refresh_after_hours * HOUR_MS)

    def move(self, change: Move, done: Done) -> None:
        """Record an Update that changed the registration."""
        self._store.submit(change, done)

    def touch(self, imei: int, now_ms: int, done: Done) -> None:
        """Record an Update that changed nothing: the lifetime starts again."""
        self._store.touch(imei, now_ms, done)

    def end_registration(self, registration: Registration, done: Done) -> None:
        """Record that the device has gone, unless it has registered again meanwhile."""
        self._store.end_registration(registration.imei, registration.location, done)

    async def report(self, imei: int, report: Report) -> Device:
        """Take over what the device said of itself."""
        change = TakeReport(imei, report, self._clock.now_ms())
        (outcome,) = await self._store.apply([change])
        if isinstance(outcome, DeviceError):
            raise outcome
        if outcome.events:
            _log.warning("device_report", imei=imei_text(imei), events=outcome.events)
        return cast("Device", outcome.result)

    async def heard(self, uplinks: Sequence[tuple[int, int]]) -> None:
        """Record when registered devices were last heard: (imei, time in ms)."""
        await self._store.heard(uplinks)

    async def registrations(self) -> list[Registration]:
        """Return all registrations, for a gateway that starts."""
        return await self._store.registrations()

    async def observe(self, observed: Observed) -> None:
        """Keep an observation over a restart."""
        await self._store.observe(observed)

    async def observations(self) -> list[Observed]:
        """Return the observations to take up again."""
        return await self._store.observations()

    # What devices are to be asked.

    def on_operation(self, listener: OperationListener) -> None:
        """Call *listener* with each new operation."""
        self._listeners.append(listener)

    async def open_operations(self) -> list[Operation]:
        """Return what devices are still to be asked, oldest first."""
        return await self._store.open_operations()

    async def end_operation(self, operation_id: str, outcome: str) -> None:
        """Record how an operation ended."""
        await self._store.end_operation(operation_id, outcome, self._clock.now_ms())
