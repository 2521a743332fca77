"""The strict codec: what it refuses, how it names it, and what it leaves out."""

import datetime
import json
from typing import Any

import pytest

from overair.records import (
    ErrorBody,
    PasswordResetRequest,
    RecordError,
    SessionLoginRequest,
    TokenResult,
    V3AccountDevice,
    V3AccountDeviceList,
    V3Device,
    V3DeviceListQueryResult,
    V3FirmwareSyncRow,
    V3SoftwareInfo,
    check,
    decode,
    encode,
)
from overair.records.errors import (
    DEVICE_ID_RULE,
    LIST_TOO_LONG,
    NOT_JSON,
    PROTOCOL_RULE,
    REQUIRED,
    T1_RULE,
    T2_RULE,
    TOO_DEEP,
    UNICODE_RULE,
)

IMEI = "990010991200172"
T1_TEXT = "2021-06-03 00:03:56.079 +0000 UTC"
T2_TEXT = "2012-04-23T18:25:43.511Z"
SOFTWARE = {"name": "app", "version": "1", "upgradeTime": T2_TEXT}


def refused(record_type: Any, body: object) -> RecordError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RecordError) as caught:
        decode(record_type, data)
    return caught.value


def device(**fields: object) -> dict[str, object]:
    return {"deviceId": IMEI, **fields}


@pytest.mark.parametrize(
    ("body", "path", "rule"),
    [
        ({}, "deviceId", REQUIRED),
        ({"deviceId": None}, "deviceId", "must be a string, not null"),
        ({"deviceId": 990010991200172}, "deviceId", "must be a string, not an integer"),
        ({"deviceId": "99001099120017"}, "deviceId", DEVICE_ID_RULE),
        ({"deviceId": "9900109912001720"}, "deviceId", DEVICE_ID_RULE),
        ({"deviceId": "99001099120017x"}, "deviceId", DEVICE_ID_RULE),
        ({"deviceId": "٩٩٠٠١٠٩٩١٢٠٠١٧٢"}, "deviceId", DEVICE_ID_RULE),
        ({"deviceId": "99001099120017\n"}, "deviceId", DEVICE_ID_RULE),
        (device(fotaEligible="true"), "fotaEligible", "must be a boolean, not a string"),
        (device(model=1.5), "model", "must be a string, not a fraction"),
        (device(make=["x"]), "make", "must be a string, not an array"),
        (device(protocol="LwM2M"), "protocol", PROTOCOL_RULE),
        (device(protocol="OMA-DM"), "protocol", PROTOCOL_RULE),
        (device(createTime=T2_TEXT), "createTime", T1_RULE),
        (device(statusTime=""), "statusTime", T1_RULE),
        (device(refreshTime=T1_TEXT + " m=+0.0000001"), "refreshTime", T1_RULE),
        (device(lastConnectionTime=T1_TEXT), "lastConnectionTime", T2_RULE),
        (device(lastConnectionTime="2021-06-03 00:03:56 +0000 UTC"), "lastConnectionTime", T2_RULE),
        (device(softwareList={}), "softwareList", "must be an array, not an object"),
        (device(softwareList=[SOFTWARE] * 1001), "softwareList", LIST_TOO_LONG),
        (device(fileList=[SOFTWARE] * 1001), "fileList", LIST_TOO_LONG),
        (device(fileList=[SOFTWARE, {"name": "f"}]), "fileList[1].version", REQUIRED),
        (device(fileList=[SOFTWARE | {"upgradeTime": "now"}]), "fileList[0].upgradeTime", T2_RULE),
    ],
)
def test_a_device_is_refused_by_field_and_rule(body: object, path: str, rule: str) -> None:
    error = refused(V3Device, body)
    assert (error.path, error.rule) == (path, rule)
    assert str(error) == f"{path} {rule}"


def test_a_fault_deep_in_a_page_is_found_by_its_indexes() -> None:
    good = device(softwareList=[SOFTWARE])
    bad = device(softwareList=[SOFTWARE | {"version": 3}])
    page = {"accountName": "1-1", "deviceCount": 4, "deviceList": [good, good, good, bad]}
    error = refused(V3DeviceListQueryResult, page)
    assert error.path == "deviceList[3].softwareList[0].version"
    assert error.rule == "must be a string, not an integer"


def test_a_fault_of_identity_deep_in_a_page_is_found_too() -> None:
    page = {"accountName": "1-1", "deviceCount": 2, "deviceList": [device(), {"deviceId": "a" * 15}]}
    error = refused(V3DeviceListQueryResult, page)
    assert (error.path, error.rule) == ("deviceList[1].deviceId", DEVICE_ID_RULE)


def test_a_list_of_records_names_the_entry() -> None:
    assert refused(list[V3Device], [device(), {}]).path == "[1].deviceId"


def test_a_page_holds_a_thousand_devices_and_no_more() -> None:
    page = {"accountName": "1-1", "deviceCount": 1000, "deviceList": [device()] * 1000}
    assert len(decode(V3DeviceListQueryResult, json.dumps(page).encode()).device_list) == 1000
    page["deviceList"] = [device()] * 1001
    error = refused(V3DeviceListQueryResult, page)
    assert (error.path, error.rule) == ("deviceList", LIST_TOO_LONG)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", NOT_JSON),
        (b"{", NOT_JSON),
        (b'{"deviceId": "' + IMEI.encode() + b'"} x', NOT_JSON),
        (b"\xff", NOT_JSON),
        (b'{"deviceId": "\xff"}', NOT_JSON),
        (b'{"deviceId": "\\ud800"}', NOT_JSON),
        (b'{"deviceId": "' + IMEI.encode() + b'", "x": ' + b"[" * 100_000, TOO_DEEP),
        (b"[]", "must be an object, not an array"),
        (b"null", "must be an object, not null"),
    ],
)
def test_a_body_that_is_no_object_of_json_is_refused_as_a_whole(body: bytes, rule: str) -> None:
    error = refused(V3Device, body)
    assert (error.path, error.rule) == ("", rule)
    assert str(error) == f"the body {rule}"


@pytest.mark.parametrize(
    ("count", "rule"),
    [
        (-1, "must be at least 0"),
        (2**31, "must be at most 2147483647"),
        (True, "must be an integer, not a boolean"),
    ],
)
def test_a_count_has_bounds(count: object, rule: str) -> None:
    error = refused(V3DeviceListQueryResult, {"accountName": "1-1", "deviceCount": count, "deviceList": []})
    assert (error.path, error.rule) == ("deviceCount", rule)


def test_the_value_is_never_quoted() -> None:
    error = refused(V3Device, device(protocol="hunter2"))
    assert "hunter2" not in str(error)
    error = refused(SessionLoginRequest, {"username": "u", "password": "hunter2" * 1000})
    assert (error.path, error.rule) == ("password", "must have at most 1024 characters")


def test_unknown_fields_are_ignored() -> None:
    assert decode(V3Device, json.dumps(device(later={"a": [1, None]})).encode()) == V3Device(device_id=IMEI)


def test_null_is_read_as_absent_and_never_written() -> None:
    record = decode(V3Device, json.dumps(device(model=None, softwareList=None)).encode())
    assert record.model is None
    assert encode(record) == b'{"deviceId":"990010991200172"}'


def test_an_empty_list_and_an_empty_text_are_values() -> None:
    assert encode(V3Device(device_id=IMEI, make="", file_list=[])) == (
        b'{"deviceId":"990010991200172","make":"","fileList":[]}'
    )


def test_required_fields_of_the_account_list_are_written_even_when_empty() -> None:
    row = V3AccountDevice(
        device_id=IMEI,
        mdn="",
        model="",
        make="",
        firmware="",
        fota_eligible=False,
        status="Active",
        license_assigned=False,
        protocol="NONE",
        software_list=[],
    )
    page = V3AccountDeviceList(
        account_name="1-1",
        has_more_data=False,
        last_seen_device_id="0",
        max_page_size=1000,
        device_list=[row],
    )
    check(page)
    assert json.loads(encode(page))["deviceList"] == [
        {
            "deviceId": IMEI,
            "mdn": "",
            "model": "",
            "make": "",
            "firmware": "",
            "fotaEligible": False,
            "status": "Active",
            "licenseAssigned": False,
            "protocol": "NONE",
            "softwareList": [],
        }
    ]


def test_a_firmware_row_gives_both_names_whichever_is_set() -> None:
    row = V3FirmwareSyncRow(
        device_id=IMEI, reason="x", firmware_version="1", firmware_version_update_time=T2_TEXT
    )
    read = decode(
        V3FirmwareSyncRow,
        json.dumps(device(Reason="x", firmwareVersion="1", VersionUpdateTime=T2_TEXT)).encode(),
    )
    assert read == row
    written = json.loads(encode(row))
    assert (written["reason"], written["Reason"]) == ("x", "x")
    assert (written["firmwareVersionUpdateTime"], written["VersionUpdateTime"]) == (T2_TEXT, T2_TEXT)


def test_a_firmware_row_without_reason_gives_neither_name() -> None:
    row = V3FirmwareSyncRow(device_id=IMEI, firmware_version="")
    assert json.loads(encode(row)) == {"deviceId": IMEI, "firmwareVersion": ""}


def test_making_a_device_tests_its_identity() -> None:
    with pytest.raises(RecordError) as caught:
        V3Device(device_id="99001099120017x")
    assert (caught.value.path, caught.value.rule) == ("deviceId", DEVICE_ID_RULE)


def bad(**fields: Any) -> V3Device:
    return V3Device(**{"device_id": IMEI} | fields)


@pytest.mark.parametrize(
    ("record", "path", "rule"),
    [
        (bad(device_id=5), "deviceId", "must be a string, not an integer"),
        (bad(device_id="12"), "deviceId", DEVICE_ID_RULE),
        (bad(model=object()), "model", "must be a string, not an object"),
        (bad(make="\ud800"), "make", UNICODE_RULE),
        (bad(fota_eligible=1), "fotaEligible", "must be a boolean, not an integer"),
        (bad(protocol="?"), "protocol", PROTOCOL_RULE),
        (bad(create_time="2021-02-30 00:03:56 +0000 UTC"), "createTime", T1_RULE),
        (bad(create_time="x" * 30), "createTime", T1_RULE),
        (bad(last_connection_time=datetime.datetime.now(datetime.UTC)), "lastConnectionTime", None),
        (bad(last_connection_time="2021-06-03T24:00:00Z"), "lastConnectionTime", T2_RULE),
        (bad(software_list=[V3SoftwareInfo("a", "b", T2_TEXT)] * 1001), "softwareList", LIST_TOO_LONG),
        (
            bad(
                file_list=[
                    V3SoftwareInfo("a", "b", T2_TEXT),
                    V3SoftwareInfo("a", "b", "2021-06-03 00:03:56 +0000 UTC"),
                ]
            ),
            "fileList[1].upgradeTime",
            T2_RULE,
        ),
        (bad(file_list=[bad()]), "fileList[0].name", REQUIRED),
        (ErrorBody("", "text"), "errorCode", "must have at least 1 character"),
        (
            TokenResult(access_token="a", token_type="Bearer", expires_in=-1),
            "expires_in",
            "must be at least 0",
        ),
        (PasswordResetRequest(old_password=None), "oldPassword", "must be a string, not null"),
    ],
)
def test_check_names_what_is_wrong_in_a_record_made_in_python(
    record: Any, path: str, rule: str | None
) -> None:
    with pytest.raises(RecordError) as caught:
        check(record)
    assert caught.value.path == path
    assert rule is None or caught.value.rule == rule


def test_making_a_device_refuses_the_form_of_time_that_breaks_the_public_sdk() -> None:
    with pytest.raises(RecordError) as caught:
        V3Device(device_id=IMEI, last_connection_time=T1_TEXT)
    assert (caught.value.path, caught.value.rule) == ("lastConnectionTime", T2_RULE)


def test_decoding_tells_the_forms_of_time_apart_and_check_reads_them_whole() -> None:
    body = json.dumps(device(createTime="2021-06-31 00:03:56 +0000 UTC")).encode()
    with pytest.raises(RecordError) as caught:
        check(decode(V3Device, body))
    assert (caught.value.path, caught.value.rule) == ("createTime", T1_RULE)
