"""The changes that the use cases make to a device: each a value with the IMEI and a pure ``apply``."""

from typing import Literal

import msgspec

from overair.devices import rules
from overair.devices.model import (
    Device,
    FirmwareReading,
    ForeignDevice,
    Outcome,
    Provisioning,
    Registration,
    Report,
    UnknownDevice,
    imei_text,
)


class Said(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a Register said of its device, besides where it is reached."""

    attributes: tuple[tuple[str, str], ...] = ()
    msisdn: str | None = None
    sms: str | None = None


_NOTHING_SAID = Said()
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Said).decode


def encode_said(said: Said) -> bytes:
    """Return the stored form; most devices say nothing, and a hundred thousand of them say it in no bytes."""
    return b"" if said == _NOTHING_SAID else _encode(said)


def decode_said(stored: bytes) -> Said:
    """Return what :func:`encode_said` was given."""
    return _decode(stored) if stored else _NOTHING_SAID


class Register(msgspec.Struct, frozen=True, gc=False):
    """An LwM2M Register; ``registration.account_id`` is 0 until the device is found."""

    registration: Registration
    enrol_account_id: int | None = None
    """The account that takes in unknown devices; None refuses them."""

    @property
    def imei(self) -> int:
        return self.registration.imei

    def apply(self, device: Device | None) -> Outcome:
        now_ms = self.registration.registered_ms
        if device is None:
            device = self._enrolled(now_ms)
        said = decode_said(self.registration.said)
        attributes = (("endpoint", self.registration.endpoint), *said.attributes)
        after, _ = rules.contacted(device, "LWM2M", attributes, now_ms)
        number, source = rules.source_of_mdn(said.msisdn, said.sms)
        events: tuple[str, ...] = ()
        if number:
            report = Report("LWM2M", mdn=number, mdn_source=source, refreshed=False)
            after, events = rules.reported(after, report, now_ms)
        placed = msgspec.structs.replace(self.registration, account_id=device.account_id)
        return Outcome(after, placed, events, result=after)

    def _enrolled(self, now_ms: int) -> Device:
        if self.enrol_account_id is None:
            raise UnknownDevice(f"device {imei_text(self.imei)} is not known to any account")
        return rules.created(Provisioning(self.imei), self.enrol_account_id, now_ms)


class Move(msgspec.Struct, frozen=True, gc=False):
    """An Update that changed what the registration says: address, lifetime, object list …"""

    registration: Registration
    sms: str | None = None

    @property
    def imei(self) -> int:
        return self.registration.imei

    def apply(self, device: Device | None) -> Outcome:
        if device is None:
            raise UnknownDevice(f"device {imei_text(self.imei)} is not known to any account")
        if self.sms is None:
            return Outcome(None, self.registration, result=device)
        said = Report("LWM2M", mdn=self.sms, mdn_source="sms", refreshed=False)
        after, events = rules.reported(device, said, self.registration.updated_ms)
        return Outcome(after, self.registration, events, result=after)


class TakeReport(msgspec.Struct, frozen=True):
    """A device said something of itself."""

    imei: int
    report: Report
    now_ms: int

    def apply(self, device: Device | None) -> Outcome:
        if device is None:
            raise UnknownDevice(f"device {imei_text(self.imei)} is not known to any account")
        after, events = rules.reported(device, self.report, self.now_ms)
        return Outcome(after, events=events, result=after)


class Provision(msgspec.Struct, frozen=True):
    """An owner adds a device, or says something new of one."""

    account_id: int
    said: Provisioning
    now_ms: int

    @property
    def imei(self) -> int:
        return self.said.imei

    def apply(self, device: Device | None) -> Outcome:
        if device is None:
            made = rules.created(self.said, self.account_id, self.now_ms)
            return Outcome(made, result=made)
        if device.account_id != self.account_id:
            raise ForeignDevice(f"device {imei_text(self.imei)} belongs to another account")
        after, events = rules.provisioned(device, self.said, self.now_ms)
        return Outcome(after, events=events, result=after)


class SynchroniseFirmware(msgspec.Struct, frozen=True):
    """An owner asks for the firmware known; counts as a refresh (spec api-v3.md, section 4.2)."""

    account_id: int
    imei: int
    now_ms: int

    def apply(self, device: Device | None) -> Outcome:
        if device is None or device.account_id != self.account_id:
            return Outcome(result=FirmwareReading(imei_text(self.imei), found=False))
        after = msgspec.structs.replace(device, refreshed_ms=self.now_ms)
        known = device.firmware
        reading = FirmwareReading(
            imei_text(self.imei),
            found=True,
            firmware=known.value if known else "",
            changed_ms=known.at_ms if known else None,
        )
        return Outcome(after, result=reading)


class SetLicensed(msgspec.Struct, frozen=True):
    """A licence was assigned to a device, or taken from it (spec device-record.md, section 4.4)."""

    account_id: int
    imei: int
    licensed: bool
    now_ms: int

    def apply(self, device: Device | None) -> Outcome:
        known = _of_account(device, self.account_id, self.imei)
        after = rules.licensed(known, self.now_ms, licensed=self.licensed)
        return Outcome(after, result=after)


class Upgraded(msgspec.Struct, frozen=True):
    """A campaign brought a device what it was to bring (spec device-record.md, sections 3.2, 3.3 and 4.5).

    *confirmed* is false where the device could not be asked: then the campaign's target stands in.
    """

    account_id: int
    imei: int
    kind: Literal["firmware", "software", "file"]
    name: str
    version: str
    confirmed: bool
    now_ms: int

    def apply(self, device: Device | None) -> Outcome:
        known = _of_account(device, self.account_id, self.imei)
        after = rules.upgraded(
            known, self.kind, (self.name, self.version), self.now_ms, confirmed=self.confirmed
        )
        return Outcome(after, result=after)


def _of_account(device: Device | None, account_id: int, imei: int) -> Device:
    if device is None or device.account_id != account_id:
        raise UnknownDevice(f"device {imei_text(imei)} is not known to the account")
    return device
