"""The in-memory twin of the device store: same contract, nothing kept. For tests and simulations."""

from collections.abc import Sequence
from typing import cast

import msgspec

from overair.devices import render
from overair.devices.changes import Register
from overair.devices.model import (
    Admitted,
    Change,
    Device,
    DeviceError,
    DevicePage,
    Fact,
    Observed,
    Operation,
    Outcome,
    Registration,
    imei_text,
)
from overair.devices.rules import gave_up_mdn, lost_mdn, monitored
from overair.devices.store import Done, refuse_if_any_failed
from overair.records import encode


class MemoryDeviceStore:
    """Devices in dictionaries; a change is "committed" before :meth:`submit` returns."""

    def __init__(self) -> None:
        self._devices: dict[int, Device] = {}
        self._registrations: dict[int, Registration] = {}
        self._uplinks: dict[int, int] = {}
        self._unsettled: set[int] = set()
        self._observations: dict[tuple[int, str], Observed] = {}
        self._operations: dict[str, Operation] = {}
        self.ended_operations: dict[str, tuple[str, int]] = {}

    def submit(self, change: Change, done: Done) -> None:
        done(self._try(change))

    def _try(self, change: Change) -> Outcome | DeviceError:
        try:
            return self._apply(change)
        except DeviceError as refused:
            return refused

    def admit(self, change: Register, done: Done) -> None:
        device = self._devices.get(change.imei)
        if device is None:
            done(_admitted(self._try(change)))
            return
        before = self._registrations.get(change.imei)
        placed = msgspec.structs.replace(change.registration, account_id=device.account_id)
        same = before is not None and (before.endpoint, before.said) == (placed.endpoint, placed.said)
        settled = same and change.imei not in self._unsettled
        if not settled:
            self._unsettled.add(change.imei)
        self._registrations[change.imei] = placed
        self._uplinks[change.imei] = placed.updated_ms
        done(Admitted(placed, device.inventoried_ms, settled))

    async def settle(self, imeis: Sequence[int]) -> None:
        for imei in imeis:
            self._settle(imei)

    def _settle(self, imei: int) -> None:
        if imei in self._unsettled:
            uplink_ms = self._uplinks[imei]
            self._apply(Register(self._registrations[imei]))
            self._uplinks[imei] = uplink_ms

    async def unsettled(self) -> list[int]:
        return sorted(self._unsettled & self._registrations.keys())

    async def not_inventoried(self, age_ms: int) -> set[int]:
        return {
            imei
            for imei, registration in self._registrations.items()
            if (self._devices[imei].inventoried_ms or 0) <= registration.registered_ms - age_ms
        }

    async def apply(self, changes: Sequence[Change], *, atomic: bool = False) -> list[Outcome | DeviceError]:
        kept = self._devices.copy(), self._registrations.copy(), self._uplinks.copy()
        outcomes = [self._try(change) for change in changes]
        if atomic:
            try:
                refuse_if_any_failed(outcomes)
            except DeviceError:
                self._devices, self._registrations, self._uplinks = kept
                raise
        return outcomes

    def _apply(self, change: Change) -> Outcome:
        before = self._devices.get(change.imei)
        outcome = change.apply(before)
        after = outcome.device
        if after is not None and after != before:
            self._put(after)
            if after.mdn is not None and (before is None or before.mdn != after.mdn):
                self._take_mdn(after)
        if outcome.registration is not None:
            self._registrations[change.imei] = outcome.registration
            self._uplinks[change.imei] = outcome.registration.updated_ms
        if isinstance(change, Register):
            self._unsettled.discard(change.imei)
        return outcome

    def _put(self, device: Device) -> None:
        self._devices[device.imei] = msgspec.structs.replace(device, version=device.version + 1)

    def _take_mdn(self, device: Device) -> None:
        fact = cast("Fact", device.mdn)
        rule = lost_mdn if fact.source == "provisioned" else gave_up_mdn
        same_account = [d for d in self._devices.values() if d.account_id == device.account_id]
        for other in same_account:
            if other.imei != device.imei and other.mdn and other.mdn.value == fact.value:
                self._put(rule(other, fact.at_ms))

    def touch(self, imei: int, updated_ms: int, done: Done) -> None:
        if imei in self._registrations:
            moved = msgspec.structs.replace(self._registrations[imei], updated_ms=updated_ms)
            self._registrations[imei] = moved
            self._uplinks[imei] = updated_ms
        done(None)

    def end_registration(self, imei: int, location: str, done: Done) -> None:
        known = self._registrations.get(imei)
        if known is not None and known.location == location:
            self._settle(imei)
            del self._registrations[imei]
        done(None)

    async def heard(self, uplinks: Sequence[tuple[int, int]]) -> None:
        for imei, time_ms in uplinks:
            if imei in self._registrations:
                self._uplinks[imei] = max(time_ms, self._uplinks[imei])

    async def get(self, imei: int) -> Device | None:
        return self._devices.get(imei)

    async def page(self, account_id: int, protocol: str | None, after: int, count: int) -> DevicePage:
        mine = sorted(
            imei
            for imei, device in self._devices.items()
            if device.account_id == account_id and protocol in (None, device.protocol) and imei > after
        )
        shown = mine[:count]
        documents = [encode(render.listed(self._devices[imei])) for imei in shown]
        return DevicePage(documents, imei_text(shown[-1]) if shown else None, more=len(mine) > count)

    async def records(
        self, account_id: int, imeis: Sequence[int], protocol: str | None = None
    ) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for imei in imeis:
            device = self._devices.get(imei)
            if device is None or device.account_id != account_id:
                continue
            if protocol in (None, device.protocol):
                document = encode(render.record(device))
                uplink = self._uplinks.get(imei) if monitored(device) else None
                found[imei] = render.with_last_connection(document, uplink)
        return found

    async def registrations(self) -> list[Registration]:
        return list(self._registrations.values())

    async def observe(self, observed: Observed) -> None:
        self._observations[observed.imei, observed.path] = observed

    async def observations(self) -> list[Observed]:
        return [
            observed
            for observed in self._observations.values()
            if (registration := self._registrations.get(observed.imei)) is not None
            and registration.location == observed.location
        ]

    async def add_operation(self, operation: Operation) -> None:
        self._operations[operation.id] = operation

    async def open_operations(self) -> list[Operation]:
        return sorted(self._operations.values(), key=lambda operation: operation.created_ms)

    async def end_operation(self, operation_id: str, outcome: str, now_ms: int) -> None:
        self._operations.pop(operation_id, None)
        self.ended_operations[operation_id] = outcome, now_ms


def _admitted(outcome: Outcome | DeviceError) -> Admitted | DeviceError:
    if isinstance(outcome, DeviceError):
        return outcome
    device, registration = cast("Device", outcome.result), cast("Registration", outcome.registration)
    return Admitted(registration, device.inventoried_ms, settled=True)
