"""The two JSON forms of a device (spec api-v3.md, 3.1 and 3.2; quirks.md, "Timestamp form per field")."""

import re
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overair.devices import render
from overair.devices.model import (
    Device,
    DeviceError,
    Fact,
    ListEntry,
    Replaced,
    imei_number,
    imei_text,
)
from overair.devices.sql import decode_state
from overair.records import V3AccountDevice, V3Device, check, decode, encode

NOW = 1_767_225_600_000
IMEI = 490154203237518
T1 = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d*[1-9])? \+0000 UTC")
T2 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z")
FULL = Device(
    imei=IMEI,
    account_id=1,
    created_ms=1_768_046_400_000,
    protocol="LWM2M",
    mdn=Fact("5551234567", "provisioned", NOW),
    make=Fact("SEQUANS COMMUNICATIONS", "LWM2M", NOW),
    model=Fact("GM01Q", "LWM2M", NOW),
    firmware=Fact("SR1.2.0.0-10657", "LWM2M", NOW),
    firmware_capable=True,
    licensed=True,
    software=(ListEntry("VZ_MDM_IOT", "0.14", 1_772_439_311_000),),
    status_ms=1_772_439_311_000,
    updated_ms=1_772_439_311_000,
    refreshed_ms=1_772_439_311_000,
)


def shown(device: Device) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(encode(render.record(device)))
    return fields


def listed(device: Device) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(encode(render.listed(device)))
    return fields


def test_the_example_of_the_specification() -> None:
    document = render.with_last_connection(encode(render.record(FULL)), 1_772_439_310_512)
    assert msgspec.json.decode(document) == {
        "deviceId": "490154203237518",
        "mdn": "5551234567",
        "make": "SEQUANS COMMUNICATIONS",
        "model": "GM01Q",
        "firmware": "SR1.2.0.0-10657",
        "fotaEligible": True,
        "licenseAssigned": True,
        "status": "Active",
        "protocol": "LWM2M",
        "softwareList": [{"name": "VZ_MDM_IOT", "version": "0.14", "upgradeTime": "2026-03-02T08:15:11Z"}],
        "createTime": "2026-01-10 12:00:00 +0000 UTC",
        "statusTime": "2026-03-02 08:15:11 +0000 UTC",
        "updateTime": "2026-03-02 08:15:11 +0000 UTC",
        "refreshTime": "2026-03-02 08:15:11 +0000 UTC",
        "lastConnectionTime": "2026-03-02T08:15:10.512Z",
    }


def test_what_is_not_known_is_absent_from_the_look_up() -> None:
    assert shown(Device(IMEI, 1, NOW)) == {
        "deviceId": f"{IMEI}",
        "fotaEligible": False,
        "status": "Active",
        "licenseAssigned": False,
        "protocol": "NONE",
        "createTime": "2026-01-01 00:00:00 +0000 UTC",
    }


def test_what_is_not_known_is_empty_in_the_list() -> None:
    fields = listed(Device(IMEI, 1, NOW))
    fields.pop("fileList", None)  # optional
    assert fields == {
        "deviceId": f"{IMEI}",
        "mdn": "",
        "model": "",
        "make": "",
        "firmware": "",
        "fotaEligible": False,
        "status": "Active",
        "licenseAssigned": False,
        "protocol": "NONE",
        "softwareList": [],
        "createTime": "2026-01-01 00:00:00 +0000 UTC",
    }


def test_the_list_shows_status_time_as_upgrade_time_and_no_last_connection() -> None:
    fields = listed(FULL)
    assert fields["upgradeTime"] == shown(FULL)["statusTime"]
    assert not fields.keys() & {"statusTime", "lastConnectionTime"}


def test_files_are_shown_when_there_are_some() -> None:
    with_file = msgspec.structs.replace(FULL, files=(ListEntry("cfg", "1", NOW),))
    entry = {"name": "cfg", "version": "1", "upgradeTime": "2026-01-01T00:00:00Z"}
    assert shown(with_file)["fileList"] == listed(with_file)["fileList"] == [entry]
    assert "fileList" not in shown(FULL)


@given(st.integers(0, 4_102_444_800_000))
def test_every_time_has_the_form_of_its_field(time_ms: int) -> None:
    device = msgspec.structs.replace(
        FULL,
        created_ms=time_ms,
        status_ms=time_ms,
        updated_ms=time_ms,
        refreshed_ms=time_ms,
        software=(ListEntry("a", "1", time_ms),),
    )
    fields = msgspec.json.decode(render.with_last_connection(encode(render.record(device)), time_ms))
    for name in ("createTime", "statusTime", "updateTime", "refreshTime"):
        assert T1.fullmatch(fields[name]), name
    assert T2.fullmatch(fields["lastConnectionTime"])
    assert T2.fullmatch(fields["softwareList"][0]["upgradeTime"])
    in_list = listed(device)
    for name in ("createTime", "upgradeTime", "updateTime", "refreshTime"):
        assert T1.fullmatch(in_list[name]), name


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/New_York"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


# Before and after the clocks of Europe and the United States change: UTC has no such hour.
@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (1_774_745_999_999, "2026-03-29 00:59:59.999 +0000 UTC"),
        (1_774_746_000_000, "2026-03-29 01:00:00 +0000 UTC"),
        (1_793_509_200_010, "2026-11-01 05:00:00.01 +0000 UTC"),
        (1_622_678_636_079, "2021-06-03 00:03:56.079 +0000 UTC"),
        (1_622_678_636_190, "2021-06-03 00:03:56.19 +0000 UTC"),
    ],
)
def test_times_know_no_daylight_saving(time_ms: int, text: str, zone: str) -> None:
    assert shown(Device(IMEI, 1, time_ms))["createTime"] == text


def test_a_device_never_heard_has_no_last_connection() -> None:
    document = encode(render.record(FULL))
    assert render.with_last_connection(document, None) == document


def test_an_unknown_device_is_a_failed_row_and_nothing_else() -> None:
    assert msgspec.json.decode(render.not_found("490154203237518")) == {
        "deviceId": "490154203237518",
        "requestStatus": "Failure",
        "resultReason": "Device not found.",
    }


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
instants = st.integers(0, 4_102_444_800_000)
facts = st.none() | st.builds(
    Fact, texts, st.sampled_from(["provisioned", "sms", "LWM2M", "HTTP"]), instants, st.booleans()
)
entries = st.lists(st.builds(ListEntry, texts, texts, instants), max_size=3).map(tuple)
devices = st.builds(
    Device,
    imei=st.integers(0, 10**15 - 1),
    account_id=st.integers(1, 2**31),
    created_ms=instants,
    version=st.integers(0, 2**31),
    protocol=st.sampled_from(["LWM2M", "OMADM", "HTTP", "NONE"]),
    mdn=facts,
    make=facts,
    model=facts,
    firmware=facts,
    firmware_capable=st.none() | st.booleans(),
    eligible_override=st.none() | st.booleans(),
    licensed=st.booleans(),
    software=entries,
    files=entries,
    status_ms=st.none() | instants,
    updated_ms=st.none() | instants,
    refreshed_ms=st.none() | instants,
    attributes=st.dictionaries(texts, texts, max_size=3),
    history=st.lists(st.builds(Replaced, texts, texts, texts, instants), max_size=3).map(tuple),
    locked=st.lists(st.sampled_from(["mdn", "make"])).map(tuple),
)


@given(devices)
def test_every_device_is_stored_whole_and_shown_as_a_valid_record(device: Device) -> None:
    assert decode_state(msgspec.json.encode(device)) == device
    for kind, made in ((V3Device, render.record(device)), (V3AccountDevice, render.listed(device))):
        check(made)
        assert decode(kind, encode(made)) == made


@given(st.integers(0, 10**15 - 1))
def test_an_imei_is_a_number_and_fifteen_digits(number: int) -> None:
    assert imei_number(imei_text(number)) == number
    assert len(imei_text(number)) == 15


@pytest.mark.parametrize(
    "text",
    ["", "0", "49015420323751", "4901542032375180", "49015420323751a", "-90154203237518", "٤٩٠١٥٤٢٠٣٢٣٧٥١٨"],
)
def test_anything_else_is_no_imei(text: str) -> None:
    with pytest.raises(DeviceError, match="IMEI"):
        imei_number(text)
