"""Request bodies in every published spelling (spec quirks.md Q8, Q32)."""

import json
from typing import Any

import pytest

from overair.records import (
    RecordError,
    SessionLoginRequest,
    V3AddOrRemoveDeviceRequest,
    V3ChangeCampaignDatesRequest,
    V3DeviceListQueryRequest,
    V3FirmwareSyncRequest,
    V3TimeWindow,
    decode_request,
)
from overair.records.errors import (
    DEVICE_ID_RULE,
    EMPTY_BODY,
    LIST_EMPTY,
    LIST_TOO_LONG,
    NOT_JSON,
    REQUIRED,
    TOO_DEEP,
)
from overair.records.lenient import MAX_REQUEST_BYTES, TOO_LARGE

IMEI = "990010991200172"
WANTED = V3DeviceListQueryRequest(device_list=[IMEI])


def read(body: object, record_type: Any = V3DeviceListQueryRequest) -> Any:
    return decode_request(record_type, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"deviceList": [IMEI]},
        {"devicelist": [IMEI]},
        {"DEVICELIST": [IMEI]},
        {"devceList": [IMEI]},
        {"deviceList": [990010991200172]},
        [{"deviceList": [IMEI]}],
        {"addOrRemoveDevice": {"deviceList": [IMEI]}},
        {"AddOrRemoveDevice": [{"devicelist": [IMEI]}]},
        [{"addOrRemoveDevice": {"deviceList": [IMEI]}}],
        {"deviceLogging": {"deviceList": [IMEI]}, "later": 1},
        {"deviceList": [IMEI], "devicelist": ["1"]},
        {"devicelist": ["1"], "deviceList": [IMEI]},
        {"deviceList": [IMEI], "later": {"a": [None, 1e9]}},
    ],
)
def test_every_spelling_gives_the_same_request(body: object) -> None:
    assert read(body) == WANTED


def test_the_other_requests_take_the_same_spellings() -> None:
    assert read({"DeviceList": [990010991200172]}, V3FirmwareSyncRequest).device_list == [IMEI]
    login = read([{"userName": "u", "PASSWORD": "p"}], SessionLoginRequest)
    assert login == SessionLoginRequest(username="u", password="p")


@pytest.mark.parametrize(
    ("body", "path", "rule"),
    [
        (b"", "", EMPTY_BODY),
        (b" \r\n", "", EMPTY_BODY),
        (b"{", "", NOT_JSON),
        (b'{"deviceList": ["\xff"]}', "", NOT_JSON),
        (b'{"x": 1e400}', "", NOT_JSON),
        (b"[" * 100_000, "", TOO_DEEP),
        (b" " * MAX_REQUEST_BYTES + b"{", "", TOO_LARGE),
        ([], "", "must be an object, not an array"),
        ([{"deviceList": [IMEI]}] * 2, "", "must be an object, not an array"),
        ("x", "", "must be an object, not a string"),
        (None, "", "must be an object, not null"),
        ({}, "deviceList", REQUIRED),
        ([[{"deviceList": [IMEI]}]], "", "must be an object, not an array"),
        ({"addOrRemoveDevice": {"addOrRemoveDevice": {"deviceList": [IMEI]}}}, "deviceList", REQUIRED),
        ({"deviceList": []}, "deviceList", LIST_EMPTY),
        ({"deviceList": IMEI}, "deviceList", "must be an array, not a string"),
        ({"deviceList": 990010991200172}, "deviceList", "must be an array, not an integer"),
        ({"deviceList": None}, "deviceList", "must be an array, not null"),
        ({"deviceList": [IMEI] * 1001}, "deviceList", LIST_TOO_LONG),
        ({"deviceList": [IMEI, "1"]}, "deviceList[1]", DEVICE_ID_RULE),
        ({"deviceList": [IMEI + "\n"]}, "deviceList[0]", DEVICE_ID_RULE),
        ({"deviceList": [99001099120017]}, "deviceList[0]", DEVICE_ID_RULE),
        ({"deviceList": [-990010991200172]}, "deviceList[0]", "must be a string, not an integer"),
        ({"deviceList": [10**18]}, "deviceList[0]", "must be a string, not an integer"),
        (b'{"deviceList": [1' + b"0" * 5000 + b"]}", "", NOT_JSON),
        ({"deviceList": [9.9e14]}, "deviceList[0]", "must be a string, not a fraction"),
        ({"deviceList": [True]}, "deviceList[0]", "must be a string, not a boolean"),
        ({"deviceList": [[IMEI]]}, "deviceList[0]", "must be a string, not an array"),
    ],
)
def test_what_no_spelling_covers_is_refused(body: object, path: str, rule: str) -> None:
    with pytest.raises(RecordError) as caught:
        read(body)
    assert (caught.value.path, caught.value.rule) == (path, rule)


def test_a_list_of_a_thousand_integers_is_taken() -> None:
    numbers = list(range(990010991200000, 990010991201000))
    assert read({"deviceList": numbers}).device_list == [str(number) for number in numbers]


def test_a_request_may_be_as_large_as_its_caller_says() -> None:
    body = json.dumps({"deviceList": [IMEI]}).encode()
    assert decode_request(V3DeviceListQueryRequest, body, len(body)) == WANTED
    with pytest.raises(RecordError) as caught:
        decode_request(V3DeviceListQueryRequest, body, len(body) - 1)
    assert caught.value.rule == TOO_LARGE


# A campaign's requests (Q8, Q18).

WINDOW = V3TimeWindow(start_time=1, end_time=5)


def dates(*windows: object) -> dict[str, object]:
    return {"startDate": "2025-07-07", "endDate": "2025-07-08", "campaignTimeWindowList": list(windows)}


@pytest.mark.parametrize(
    "window",
    [
        {"startTime": 1, "endTime": 5},
        {"startTime": "1", "endTime": "5"},
        {"startTime": "01", "endTime": "005"},
        {"STARTTIME": 1, "endtime": "5", "later": "x"},
        {"startTime": 1, "starttime": 9, "endTime": 5},
    ],
)
def test_hours_may_be_digits_in_a_string_and_names_in_any_case(window: object) -> None:
    assert read(dates(window), V3ChangeCampaignDatesRequest).campaign_time_window_list == [WINDOW]


@pytest.mark.parametrize(
    ("window", "path", "rule"),
    [
        ({"startTime": 1}, "endTime", REQUIRED),
        ({"startTime": "25", "endTime": 5}, "startTime", "must be at most 24"),
        ({"startTime": -1, "endTime": 5}, "startTime", "must be at least 0"),
        ({"startTime": "-1", "endTime": 5}, "startTime", "must be an integer, not a string"),
        ({"startTime": "", "endTime": 5}, "startTime", "must be an integer, not a string"),
        ({"startTime": "1" * 19, "endTime": 5}, "startTime", "must be an integer, not a string"),
        ({"startTime": "\u0661", "endTime": 5}, "startTime", "must be an integer, not a string"),
        ({"startTime": 1.5, "endTime": 5}, "startTime", "must be an integer, not a fraction"),
        ({"startTime": True, "endTime": 5}, "startTime", "must be an integer, not a boolean"),
        ([1, 5], "", "must be an object, not an array"),
    ],
)
def test_what_is_no_window_is_refused(window: object, path: str, rule: str) -> None:
    with pytest.raises(RecordError) as caught:
        read(dates({"startTime": 1, "endTime": 5}, window), V3ChangeCampaignDatesRequest)
    assert (caught.value.path, caught.value.rule) == (
        "campaignTimeWindowList[1]" + (f".{path}" if path else ""),
        rule,
    )


@pytest.mark.parametrize(("windows", "taken"), [(48, True), (49, False), (101, False)])
def test_a_day_has_so_many_windows(windows: int, taken: bool) -> None:
    body = dates(*[{"starttime": "1", "endTime": 5}] * windows)
    if taken:
        assert len(read(body, V3ChangeCampaignDatesRequest).campaign_time_window_list) == windows
        return
    with pytest.raises(RecordError) as caught:
        read(body, V3ChangeCampaignDatesRequest)
    assert caught.value.path.startswith("campaignTimeWindowList")


@pytest.mark.parametrize("name", ["Type", "type", "TYPE"])
def test_a_change_of_devices_has_a_type_in_any_case_and_devices_that_are_no_imei(name: str) -> None:
    read_back = read({name: "append", "devicelist": ["x", "", 12]}, V3AddOrRemoveDeviceRequest)
    assert read_back == V3AddOrRemoveDeviceRequest(type="append", device_list=["x", "", "12"])
