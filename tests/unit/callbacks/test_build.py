"""The messages of API v3 against the sample bodies (spec callbacks.md, section 4.3)."""

import json
from pathlib import Path
from typing import Any

import pytest

from overair.callbacks import build
from overair.callbacks.model import Message, MessageType
from overair.records import (
    V3CallbackDevice,
    V3CallbackListener,
    V3CallbackMessage,
    V3CallbackRegistration,
    V3Firmware,
    V3FirmwareReportMessage,
    V3ReportedDevice,
    check,
    decode,
    decode_request,
    encode,
)

VECTORS = Path(__file__).parents[2] / "vectors"
ACCOUNT = "0742000123-00001"
IMEI = "990010991200172"
UPGRADE = build.Upgrade(
    campaign_id="5d2f9c1e-8b1a-4f6e-9a57-0f1c2f6b7d10",
    campaign_name="AT-410 July rollout",
    firmware_name="AcmeTelematics_AT-410_AT410-1.4.2_AT410-1.5.0",
    firmware_from="AT410-1.4.2",
    firmware_to="AT410-1.5.0",
    protocol="LWM2M",
    start_date="2025-07-08",
    end_date="2025-07-25",
    status="CampaignScheduled",
)
DONE = V3CallbackDevice(
    device_id=IMEI, status="UpgradeSuccess", result_reason="Upgrade completed successfully"
)

RECORDS: dict[str, Any] = {
    "callback-v3-deviceFirmwareReport.request": V3FirmwareReportMessage,
    "callback-v3-upgradeProgress.request": V3CallbackMessage,
    "callback-v3-upgradeScheduled.request": V3CallbackMessage,
    "v3-get-callbacks.response": V3CallbackListener,
    "v3-post-callbacks.request": V3CallbackRegistration,
    "v3-post-callbacks.response": V3CallbackListener,
    "v3-put-callbacks.request": V3CallbackRegistration,
    "v3-put-callbacks.response": V3CallbackListener,
}


def sample(name: str) -> bytes:
    """Return a sample body as compact JSON."""
    tree = json.loads((VECTORS / f"{name}.json").read_text())
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", RECORDS)
def test_a_sample_comes_back_byte_for_byte(name: str) -> None:
    record = decode(RECORDS[name], sample(name))
    check(record)
    assert encode(record) == sample(name)


def test_upgrade_scheduled() -> None:
    (message,) = build.upgrade_scheduled(ACCOUNT, UPGRADE)
    body = sample("callback-v3-upgradeScheduled.request")
    assert message == Message(MessageType.UPGRADE_SCHEDULED, UPGRADE.campaign_id, (), body)


def test_upgrade_progress() -> None:
    (message,) = build.upgrade_progress(ACCOUNT, UPGRADE, [DONE])
    body = sample("callback-v3-upgradeProgress.request")
    assert message == Message(MessageType.UPGRADE_PROGRESS, UPGRADE.campaign_id, (int(IMEI),), body)


def test_device_firmware_report() -> None:
    device = V3ReportedDevice(
        device_id=IMEI,
        status="FirmwareVersionUpdateSuccess",
        result_reason="",
        firmware_version="AT410-1.4.2",
        firmware_version_update_time="2025-06-21T08:04:10.25Z",
    )
    message = build.firmware_report(ACCOUNT, "b7d51d52-6c0f-4b57-9d1f-2f0b9f2f6c55", device)
    body = sample("callback-v3-deviceFirmwareReport.request")
    assert message == Message(MessageType.FIRMWARE_REPORT, IMEI, (int(IMEI),), body)


def test_new_firmware_has_every_element_and_the_fields_of_the_list() -> None:
    listed = json.loads((VECTORS / "v3-get-firmware.response.json").read_text())[0]
    message = build.new_firmware(ACCOUNT, decode(V3Firmware, json.dumps(listed).encode()))
    assert message.subject == listed["firmwareName"]
    assert json.loads(message.body) == {
        "accountName": ACCOUNT,
        "type": "newFirmware",
        "firmwareList": [listed],
        "upgradeScheduled": {},
        "upgradeProgress": {},
    }


def test_a_campaign_without_a_name_has_none() -> None:
    unnamed = build.Upgrade(
        **{field: getattr(UPGRADE, field) for field in build.Upgrade.__slots__} | {"campaign_name": None}
    )
    (message,) = build.upgrade_scheduled(ACCOUNT, unnamed)
    assert "campaignName" not in json.loads(message.body)["upgradeScheduled"]


@pytest.mark.parametrize(("count", "parts"), [(1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])])
def test_a_message_speaks_of_a_thousand_devices_at_most(count: int, parts: list[int]) -> None:
    devices = [
        V3CallbackDevice(device_id=f"{990010991200000 + n}", status="UpgradeSuccess", result_reason="")
        for n in range(count)
    ]
    told = build.upgrade_progress(ACCOUNT, UPGRADE, devices)
    assert [len(message.imeis) for message in told] == parts
    shown = [
        row["deviceId"]
        for message in told
        for row in json.loads(message.body)["upgradeProgress"]["deviceList"]
    ]
    assert shown == [device.device_id for device in devices]
    assert [imei for message in told for imei in message.imeis] == [int(imei) for imei in shown]


@pytest.mark.parametrize(
    ("body", "url"),
    [
        (b'{"url":"https://a.example/"}', "https://a.example/"),
        (b'{"callback":"https://a.example/"}', "https://a.example/"),
        (b'{"URL":"https://a.example/","callback":"https://b.example/"}', "https://a.example/"),
        (b'[{"Callback":"https://a.example/"}]', "https://a.example/"),
        (b'{"url":null,"callback":"https://a.example/"}', "https://a.example/"),
        (b"{}", None),
    ],
)
def test_both_names_of_the_url_are_taken(body: bytes, url: str | None) -> None:
    assert decode_request(V3CallbackRegistration, body).url == url
