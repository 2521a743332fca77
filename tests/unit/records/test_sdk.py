"""The public Python SDK reads what we write, field for field."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from verizon.api_helper import APIHelper
from verizon.models.device_firmware_list import DeviceFirmwareList
from verizon.models.v3_account_device_list import V3AccountDeviceList as SdkAccountDeviceList
from verizon.models.v3_device import V3Device as SdkDevice

from overair.records import (
    V3AccountDevice,
    V3AccountDeviceList,
    V3Device,
    V3FirmwareSyncResult,
    V3FirmwareSyncRow,
    V3SoftwareInfo,
    check,
    decode,
    encode,
)
from overair.records.times import format_t1, format_t2, parse_t2

# The SDK drops empty text (quirks.md Q33) and dates beyond what datetime holds; both are its own limits.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
imeis = st.integers(0, 10**15 - 1).map("{:015}".format)
instants = st.integers(0, 4_102_444_800_000)
t1s = instants.map(format_t1)
t2s = instants.map(format_t2)
software_lists = st.lists(st.builds(V3SoftwareInfo, texts, texts, t2s), max_size=3)
protocols = st.sampled_from(["LWM2M", "OMADM", "HTTP", "NONE"])
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "fota_eligible": st.booleans(),
    "license_assigned": st.booleans(),
    "protocol": protocols,
    "software_list": software_lists,
    "file_list": software_lists,
    "create_time": t1s,
    "status_time": t1s,
    "upgrade_time": t1s,
    "update_time": t1s,
    "refresh_time": t1s,
    "last_connection_time": t2s,
}


def kinds(record_type: Any) -> dict[str, st.SearchStrategy[Any]]:
    found: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(record_type):
        kind = KINDS.get(field.name, texts)
        found[field.name] = kind if field.required else st.none() | kind
    return found | {"device_id": imeis}


devices = st.builds(V3Device, **kinds(V3Device))
account_devices = st.builds(V3AccountDevice, **kinds(V3AccountDevice))


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, msgspec.Struct):
        return all(same_field(ours, theirs, name) for name in ours.__struct_fields__)
    return bool(ours == theirs)


def same_field(ours: Any, theirs: Any, name: str) -> bool:
    value = getattr(ours, name)
    if value is None:
        return not hasattr(theirs, name)
    read = getattr(theirs, name)
    if name in ("last_connection_time", "firmware_version_update_time"):
        return parse_t2(value) == round(read.datetime.timestamp() * 1000)
    return same(value, read)


@given(devices)
def test_the_sdk_reads_every_field_of_a_device(device: V3Device) -> None:
    check(device)
    assert decode(V3Device, encode(device)) == device
    assert same(device, SdkDevice.from_dictionary(json.loads(encode(device))))


def test_the_comparison_can_fail() -> None:
    ours = V3Device(device_id="1" * 15, model="a", software_list=[V3SoftwareInfo("a", "b", format_t2(0))])
    tree = json.loads(encode(ours))
    assert same(ours, SdkDevice.from_dictionary(tree))
    assert not same(ours, SdkDevice.from_dictionary(tree | {"model": "b"}))
    assert not same(ours, SdkDevice.from_dictionary(tree | {"make": "b"}))
    assert not same(ours, SdkDevice.from_dictionary(tree | {"softwareList": []}))


@given(devices)
def test_we_read_what_the_sdk_writes_of_a_device(device: V3Device) -> None:
    theirs = SdkDevice.from_dictionary(json.loads(encode(device)))
    tree = APIHelper.to_dictionary(theirs) | {"lastConnectionTime": device.last_connection_time}
    assert decode(V3Device, json.dumps(tree).encode()) == device


@given(st.lists(account_devices, max_size=2), st.booleans())
def test_the_sdk_reads_a_page_of_the_account(rows: list[V3AccountDevice], more: bool) -> None:
    page = V3AccountDeviceList(
        account_name="1-1", has_more_data=more, last_seen_device_id="0", max_page_size=1000, device_list=rows
    )
    check(page)
    assert decode(V3AccountDeviceList, encode(page)) == page
    assert same(page, SdkAccountDeviceList.from_dictionary(json.loads(encode(page))))


@given(imeis, texts, texts, st.none() | t2s)
def test_the_sdk_reads_the_firmware_that_was_read(
    imei: str, reason: str, version: str, when: str | None
) -> None:
    row = V3FirmwareSyncRow(
        device_id=imei, reason=reason, firmware_version=version, firmware_version_update_time=when
    )
    result = V3FirmwareSyncResult(account_name="1-1", device_firmware_version_list=[row])
    theirs = DeviceFirmwareList.from_dictionary(json.loads(encode(result))).device_firmwar_version_list[0]
    for name in ("device_id", "status", "reason", "firmware_version", "firmware_version_update_time"):
        assert same_field(row, theirs, name), name
