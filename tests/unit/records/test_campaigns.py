"""Records of campaigns and reports: their bounds, and what the public SDK reads of them and sends."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verizon.models.campaign import Campaign as SdkCampaign
from verizon.models.campaign_firmware_upgrade import CampaignFirmwareUpgrade as SdkAsked
from verizon.models.device_firmware_upgrade import DeviceFirmwareUpgrade as SdkUpgrade
from verizon.models.firmware_campaign import FirmwareCampaign as SdkFirmwareCampaign
from verizon.models.v3_add_or_remove_device_request import V3AddOrRemoveDeviceRequest as SdkChange
from verizon.models.v3_add_or_remove_device_result import V3AddOrRemoveDeviceResult as SdkChanged
from verizon.models.v3_campaign_device import V3CampaignDevice as SdkCampaignDevice
from verizon.models.v3_campaign_history import V3CampaignHistory as SdkCampaignHistory
from verizon.models.v3_change_campaign_dates_request import V3ChangeCampaignDatesRequest as SdkDates

from overair.records import (
    RecordError,
    V3AddOrRemoveDeviceRequest,
    V3AddOrRemoveDeviceResult,
    V3Campaign,
    V3CampaignDevice,
    V3CampaignFirmwareUpgrade,
    V3CampaignHistory,
    V3CampaignMetaInfo,
    V3ChangeCampaignDatesRequest,
    V3DeviceFirmwareUpgrade,
    V3DeviceListItem,
    V3DeviceStatus,
    V3FirmwareCampaign,
    V3TimeWindow,
    check,
    decode,
    decode_request,
    encode,
)
from overair.records.errors import DATE_RULE, DEVICE_ID_RULE, LIST_EMPTY, T2_RULE
from overair.records.times import format_d, format_t1, format_t2, parse_t2

REQUESTS = (V3CampaignFirmwareUpgrade, V3AddOrRemoveDeviceRequest, V3ChangeCampaignDatesRequest)

# The SDK drops empty text and zeros (quirks.md Q33), and dates beyond what datetime holds.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
imeis = st.integers(0, 10**15 - 1).map("{:015}".format)
instants = st.integers(0, 4_102_444_800_000)
t2s = instants.map(format_t2)
dates = instants.map(format_d)
windows = st.lists(
    st.builds(V3TimeWindow, start_time=st.integers(1, 23), end_time=st.integers(1, 24)),
    min_size=1,
    max_size=3,
)
CAMPAIGN: dict[str, Any] = {
    "id": texts,
    "account_name": texts,
    "campaign_name": st.none() | texts,
    "firmware_name": st.none() | texts,
    "firmware_from": texts,
    "firmware_to": texts,
    "protocol": st.just("LWM2M"),
    "make": texts,
    "model": texts,
    "start_date": dates,
    "end_date": dates,
    "campaign_time_window_list": st.none() | windows,
    "status": texts,
}
FLAGS = {"auto_assign_license_flag": st.booleans(), "auto_add_devices_flag": st.booleans()}


def plain(value: Any) -> Any:
    """Return what the SDK read, in our own terms."""
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return vars(value) if hasattr(value, "start_time") else value


def agrees(ours: Any, theirs: Any) -> bool:
    for name in ours.__struct_fields__:
        wanted = getattr(ours, name)
        if wanted is None:
            if hasattr(theirs, name):
                return False
        elif name == "campaign_time_window_list":
            if [{"start_time": w.start_time, "end_time": w.end_time} for w in wanted] != plain(
                theirs.campaign_time_window_list
            ):
                return False
        elif plain(getattr(theirs, name)) != wanted:
            return False
    return True


@given(st.builds(V3FirmwareCampaign, **CAMPAIGN))
def test_the_sdk_reads_a_scheduled_campaign(campaign: V3FirmwareCampaign) -> None:
    check(campaign)
    assert decode(V3FirmwareCampaign, encode(campaign)) == campaign
    assert agrees(campaign, SdkFirmwareCampaign.from_dictionary(json.loads(encode(campaign))))


@given(st.builds(V3Campaign, **CAMPAIGN, **FLAGS))
def test_the_sdk_reads_a_campaign(campaign: V3Campaign) -> None:
    check(campaign)
    tree = json.loads(encode(campaign))
    assert agrees(campaign, SdkCampaign.from_dictionary(tree))
    assert not agrees(campaign, SdkCampaign.from_dictionary(tree | {"endDate": "1969-12-31"}))


@given(st.lists(st.builds(V3CampaignMetaInfo, **CAMPAIGN), max_size=2), st.booleans())
def test_the_sdk_reads_a_page_of_campaigns(rows: list[V3CampaignMetaInfo], more: bool) -> None:
    page = V3CampaignHistory(has_more_data=more, last_seen_campaign_id="0", campaign_list=rows)
    check(page)
    theirs = SdkCampaignHistory.from_dictionary(json.loads(encode(page)))
    assert theirs.has_more_data is more
    assert len(theirs.campaign_list) == len(rows)
    assert all(map(agrees, rows, theirs.campaign_list))


statuses = st.builds(
    V3DeviceStatus,
    device_id=texts,
    status=texts,
    result_reason=st.none() | texts,
    updated_time=st.none() | t2s,
    recent_attempt_time=st.none() | t2s,
    next_attempt_time=st.none() | t2s,
)


@given(st.lists(statuses, max_size=3))
def test_the_sdk_reads_the_devices_of_a_campaign(rows: list[V3DeviceStatus]) -> None:
    page = V3CampaignDevice(
        total_device=3, has_more_data=False, last_seen_device_id="0", max_page_size=1000, device_list=rows
    )
    check(page)
    assert decode(V3CampaignDevice, encode(page)) == page
    theirs = SdkCampaignDevice.from_dictionary(json.loads(encode(page)))
    for ours, read in zip(rows, theirs.device_list, strict=True):
        assert (read.device_id, read.status) == (ours.device_id, ours.status)
        assert getattr(read, "result_reason", None) == ours.result_reason
        for name in ("updated_time", "recent_attempt_time", "next_attempt_time"):
            wanted = getattr(ours, name)
            assert hasattr(read, name) is (wanted is not None)
            if wanted is not None:
                assert round(getattr(read, name).datetime.timestamp() * 1000) == parse_t2(wanted)


@given(imeis, texts, dates, instants)
def test_the_sdk_reads_an_upgrade_of_the_past(imei: str, text: str, day: str, when: int) -> None:
    row = V3DeviceFirmwareUpgrade(
        device_id=imei,
        campaign_id=text,
        account_name=text,
        firmware_name=text,
        firmware_from=text,
        firmware_to=text,
        start_date=day,
        status=text,
        reason=text,
        report_updated_time=format_t1(when),
    )
    check(row)
    assert agrees(row, SdkUpgrade.from_dictionary(json.loads(encode(row))))


def test_the_sdk_reads_what_became_of_devices() -> None:
    item = V3DeviceListItem(device_id="12", status="AddDeviceFailed", reason="Invalid device IMEI.")
    result = V3AddOrRemoveDeviceResult(account_name="1-1", campaign_id="c", device_list=[item])
    theirs = SdkChanged.from_dictionary(json.loads(encode(result)))
    assert agrees(item, theirs.device_list[0])
    assert json.loads(encode(result))["id"] == theirs.campaign_id == "c"
    unnamed = json.loads(encode(result)) | {"id": None}
    assert decode(V3AddOrRemoveDeviceResult, json.dumps(unnamed).encode()).id == "c"


# What the SDK sends.


def sent(model: Any) -> bytes:
    from verizon.api_helper import APIHelper

    return APIHelper.json_serialize(model).encode()  # type: ignore[no-any-return]


def test_we_read_what_the_sdk_sends() -> None:
    asked = SdkAsked("n", "1", "2", "LWM2M", "2025-07-07", "2025-07-08", ["1", "2"], True, False)
    read = decode_request(V3CampaignFirmwareUpgrade, sent(asked))
    assert (read.firmware_name, read.start_date, read.device_list) == ("n", "2025-07-07", ["1", "2"])
    assert (read.auto_assign_license_flag, read.auto_add_devices_flag) == (True, False)
    assert (read.campaign_name, read.campaign_time_window_list) == (None, None)
    change = decode_request(V3AddOrRemoveDeviceRequest, sent(SdkChange("append", ["1"])))
    assert (change.type, change.device_list) == ("append", ["1"])
    moved = decode_request(V3ChangeCampaignDatesRequest, sent(SdkDates("2025-07-07", "2025-07-08")))
    assert (moved.end_date, moved.campaign_time_window_list) == ("2025-07-08", None)


# Bounds.


def test_a_list_of_devices_has_no_bound_but_that_of_its_body() -> None:
    body = json.dumps({"Type": "append", "deviceList": ["990010991200172"] * 20_000}).encode()
    assert len(decode_request(V3AddOrRemoveDeviceRequest, body).device_list) == 20_000


@pytest.mark.parametrize(
    ("change", "path", "rule"),
    [
        ({"deviceList": []}, "deviceList", LIST_EMPTY),
        ({"deviceList": ["1", "x" * 65]}, "deviceList[1]", DEVICE_ID_RULE),
        ({"Type": "x" * 256}, "Type", "must have at most 255 characters"),
    ],
)
def test_a_change_of_devices_is_refused_by_field_and_rule(change: object, path: str, rule: str) -> None:
    body = {"Type": "append", "deviceList": ["1"]} | change  # type: ignore[operator]
    with pytest.raises(RecordError) as caught:
        decode_request(V3AddOrRemoveDeviceRequest, json.dumps(body).encode())
    assert (caught.value.path, caught.value.rule) == (path, rule)


@pytest.mark.parametrize("date", ["2025-7-7", "2025-07-07T00:00:00.0000000000Z", "", 7])
def test_a_date_has_a_length(date: object) -> None:
    body = {"startDate": date, "endDate": "2025-07-08"}
    with pytest.raises(RecordError) as caught:
        decode_request(V3ChangeCampaignDatesRequest, json.dumps(body).encode())
    assert caught.value.path == "startDate"


def test_check_reads_dates_and_times_whole() -> None:
    with pytest.raises(RecordError) as caught:
        check(V3ChangeCampaignDatesRequest(start_date="2025-02-30", end_date="2025-07-08"))
    assert (caught.value.path, caught.value.rule) == ("startDate", DATE_RULE)
    with pytest.raises(RecordError) as caught:
        check(V3DeviceStatus(device_id="1", status="x", updated_time="2021-06-03 00:03:56 +0000 UTC"))
    assert (caught.value.path, caught.value.rule) == ("updatedTime", T2_RULE)


# Anything at all.

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
NAMES = (
    "deviceList devicelist Type type startDate endDate campaignTimeWindowList startTime endTime "
    "addOrRemoveDevice protocol firmwareName autoAddDevicesFlag"
)
names = st.sampled_from(NAMES.split())
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.sampled_from(REQUESTS), trees)
def test_any_body_gives_a_request_that_survives_its_codec_or_the_one_error(
    record_type: Any, tree: object
) -> None:
    with suppress(RecordError):
        record = decode_request(record_type, json.dumps(tree).encode())
        assert decode(record_type, encode(record)) == record


@given(st.dictionaries(names, trees, max_size=4))
def test_so_does_a_good_body_with_bad_fields(change: dict[str, object]) -> None:
    good: dict[str, object] = {"startDate": "2025-07-07", "endDate": "2025-07-08"}
    with suppress(RecordError):
        record = decode_request(V3ChangeCampaignDatesRequest, json.dumps(good | change).encode())
        assert decode(V3ChangeCampaignDatesRequest, encode(record)) == record
