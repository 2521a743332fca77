"""Firmware reports of API v3 (spec api-v3.md, sections 4.2 and 4.3)."""

from typing import Annotated

from msgspec import Meta, Struct

from overair.accounts.model import Access
from overair.devices.model import FirmwareReading
from overair.doors.thingspace import errors
from overair.doors.thingspace.devices_v3 import DEVICE_LIST_PROBLEMS, bounded_list
from overair.doors.thingspace.errors import Refusal, unreadable_device_list
from overair.doors.thingspace.guards import ON_ACCOUNT
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Route, json_body
from overair.doors.thingspace.parameters import ACCOUNT, DEVICE_ID
from overair.records import (
    V3FirmwareAsyncResult,
    V3FirmwareSyncRequest,
    V3FirmwareSyncResult,
    V3FirmwareSyncRow,
)
from overair.records.times import format_t2

PATH = "/api/fota/v3/firmware/{acc}"
SUCCESS = "FirmwareVersionUpdateSuccess"
FAILED = "FirmwareVersionUpdateFailed"
NOT_FOUND = "Device not found."


class V3FirmwareOfDevice(Struct, gc=False, rename="camel", kw_only=True):
    """The firmware of one device, in the older form of the call (Q3)."""

    account_name: str
    device_id: str
    firmware_version: Annotated[str, Meta(description="Empty when unknown")]


async def synchronise(call: Call, access: Access, asked: V3FirmwareSyncRequest) -> V3FirmwareSyncResult:
    """Read the firmware of the devices as it is known, a row a device."""
    imeis = bounded_list(asked.device_list, call.services.limits.firmware_sync_devices)
    readings = await call.services.devices.synchronise_firmware(access.account.id, imeis)
    return V3FirmwareSyncResult(
        account_name=access.account.name,
        device_firmware_version_list=[_row(reading) for reading in readings],
    )


async def synchronise_one(call: Call, access: Access, _: None) -> V3FirmwareOfDevice:
    """Read the firmware of one device."""
    imei = call.value(DEVICE_ID)
    (reading,) = await call.services.devices.synchronise_firmware(access.account.id, [imei])
    if not reading.found:
        raise Refusal(errors.DEVICE_NOT_FOUND)
    return V3FirmwareOfDevice(
        account_name=access.account.name, device_id=imei, firmware_version=reading.firmware
    )


async def request_report(call: Call, access: Access, _: None) -> V3FirmwareAsyncResult:
    """Have a device asked for its firmware; answers before the device does."""
    request_id = await call.services.devices.request_report(access.account.id, call.value(DEVICE_ID))
    return V3FirmwareAsyncResult(account_name=access.account.name, request_id=request_id)


def _row(reading: FirmwareReading) -> V3FirmwareSyncRow:
    if not reading.found:
        return V3FirmwareSyncRow(device_id=reading.imei, status=FAILED, reason=NOT_FOUND, firmware_version="")
    changed = None if reading.changed_ms is None else format_t2(reading.changed_ms)
    return V3FirmwareSyncRow(
        device_id=reading.imei,
        status=SUCCESS,
        reason="",
        firmware_version=reading.firmware,
        firmware_version_update_time=changed,
    )


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        method="PUT",
        path=f"{PATH}/devices",
        summary="Read the firmware of devices as it is known",
        guard=ON_ACCOUNT,
        body=json_body(V3FirmwareSyncRequest, unreadable_device_list, *DEVICE_LIST_PROBLEMS),
        handler=synchronise,
        answer=V3FirmwareSyncResult,
        parameters=(ACCOUNT,),
    ),
    Route(
        method="PUT",
        path=f"{PATH}/{{deviceId}}",
        summary="Read the firmware of one device as it is known (older form)",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=synchronise_one,
        answer=V3FirmwareOfDevice,
        parameters=(ACCOUNT, DEVICE_ID),
        problems=(errors.DEVICE_NOT_FOUND,),
    ),
    Route(
        method="PUT",
        path=f"{PATH}/async/{{deviceId}}",
        summary="Ask a device to report its firmware",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=request_report,
        answer=V3FirmwareAsyncResult,
        parameters=(ACCOUNT, DEVICE_ID),
        problems=(errors.DEVICE_NOT_FOUND,),
    ),
)
