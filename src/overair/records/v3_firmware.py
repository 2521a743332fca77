"""Firmware reports of API v3: read now, or ask the device (spec api-v3.md 4.2 and 4.3).

The answer to the first spells its list ``deviceFirmwarVersionList`` (quirks.md Q12), and gives two values
under two names each (Q13): the second name of each pair is filled from the first, or the other way.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

from overair.records.fields import MAX_ENTRIES, T2, DeviceId, DeviceIds


class V3FirmwareSyncRequest(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The devices whose firmware is to be read (PUT /firmware/{acc}/devices).

    The call takes 100 devices unless configured higher (quirks.md Q14); the caller tests that.
    """

    device_list: DeviceIds


class V3FirmwareSyncRow(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The firmware of one device, as known to its management server."""

    device_id: DeviceId
    status: Annotated[str | None, Meta(description="`FirmwareVersionUpdateSuccess` or `…Failed`")] = None
    reason: Annotated[str | None, Meta(description="Detail, empty on success")] = None
    reason_copy: Annotated[str | None, Meta(description="Same as reason")] = field(
        default=None, name="Reason"
    )
    firmware_version: Annotated[str, Meta(description="Empty when unknown")]
    firmware_version_update_time: Annotated[T2 | None, Meta(description="Last change of version")] = None
    firmware_version_update_time_copy: Annotated[
        T2 | None, Meta(description="Same as firmwareVersionUpdateTime")
    ] = field(default=None, name="VersionUpdateTime")

    def __post_init__(self) -> None:
        if self.reason is None:
            self.reason = self.reason_copy
        if self.firmware_version_update_time is None:
            self.firmware_version_update_time = self.firmware_version_update_time_copy
        self.reason_copy = self.reason
        self.firmware_version_update_time_copy = self.firmware_version_update_time


class V3FirmwareSyncResult(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """What was read, a row a device (PUT /firmware/{acc}/devices)."""

    account_name: str
    device_firmware_version_list: Annotated[
        list[V3FirmwareSyncRow], Meta(max_length=MAX_ENTRIES, description="Misspelt on the wire")
    ] = field(name="deviceFirmwarVersionList")


class V3FirmwareAsyncResult(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The device was asked to report its firmware (PUT /firmware/{acc}/async/{deviceId})."""

    account_name: str
    request_id: Annotated[str, Meta(description="UUID of this request")]
