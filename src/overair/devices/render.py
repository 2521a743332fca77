"""Devices as owners see them: the two JSON forms of a record, encoded once when the device is written.

A page of 1000 devices is then little more than a database read: documents are joined, not built.
"""

from overair.devices.model import Device, ListEntry, imei_text
from overair.devices.rules import eligible
from overair.records import V3AccountDevice, V3Device, V3SoftwareInfo, encode
from overair.records.times import format_t1, format_t2


def documents(device: Device) -> tuple[bytes, bytes]:
    """Return both forms, encoded: the one of the look-up and the one of the list."""
    return encode(record(device)), encode(listed(device))


def record(device: Device) -> V3Device:
    """Return the look-up form (spec api-v3.md, section 3.2), without ``lastConnectionTime``."""
    return V3Device(
        device_id=imei_text(device.imei),
        mdn=device.mdn.value if device.mdn else None,
        model=device.model.value if device.model else None,
        make=device.make.value if device.make else None,
        firmware=device.firmware.value if device.firmware else None,
        fota_eligible=eligible(device),
        status=device.status,
        license_assigned=device.licensed,
        protocol=device.protocol,
        software_list=_entries(device.software) or None,
        file_list=_entries(device.files) or None,
        create_time=format_t1(device.created_ms),
        status_time=_t1(device.status_ms),
        update_time=_t1(device.updated_ms),
        refresh_time=_t1(device.refreshed_ms),
    )


def listed(device: Device) -> V3AccountDevice:
    """Return the list form (section 3.1): same device, other rules for what is absent."""
    return V3AccountDevice(
        device_id=imei_text(device.imei),
        mdn=device.mdn.value if device.mdn else "",
        model=device.model.value if device.model else "",
        make=device.make.value if device.make else "",
        firmware=device.firmware.value if device.firmware else "",
        fota_eligible=eligible(device),
        status=device.status,
        license_assigned=device.licensed,
        protocol=device.protocol,
        software_list=_entries(device.software),
        file_list=_entries(device.files),
        create_time=format_t1(device.created_ms),
        upgrade_time=_t1(device.status_ms),
        update_time=_t1(device.updated_ms),
        refresh_time=_t1(device.refreshed_ms),
    )


def with_last_connection(document: bytes, last_uplink_ms: int | None) -> bytes:
    """Append ``lastConnectionTime``, which is the record's last field, to an encoded record."""
    if last_uplink_ms is None:
        return document
    return b'%s,"lastConnectionTime":"%s"}' % (document[:-1], format_t2(last_uplink_ms).encode())


def not_found(imei: str) -> bytes:
    """Return the row of an IMEI that the account does not have."""
    row = V3Device(device_id=imei, request_status="Failure", result_reason="Device not found.")
    return encode(row)


def _entries(entries: tuple[ListEntry, ...]) -> list[V3SoftwareInfo]:
    return [V3SoftwareInfo(entry.name, entry.version, format_t2(entry.upgrade_ms)) for entry in entries]


def _t1(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_t1(time_ms)
