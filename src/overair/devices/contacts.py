"""What devices say that have no registration: those of HTTP, where each request stands for itself.

Source: spec device-record.md, sections 4.1 and 4.5; ddi.md, section 10.3.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, bindparam, or_, update

from overair.devices import rules, sql
from overair.devices.model import Device, ListEntry, Outcome, Report, UnknownDevice, imei_text
from overair.devices.tables import devices
from overair.platform.database import Query
from overair.platform.limits import DEFAULT_LIMITS

_HEARD = Query(
    update(devices)
    .where(
        devices.c.imei == bindparam("key"),
        or_(devices.c.last_uplink_ms.is_(None), devices.c.last_uplink_ms < bindparam("later")),
    )
    .values(last_uplink_ms=bindparam("uplink"))
)


class SpokeHttp(msgspec.Struct, frozen=True):
    """A device spoke HTTP: that is its protocol now, and whoever speaks it can be brought firmware."""

    imei: int
    now_ms: int

    def apply(self, device: Device | None) -> Outcome:
        after = _spoken(device, self.imei, self.now_ms)
        return Outcome(after, result=after)


class TakeAttributes(msgspec.Struct, frozen=True):
    """A device said over HTTP what it is and what it has; *files* as (name, version)."""

    imei: int
    report: Report
    files: tuple[tuple[str, str], ...]
    files_complete: bool
    now_ms: int

    def apply(self, device: Device | None) -> Outcome:
        spoken = _spoken(device, self.imei, self.now_ms)
        after, events = rules.reported(spoken, self.report, self.now_ms)
        if self.files:
            after = self._with_files(after)
        return Outcome(after, events=events, result=after)

    def _with_files(self, device: Device) -> Device:
        listed = Report(
            "HTTP",
            software=tuple((name, version, None) for name, version in self.files),
            software_complete=self.files_complete,
        )
        files = _merged(device.files, listed, self.now_ms)
        if files == device.files:
            return device
        return msgspec.structs.replace(device, files=files, updated_ms=self.now_ms)


def store_contacts(connection: Connection, contacts: Sequence[tuple[int, int]]) -> None:
    """Store when devices were heard, (imei, time in ms), where that is later than what is known."""
    _HEARD.many(connection, [(time_ms, imei, time_ms) for imei, time_ms in contacts])
    sql.store_uplinks(connection, contacts)  # one that is also registered is shown by its registration


def _spoken(device: Device | None, imei: int, now_ms: int) -> Device:
    if device is None:
        raise UnknownDevice(f"device {imei_text(imei)} is not known to any account")
    after, _ = rules.contacted(device, "HTTP", (), now_ms)
    if after.firmware_capable:
        return after
    capable = Report("HTTP", firmware_capable=True, refreshed=False)
    return rules.reported(after, capable, now_ms)[0]


def _merged(known: tuple[ListEntry, ...], listed: Report, now_ms: int) -> tuple[ListEntry, ...]:
    return rules.merged_software(known, listed, now_ms, DEFAULT_LIMITS)
