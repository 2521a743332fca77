"""Devices of API v3: the account's list and the look-up (spec api-v3.md 3).

Fields stand in the order of the wire. Fields with a default are optional: None means absent, and is never
written. The digits of a device id and the T in lastConnectionTime are tested when a record is made,
also by the decoder, in plain code that is several times faster than patterns; everything else is tested by
the decoder, or, for a record made in Python, by `overair.records.check`.
"""

from typing import Annotated

from msgspec import Meta, Struct

from overair.records.errors import DEVICE_ID_RULE, T2_RULE, RecordError
from overair.records.fields import (
    MAX_ENTRIES,
    T1,
    T2,
    Count,
    DeviceIds,
    Protocol,
    RowDeviceId,
)


class V3SoftwareInfo(Struct, gc=False, omit_defaults=True, rename="camel"):
    """One piece of software, or one file, on a device."""

    name: str
    version: str
    upgrade_time: Annotated[T2, Meta(description="When it came to the device")]


SoftwareList = Annotated[list[V3SoftwareInfo], Meta(max_length=MAX_ENTRIES)]


class V3Device(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """One device as a look-up answers it; a failed look-up fills the first three fields only.

    Times are text of the form the wire has: `overair.records.times` makes and reads them.
    """

    device_id: RowDeviceId
    request_status: Annotated[str | None, Meta(description="`Failure`, or absent")] = None
    result_reason: Annotated[str | None, Meta(description="Why the look-up failed")] = None
    mdn: Annotated[str | None, Meta(description="Phone number, 10 digits")] = None
    model: str | None = None
    make: str | None = None
    firmware: Annotated[str | None, Meta(description="Version last reported by the device")] = None
    fota_eligible: Annotated[bool | None, Meta(description="Can be upgraded over the air")] = None
    status: Annotated[str | None, Meta(description="Device status, as `Active`")] = None
    license_assigned: Annotated[bool | None, Meta(description="Holds a FOTA licence")] = None
    protocol: Protocol | None = None
    software_list: Annotated[SoftwareList | None, Meta(description="Installed software")] = None
    file_list: Annotated[SoftwareList | None, Meta(description="Delivered files")] = None
    create_time: Annotated[T1 | None, Meta(description="Record created")] = None
    status_time: Annotated[T1 | None, Meta(description="Firmware or software last changed")] = None
    update_time: Annotated[T1 | None, Meta(description="Record last changed")] = None
    refresh_time: Annotated[T1 | None, Meta(description="Contents last read from the device")] = None
    last_connection_time: Annotated[T2 | None, Meta(description="Reachability last checked")] = None

    def __post_init__(self) -> None:
        device_id, seen = self.device_id, self.last_connection_time
        try:
            if not (device_id.isascii() and device_id.isdigit()):
                raise RecordError("deviceId", DEVICE_ID_RULE)
            # The public SDK parses this field as a date and gives up the whole answer on T1 (quirks.md Q5);
            # lengths alone cannot tell the two forms apart.
            if seen is not None and seen[10] != "T":
                raise RecordError("lastConnectionTime", T2_RULE)
        except (AttributeError, IndexError, TypeError):
            return  # made in Python of another type or too short: for check() to name


class V3AccountDevice(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """One device in the list of an account; unknown text is empty, not absent."""

    device_id: RowDeviceId
    mdn: Annotated[str, Meta(description="Phone number, 10 digits, or empty")]
    model: str
    make: str
    firmware: Annotated[str, Meta(description="Version last reported by the device, or empty")]
    fota_eligible: Annotated[bool, Meta(description="Can be upgraded over the air")]
    status: Annotated[str, Meta(description="Device status, as `Active`")]
    license_assigned: Annotated[bool, Meta(description="Holds a FOTA licence")]
    protocol: Protocol
    software_list: Annotated[SoftwareList, Meta(description="Installed software")]
    file_list: Annotated[SoftwareList | None, Meta(description="Delivered files")] = None
    create_time: Annotated[T1 | None, Meta(description="Record created")] = None
    upgrade_time: Annotated[T1 | None, Meta(description="Firmware or software last changed")] = None
    update_time: Annotated[T1 | None, Meta(description="Record last changed")] = None
    refresh_time: Annotated[T1 | None, Meta(description="Contents last read from the device")] = None

    def __post_init__(self) -> None:
        device_id = self.device_id
        if isinstance(device_id, str) and not (device_id.isascii() and device_id.isdigit()):
            raise RecordError("deviceId", DEVICE_ID_RULE)


class V3AccountDeviceList(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A page of the devices of an account, by IMEI (GET /devices/{acc})."""

    account_name: str
    has_more_data: Annotated[bool, Meta(description="Ask again with lastSeenDeviceId")]
    last_seen_device_id: Annotated[str | None, Meta(description="Cursor of the next page")] = None
    max_page_size: Count
    device_list: Annotated[list[V3AccountDevice], Meta(max_length=MAX_ENTRIES)]


class V3DeviceListQueryRequest(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The devices to look up (POST /devices/{acc})."""

    device_list: DeviceIds


class V3DeviceListQueryResult(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The devices looked up, in the order asked for (POST /devices/{acc})."""

    account_name: str
    device_count: Annotated[Count, Meta(description="Length of deviceList")]
    device_list: Annotated[list[V3Device], Meta(max_length=MAX_ENTRIES)]
