"""Devices and firmware reports of API v3 through the ASGI application (spec api-v3.md, sections 3 and 4)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from overair.devices.model import FirmwareReading
from overair.platform.limits import Limits
from overair.records import V3AccountDeviceList, V3DeviceListQueryResult, V3FirmwareSyncResult, decode

from .fake_devices import REQUEST_ID
from .harness import ACCOUNT, DEVICES, FIRMWARE, IMEI, Door, open_door, vector

OTHER = "990010991200255"
UNKNOWN = "990099990000014"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = await open_door()
    async with door.client:
        yield door


def stored(sample: dict[str, Any]) -> dict[str, bytes]:
    return {row["deviceId"]: msgspec.json.encode(row) for row in sample["deviceList"]}


def invalid(message: str) -> dict[str, str]:
    return {"errorCode": "INVALID_PARAMETER", "errorMessage": message}


# GET /devices/{acc}


async def test_a_page_is_answered_as_published(door: Door) -> None:
    sample = vector("v3-get-devices.response")
    door.devices.documents = stored(sample)
    answer = await door.client.get(DEVICES, headers=await door.signed_in())
    assert answer.json() == sample
    assert list(answer.json()) == list(sample)
    assert decode(V3AccountDeviceList, answer.content).device_list


async def test_pages_follow_each_other_until_there_is_no_more(door: Door) -> None:
    imeis = [f"{990010991200000 + n}" for n in range(5)]
    door.devices.documents = {imei: b'{"deviceId":"%s"}' % imei.encode() for imei in imeis}
    door.devices.page_size = 2
    headers, seen, cursor, more = await door.signed_in(), [], "0", True
    while more:
        answer = await door.client.get(DEVICES, headers=headers, params={"lastSeenDeviceId": cursor})
        body = answer.json()
        seen.append([row["deviceId"] for row in body["deviceList"]])
        cursor, more = body["lastSeenDeviceId"], body["hasMoreData"]
    assert seen == [imeis[:2], imeis[2:4], imeis[4:]]


@pytest.mark.parametrize(("cursor", "echoed"), [(None, "0"), ("0", "0"), ("", "0"), (IMEI, IMEI)])
async def test_an_empty_page_echoes_its_cursor(door: Door, cursor: str | None, echoed: str) -> None:
    params = {} if cursor is None else {"lastSeenDeviceId": cursor}
    answer = await door.client.get(DEVICES, headers=await door.signed_in(), params=params)
    assert answer.json() == {
        "accountName": ACCOUNT,
        "hasMoreData": False,
        "lastSeenDeviceId": echoed,
        "maxPageSize": 1000,
        "deviceList": [],
    }


@pytest.mark.parametrize("cursor", ["1", "00", "9900109912001720", "99001099120017a", "\uff19" * 15])
async def test_a_cursor_that_is_no_imei_is_refused(door: Door, cursor: str) -> None:
    headers = await door.signed_in()
    answer = await door.client.get(DEVICES, headers=headers, params={"lastSeenDeviceId": cursor})
    assert (answer.status_code, answer.json()) == (400, invalid("LastSeenDeviceId Not Valid"))


@pytest.mark.parametrize(
    ("spelling", "protocol"),
    [
        (None, "LWM2M"),
        ("", "LWM2M"),
        ("LWM2M", "LWM2M"),
        ("LwM2M", "LWM2M"),
        ("OMADM", "OMADM"),
        ("oma-dm", "OMADM"),
        ("OMD-DM", "OMADM"),
        ("OMDADM", "OMADM"),
        ("OMA", "OMADM"),
        ("http", "HTTP"),
        ("HTTPS", "HTTP"),
        ("all", None),
    ],
)
async def test_every_published_spelling_of_a_protocol_is_taken(
    door: Door, spelling: str | None, protocol: str | None
) -> None:
    params = {} if spelling is None else {"protocol": spelling}
    answer = await door.client.get(DEVICES, headers=await door.signed_in(), params=params)
    assert answer.status_code == 200
    assert door.devices.calls == [("page", 1, protocol, None)]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_protocol_is_refused(door: Door, method: str) -> None:
    answer = await door.client.request(
        method,
        DEVICES,
        headers=await door.signed_in(),
        params={"protocol": "NB"},
        json={"deviceList": [IMEI]},
    )
    assert (answer.status_code, answer.json()) == (400, invalid("Invalid protocol"))


# POST /devices/{acc}


async def test_a_look_up_is_answered_as_published(door: Door) -> None:
    sample = vector("v3-post-devices.response")
    door.devices.documents = stored(sample)
    del door.devices.documents[UNKNOWN]
    answer = await door.client.post(
        DEVICES, headers=await door.signed_in(), json=vector("v3-post-devices.request")
    )
    assert answer.json() == sample
    assert list(answer.json()) == list(sample)
    assert decode(V3DeviceListQueryResult, answer.content).device_count == 3


async def test_duplicates_are_looked_up_once_in_the_order_of_the_request(door: Door) -> None:
    asked = {"deviceList": [OTHER, IMEI, OTHER, int(IMEI)], "unknown": 1}
    answer = await door.client.post(
        f"{DEVICES}?lastSeenDeviceId=ignored", headers=await door.signed_in(), json=asked
    )
    assert answer.json()["deviceCount"] == 2
    assert [row["deviceId"] for row in answer.json()["deviceList"]] == [OTHER, IMEI]


BODIES = [
    (b"", "Input binding error"),
    (b"{", "Input binding error"),
    (b"7", "Input binding error"),
    (b"[]", "Input binding error"),
    (b"\xff", "Input binding error"),
    (b"[" * 100_000, "Input binding error"),
    (b"{}", "Device list is empty"),
    (b'{"deviceList":null}', "Device list is empty"),
    (b'{"deviceList":[]}', "Device list is empty"),
    (b'{"deviceList":"990010991200172"}', "Device list is empty"),
    (b'{"deviceList":["99001099120017"]}', "Invalid device id format"),
    (b'{"deviceList":["990010991200172",""]}', "Invalid device id format"),
    (b'{"deviceList":[-1]}', "Input binding error"),
    (b'{"deviceList":[{}]}', "Input binding error"),
]


@pytest.mark.parametrize("path", [DEVICES, f"{FIRMWARE}/devices"])
@pytest.mark.parametrize(("body", "message"), BODIES)
async def test_a_list_that_is_none_is_refused(door: Door, path: str, body: bytes, message: str) -> None:
    method = "POST" if path == DEVICES else "PUT"
    answer = await door.client.request(method, path, headers=await door.signed_in(), content=body)
    assert (answer.status_code, answer.json()) == (400, invalid(message))
    assert door.devices.calls == []


async def test_a_look_up_takes_a_thousand_devices(door: Door) -> None:
    headers = await door.signed_in()
    imeis = [f"{990010991200000 + n}" for n in range(1001)]
    answer = await door.client.post(DEVICES, headers=headers, json={"deviceList": imeis[:1000]})
    assert answer.json()["deviceCount"] == 1000
    answer = await door.client.post(DEVICES, headers=headers, json={"deviceList": imeis})
    assert (answer.status_code, answer.json()) == (400, invalid("Device list exceeds limit of 1000"))


# PUT /firmware/{acc}/devices


async def test_a_synchronisation_is_answered_as_published(door: Door) -> None:
    sample = vector("v3-put-firmware-devices.response")
    door.devices.readings = {IMEI: FirmwareReading(IMEI, True, "AT410-1.4.2", 1_750_493_050_250)}
    answer = await door.client.put(
        f"{FIRMWARE}/devices", headers=await door.signed_in(), json=vector("v3-put-firmware-devices.request")
    )
    assert answer.json() == sample
    assert decode(V3FirmwareSyncResult, answer.content).account_name == ACCOUNT


async def test_firmware_that_is_not_known_is_empty_and_has_no_time(door: Door) -> None:
    door.devices.readings = {IMEI: FirmwareReading(IMEI, True)}
    answer = await door.client.put(
        f"{FIRMWARE}/devices", headers=await door.signed_in(), json={"deviceList": [IMEI]}
    )
    assert answer.json()["deviceFirmwarVersionList"] == [
        {
            "deviceId": IMEI,
            "status": "FirmwareVersionUpdateSuccess",
            "reason": "",
            "Reason": "",
            "firmwareVersion": "",
        }
    ]


@pytest.mark.parametrize("limit", [100, 150])
async def test_a_synchronisation_takes_as_many_as_the_limits_say(limit: int) -> None:
    door = await open_door(limits=replace(Limits(), firmware_sync_devices=limit))
    imeis = [f"{990010991200000 + n}" for n in range(limit + 1)]
    async with door.client:
        headers = await door.signed_in()
        path = f"{FIRMWARE}/devices"
        answer = await door.client.put(path, headers=headers, json={"deviceList": imeis[:limit]})
        assert len(answer.json()["deviceFirmwarVersionList"]) == limit
        answer = await door.client.put(path, headers=headers, json={"deviceList": imeis})
        assert answer.json() == invalid(f"Device list exceeds limit of {limit}")


# PUT /firmware/{acc}/{deviceId} and /async/{deviceId}


async def test_the_older_form_answers_one_device(door: Door) -> None:
    door.devices.readings = {IMEI: FirmwareReading(IMEI, True, "AT410-1.4.2")}
    answer = await door.client.put(f"{FIRMWARE}/{IMEI}", headers=await door.signed_in())
    assert answer.json() == {"accountName": ACCOUNT, "deviceId": IMEI, "firmwareVersion": "AT410-1.4.2"}


async def test_a_report_is_requested(door: Door) -> None:
    door.devices.documents = {IMEI: b"{}"}
    answer = await door.client.put(f"{FIRMWARE}/async/{IMEI}", headers=await door.signed_in())
    assert answer.json() == {"accountName": ACCOUNT, "requestId": REQUEST_ID}
    assert list(answer.json()) == list(vector("v3-put-firmware-async.response"))
    assert door.devices.calls == [("request_report", 1, IMEI)]


@pytest.mark.parametrize("form", ["{}", "async/{}"])
async def test_one_device_must_be_there_and_be_an_imei(door: Door, form: str) -> None:
    headers = await door.signed_in()
    answer = await door.client.put(f"{FIRMWARE}/{form.format(UNKNOWN)}", headers=headers)
    assert (answer.status_code, answer.json()) == (400, invalid("Device not found"))
    answer = await door.client.put(f"{FIRMWARE}/{form.format('12345')}", headers=headers)
    assert (answer.status_code, answer.json()) == (400, invalid("Invalid device id format"))
