"""What the service knows of one device, and what can happen to it.

A device is keyed by its IMEI, kept as an integer: 15 digits fit 64 bits, and the integer's order is
the text's order. Times are UTC epoch milliseconds. The JSON that owners see is rendered from this
(:mod:`overair.devices.render`), never stored values of its own.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

ProtocolName = Literal["LWM2M", "OMADM", "HTTP", "NONE"]
Source = Literal["provisioned", "endpoint", "sms", "LWM2M", "OMADM", "HTTP", "campaign"]
FieldName = Literal["mdn", "make", "model", "firmware"]


class Fact(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value, who said it and when. A provisional value yields to a confirmed one."""

    value: str
    source: Source
    at_ms: int
    confirmed: bool = True


class ListEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of ``softwareList`` or ``fileList``."""

    name: str
    version: str
    upgrade_ms: int


class Replaced(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value that another one took the place of (spec device-record.md, section 6, rule 7)."""

    field: str
    value: str
    source: str
    at_ms: int


class Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole state of one device; ``version`` counts its writes."""

    imei: int
    account_id: int
    created_ms: int
    version: int = 0
    status: str = "Active"
    protocol: ProtocolName = "NONE"
    mdn: Fact | None = None
    make: Fact | None = None
    model: Fact | None = None
    firmware: Fact | None = None
    firmware_capable: bool | None = None
    """Whether its protocol can bring it firmware; None until it said so."""
    eligible_override: bool | None = None
    licensed: bool = False
    software: tuple[ListEntry, ...] = ()
    files: tuple[ListEntry, ...] = ()
    status_ms: int | None = None
    updated_ms: int | None = None
    refreshed_ms: int | None = None
    inventoried_ms: int | None = None
    """When the device was last read as a whole; a refresh can be less."""
    attributes: dict[str, str] = {}
    """What else it said (endpoint name, ICCID, host model), and flags such as ``mdn_mismatch``."""
    history: tuple[Replaced, ...] = ()
    locked: tuple[str, ...] = ()
    """Fields that an operator fixed: reports go to the attribute ``reported_<field>``."""


class Provisioning(msgspec.Struct, frozen=True):
    """What an owner says of a device before the device has said anything. None: nothing said."""

    imei: int
    mdn: str | None = None
    make: str | None = None
    model: str | None = None
    firmware: str | None = None
    protocol: ProtocolName | None = None
    status: str | None = None


class Report(msgspec.Struct, frozen=True):
    """What a device said of itself in one go. None and ``""``: it said nothing, nothing is overwritten."""

    source: Source
    mdn: str | None = None
    mdn_source: Source | None = None
    make: str | None = None
    model: str | None = None
    firmware: str | None = None
    firmware_capable: bool | None = None
    software: tuple[tuple[str, str, int | None], ...] | None = None
    """(name, version, the device's own time of installation in ms or None); None when not read."""
    software_complete: bool = False
    """Whether the list is all there is, so that what it lacks is gone."""
    attributes: tuple[tuple[str, str], ...] = ()
    refreshed: bool = True
    """Whether the device's contents were read again, which moves ``refreshTime``."""
    inventory: bool = False
    """Whether everything was read."""


class Registration(msgspec.Struct, gc=False):
    """Where an LwM2M device is reached, as it said in its last Register and Updates.

    Replaced, never changed, but for the account, which admission fills in.
    """

    imei: int
    account_id: int
    location: str
    endpoint: str
    host: str
    port: int
    lifetime_seconds: int
    lwm2m_version: str
    binding: str
    queue_mode: bool
    links: bytes
    """The registration's payload as it came (link format)."""
    identity: bytes
    """The security identity that it registered with; empty without security."""
    said: bytes
    """What else the Register said of the device, as :class:`overair.devices.changes.Said`."""
    registered_ms: int
    updated_ms: int
    """Last Register or Update: the lifetime counts from here."""


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """A registration that is stored. Its device's record may be behind it: see ``settled``."""

    registration: Registration
    inventoried_ms: int | None
    """When the device was last read as a whole."""
    settled: bool
    """Whether the record has what the Register said; else it is to be asked for with ``settle``."""


class Observed(msgspec.Struct, frozen=True):
    """An LwM2M observation, kept so that a restart of the service does not orphan it.

    It belongs to the registration with that *location*; a later one has forgotten it.
    """

    imei: int
    path: str
    """As in ``/3/0/3``."""
    token: bytes
    location: str
    created_ms: int


class Operation(msgspec.Struct, frozen=True):
    """Something that a device is to be asked when it is awake; outlives a restart."""

    id: str
    imei: int
    kind: Literal["report_firmware"]
    created_ms: int


class Outcome(msgspec.Struct, frozen=True):
    """What a change makes of a device: the state to store, None where nothing changed."""

    device: Device | None = None
    registration: Registration | None = None
    events: tuple[str, ...] = ()
    """Things an operator may want to know: ``mdn_mismatch``, ``identity_changed`` …"""
    result: Any = None


class Change(Protocol):
    """A read-modify-write of one device, applied by the store inside its transaction."""

    @property
    def imei(self) -> int: ...

    def apply(self, device: Device | None) -> Outcome: ...


class DevicePage(msgspec.Struct, frozen=True):
    """One page of an account's devices as encoded ``V3AccountDevice`` documents."""

    documents: list[bytes]
    last: str | None
    more: bool


class FirmwareReading(msgspec.Struct, frozen=True):
    """The firmware known of one device; ``found`` is false where the account has no such device."""

    imei: str
    found: bool
    firmware: str = ""
    changed_ms: int | None = None


class DeviceError(Exception):
    """A request about a device can't be met; the message says why."""


class UnknownDevice(DeviceError):
    """The account has no such device."""


class ForeignDevice(DeviceError):
    """The IMEI belongs to another account."""


class AddRefused(DeviceError):
    """None of the devices was added; ``errors`` says why: (position, reason)."""

    def __init__(self, errors: list[tuple[int, str]]) -> None:
        super().__init__(f"{len(errors)} devices can't be added; nothing was changed")
        self.errors = errors


OperationListener = Callable[[Operation], None]


def imei_number(text: str) -> int:
    """Return the stored form of 15 digits; :class:`DeviceError` for anything else."""
    if len(text) != 15 or not (text.isascii() and text.isdigit()):
        raise DeviceError(f"IMEI {text[:32]!r}: must be 15 digits")
    return int(text)


def imei_text(number: int) -> str:
    """Return the 15 digits of a stored IMEI."""
    return f"{number:015d}"
