"""What a report, a registration or a provisioning makes of a device: pure decisions.

The rules are spec device-record.md, sections 2 to 6. In short: provisioning rules identity and licence;
a confirmed value beats a provisional one, the newer the older; nothing absent or empty ever erases;
a replaced value is kept in the history; ``updateTime`` moves only if something changed,
``statusTime`` only if a version that the device itself had confirmed became another.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from overair.devices.model import (
    Device,
    DeviceError,
    Fact,
    FieldName,
    ListEntry,
    ProtocolName,
    Provisioning,
    Replaced,
    Report,
    Source,
)
from overair.platform.limits import DEFAULT_LIMITS, Limits

STATUSES = ("Active", "Pending", "Suspended", "Inactive")

# Who is believed about the MDN, best first (section 2.2).
MDN_RANK: dict[str, int] = {"provisioned": 1, "endpoint": 2, "sms": 3, "LWM2M": 4, "HTTP": 5, "OMADM": 6}

# Who is believed when two say something in the same millisecond, best first (section 6, rank 4).
PROTOCOL_RANK: dict[str, int] = {"LWM2M": 1, "OMADM": 2, "HTTP": 3}

CONFLICT_MS = 60_000  # two protocols that disagree within a minute are an event (section 6)

ATTRIBUTES = 64  # names kept of one device: a Register may bring 32 that nobody ever heard of

EARLIEST_DEVICE_TIME_MS = (
    1_420_070_400_000  # 2015-01-01: a device clock before that was never set (section 3.4)
)

DESCRIPTION: tuple[FieldName, ...] = ("make", "model", "firmware")

Described = tuple[Device, tuple[str, ...]]
"""A device after a rule, and the events that the rule raised."""

_PADDING = "\x00 \t\r\n"


def normalise_mdn(text: str) -> str | None:
    """Return the digits of a phone number as shown: no ``+``, no leading zeros, no leading 1 of eleven.

    None for what is no number, such as the ``zero`` that some SIMs report (section 2.2).
    """
    digits = text.strip(_PADDING).removeprefix("+").lstrip("0")
    if not re.fullmatch(r"[0-9]{1,15}", digits):
        return None
    return digits[1:] if len(digits) == 11 and digits[0] == "1" else digits


def clean(text: str | None, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Trim what devices put around a string: white space and trailing NULs. None if nothing is left.

    Cut to ``text_bytes`` of UTF-8; half a surrogate pair, which no document can hold, is dropped.
    """
    if text is None:
        return None
    raw = text.strip(_PADDING).encode(errors="ignore")
    return raw[: limits.text_bytes].decode(errors="ignore").rstrip(_PADDING) or None


def created(provisioning: Provisioning, account_id: int, now_ms: int) -> Device:
    """Return the device as an owner first describes it."""
    bare = Device(imei=provisioning.imei, account_id=account_id, created_ms=now_ms)
    device, _ = provisioned(bare, provisioning, now_ms)
    return msgspec.structs.replace(device, updated_ms=None, history=())


def provisioned(device: Device, said: Provisioning, now_ms: int) -> Described:
    """Take over what the owner says. It rules MDN and status; for the rest it fills what no device said."""
    changes: dict[str, Any] = {}
    if said.mdn is not None and (number := normalise_mdn(said.mdn)) is not None:
        changes |= _put(device, "mdn", Fact(number, "provisioned", now_ms))
    for name in DESCRIPTION:
        if (value := clean(getattr(said, name))) is not None and not _confirmed(getattr(device, name)):
            fact = Fact(value, "provisioned", now_ms, confirmed=False)
            changes |= _put(_with(device, changes), name, fact)
    if said.status:
        if said.status not in STATUSES:
            raise DeviceError(f"status {said.status[:32]!r}: must be one of {', '.join(STATUSES)}")
        changes["status"] = said.status
    if said.protocol is not None and device.protocol != said.protocol and not _heard(device):
        changes["protocol"] = said.protocol
    return _changed(device, changes, now_ms), ()


def contacted(
    device: Device, protocol: ProtocolName, attributes: Iterable[tuple[str, str]], now_ms: int
) -> Described:
    """The device spoke *protocol*: that is its protocol now (section 4.1)."""
    changes: dict[str, Any] = {}
    if device.protocol != protocol:
        changes["protocol"] = protocol
    changes |= _attributes(device, [("heard", protocol), *attributes])
    return _changed(device, changes, now_ms), ()


def reported(device: Device, report: Report, now_ms: int, limits: Limits = DEFAULT_LIMITS) -> Described:
    """Take over what the device says of itself (sections 3, 4.5 and 6)."""
    changes: dict[str, Any] = {}
    events: list[str] = []
    for name in DESCRIPTION:
        value = clean(getattr(report, name), limits)
        if value is not None:
            changes |= _report_field(_with(device, changes), name, Fact(value, report.source, now_ms))
    changes |= _report_mdn(_with(device, changes), report, now_ms, events)
    if report.firmware_capable is not None and report.firmware_capable != device.firmware_capable:
        changes["firmware_capable"] = report.firmware_capable
    if report.software is not None:
        software = merged_software(device.software, report, now_ms, limits)
        if software != device.software:
            changes["software"] = software
    changes |= _attributes(_with(device, changes), report.attributes)
    events += _identity_events(device, changes)
    events += _conflict_events(device, changes)
    if _version_changed(device, changes):
        changes["status_ms"] = now_ms
    after = _changed(device, changes, now_ms)
    if report.refreshed:
        after = msgspec.structs.replace(after, refreshed_ms=now_ms)
    if report.inventory:
        after = msgspec.structs.replace(after, inventoried_ms=now_ms)
    return after, tuple(events)


def merged_software(
    known: tuple[ListEntry, ...], report: Report, now_ms: int, limits: Limits
) -> tuple[ListEntry, ...]:
    """Return the list after a report: a partial one adds and updates, a complete one also removes."""
    entries = {} if report.software_complete else {entry.name: entry for entry in known}
    before = {entry.name: entry for entry in known}
    for raw_name, raw_version, device_ms in report.software or ():
        name, version = clean(raw_name, limits), clean(raw_version, limits)
        if name is None:
            continue
        old = before.get(name)
        if old is not None and version in (None, old.version):
            entries[name] = old
        else:
            entries[name] = ListEntry(name, version or "", _believable(device_ms, now_ms) or now_ms)
    # Cut before sorting: what a partial report adds to a full list must not push out what is known.
    kept = list(entries.values())[: limits.software_list_items]
    return tuple(sorted(kept, key=lambda entry: (entry.name, entry.version)))


def eligible(device: Device) -> bool:
    """Whether the service can upgrade the device over the air (section 4.3). Not known yet: no."""
    if device.eligible_override is not None:
        return device.eligible_override
    return bool(device.firmware_capable) and device.firmware is not None


def licensed(device: Device, now_ms: int, *, licensed: bool) -> Device:
    """Return the device with a licence, or without."""
    if device.licensed == licensed:
        return device
    return _changed(device, {"licensed": licensed}, now_ms)


def upgraded(device: Device, kind: str, brought: tuple[str, str], now_ms: int, *, confirmed: bool) -> Device:
    """Take over what a campaign brought: (name, version) of firmware, software or a file.

    *confirmed*: the device says so itself; else the campaign's target stands in until it says what it has.
    """
    name, version = brought
    changes: dict[str, Any] = {"status_ms": now_ms}
    if kind == "firmware":
        known = device.firmware
        if known is None or known.value != version:
            changes |= _put(device, "firmware", Fact(version, "campaign", now_ms, confirmed=confirmed))
    else:
        field = "software" if kind == "software" else "files"
        changes[field] = _with_entry(getattr(device, field), ListEntry(name, version, now_ms))
    return _changed(device, changes, now_ms)


def _with_entry(
    entries: tuple[ListEntry, ...], brought: ListEntry, limits: Limits = DEFAULT_LIMITS
) -> tuple[ListEntry, ...]:
    """Return the list with an entry, in the place of an older one of its name."""
    kept = [entry for entry in entries if entry.name != brought.name][: limits.file_list_items - 1]
    return tuple(sorted([*kept, brought], key=lambda entry: (entry.name, entry.version)))


def monitored(device: Device) -> bool:
    """Whether reachability is shown: for licensed devices (spec lifecycle.md, section 7)."""
    return device.licensed


def gave_up_mdn(device: Device, now_ms: int) -> Device:
    """Another device of the account has this one's MDN now: flag it, and let go of it unless provisioned."""
    changes = _attributes(device, [("mdn_duplicate", str(now_ms))])
    if device.mdn is not None and device.mdn.source != "provisioned":
        changes |= {"mdn": None, "history": _remembered(device, "mdn", device.mdn)}
    return _changed(device, changes, now_ms)


def lost_mdn(device: Device, now_ms: int) -> Device:
    """The owner moved this device's MDN to another one (section 6)."""
    if device.mdn is None:
        return device
    return _changed(device, {"mdn": None, "history": _remembered(device, "mdn", device.mdn)}, now_ms)


def _report_field(device: Device, name: FieldName, fact: Fact) -> dict[str, Any]:
    if name in device.locked:
        return _attributes(device, [(f"reported_{name}", fact.value)])
    old: Fact | None = getattr(device, name)
    if old is not None and old.at_ms == fact.at_ms and _outranks(old.source, fact.source):
        return {}
    return _put(device, name, fact)


def _report_mdn(device: Device, report: Report, now_ms: int, events: list[str]) -> dict[str, Any]:
    number = normalise_mdn(report.mdn) if report.mdn else None
    if number is None:
        return {}
    source = report.mdn_source or report.source
    known = device.mdn
    if known is None or "mdn" in device.locked or MDN_RANK[source] <= MDN_RANK.get(known.source, 9):
        return _report_field(device, "mdn", Fact(number, source, now_ms))
    if known.source == "provisioned" and known.value != number:
        events.append("mdn_mismatch")
        return _attributes(device, [("mdn_mismatch", number)])
    return {}


def _put(device: Device, name: FieldName, fact: Fact) -> dict[str, Any]:
    """Set one field; the time of a fact is when its value was first seen."""
    old: Fact | None = getattr(device, name)
    if old is None:
        return {name: fact}
    if old.value == fact.value:
        same = old.source == fact.source and old.confirmed == fact.confirmed
        weaker = old.confirmed and not fact.confirmed
        return {} if same or weaker else {name: msgspec.structs.replace(fact, at_ms=old.at_ms)}
    return {name: fact, "history": _remembered(device, name, old)}


def _remembered(device: Device, name: str, old: Fact) -> tuple[Replaced, ...]:
    kept = (*device.history, Replaced(name, old.value, old.source, old.at_ms))
    return kept[-DEFAULT_LIMITS.history_items :]


def _attributes(device: Device, said: Iterable[tuple[str, str]]) -> dict[str, Any]:
    known = device.attributes
    # Compared before they are cleaned: most Registers say what the last one said.
    news = [(name, text) for name, raw in said if known.get(name) != raw and (text := clean(raw)) is not None]
    if not news:
        return {}
    after = dict(known)
    for name, text in news:
        if name in after or len(after) < ATTRIBUTES:
            after[name] = text
    return {"attributes": after} if after != known else {}


def _identity_events(device: Device, changes: dict[str, Any]) -> list[str]:
    became = [name for name in ("make", "model") if name in changes and _confirmed(getattr(device, name))]
    return ["identity_changed"] if any(changes[n].value != getattr(device, n).value for n in became) else []


def _conflict_events(device: Device, changes: dict[str, Any]) -> list[str]:
    """Two protocols say different things of the firmware, and both only just now."""
    old, new = device.firmware, changes.get("firmware")
    if old is None or new is None or old.value == new.value:
        return []
    both_devices = PROTOCOL_RANK.keys() >= {old.source, new.source} and old.source != new.source
    return ["firmware_conflict"] if both_devices and new.at_ms - old.at_ms <= CONFLICT_MS else []


def _outranks(source: str, other: str) -> bool:
    return PROTOCOL_RANK.get(source, 9) < PROTOCOL_RANK.get(other, 0)


def _version_changed(device: Device, changes: dict[str, Any]) -> bool:
    """A version that the device had confirmed became another; a first inventory is no change."""
    old, new = device.firmware, changes.get("firmware")
    if old is not None and old.confirmed and new is not None and new.value != old.value:
        return True
    before = {entry.name: entry.version for entry in device.software}
    after = changes.get("software", ())
    return any(before.get(entry.name, entry.version) != entry.version for entry in after)


def _with(device: Device, changes: dict[str, Any]) -> Device:
    return msgspec.structs.replace(device, **changes) if changes else device


def _changed(device: Device, changes: dict[str, Any], now_ms: int) -> Device:
    """Apply *changes*; ``updateTime`` moves only if a value is another now, not if another said the same."""
    after = _with(device, changes)
    moved = any(_value(getattr(device, name)) != _value(change) for name, change in changes.items())
    # Not back: what a Register said may be taken over after what the device reported meanwhile.
    return msgspec.structs.replace(after, updated_ms=max(now_ms, device.updated_ms or 0)) if moved else after


def _value(stored: Any) -> Any:
    return stored.value if isinstance(stored, Fact) else stored


def _confirmed(fact: Fact | None) -> bool:
    return fact is not None and fact.confirmed


def _heard(device: Device) -> bool:
    return "heard" in device.attributes


def _believable(device_ms: int | None, now_ms: int) -> int | None:
    return device_ms if device_ms is not None and EARLIEST_DEVICE_TIME_MS <= device_ms <= now_ms else None


def source_of_mdn(endpoint_msisdn: str | None, sms: str | None) -> tuple[str | None, Source | None]:
    """Return the number that a registration carries, and who said it: the endpoint's name before ``sms=``."""
    if endpoint_msisdn and normalise_mdn(endpoint_msisdn):
        return endpoint_msisdn, "endpoint"
    return (sms, "sms") if sms else (None, None)
