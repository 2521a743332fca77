"""Every example body of the calls that have records goes through them without losing a byte."""

import json
from pathlib import Path
from typing import Any

import pytest

from overair.records import (
    ErrorBody,
    FaultBody,
    FotaV3SuccessResult,
    PasswordResetRequest,
    PasswordResetResult,
    SessionLoginRequest,
    SessionResult,
    TokenError,
    TokenResult,
    V3AccountDeviceList,
    V3AddOrRemoveDeviceRequest,
    V3AddOrRemoveDeviceResult,
    V3Campaign,
    V3CampaignDevice,
    V3CampaignFirmwareUpgrade,
    V3CampaignHistory,
    V3ChangeCampaignDatesRequest,
    V3Device,
    V3DeviceFirmwareUpgrade,
    V3DeviceListQueryRequest,
    V3DeviceListQueryResult,
    V3FirmwareAsyncResult,
    V3FirmwareCampaign,
    V3FirmwareSyncRequest,
    V3FirmwareSyncResult,
    check,
    decode,
    decode_request,
    encode,
)

VECTORS = Path(__file__).parents[2] / "vectors"

RECORDS: dict[str, Any] = {
    "auth-bearer-invalid.response.json": FaultBody,
    "auth-post-session-login.request.json": SessionLoginRequest,
    "auth-post-session-login.response.json": SessionResult,
    "auth-post-session-logout.response.json": SessionResult,
    "auth-post-token.error.response.json": TokenError,
    "auth-post-token.response.json": TokenResult,
    "auth-put-session-password-reset.request.json": PasswordResetRequest,
    "auth-put-session-password-reset.response.json": PasswordResetResult,
    "auth-session-expired.response.json": ErrorBody,
    "error-400.response.json": ErrorBody,
    "v3-delete-campaign.response.json": FotaV3SuccessResult,
    "v3-get-campaign.response.json": V3Campaign,
    "v3-get-devices.response.json": V3AccountDeviceList,
    "v3-get-reports-campaign-devices.response.json": V3CampaignDevice,
    "v3-get-reports-firmware-campaigns.response.json": V3CampaignHistory,
    "v3-post-campaigns-firmware.request.json": V3CampaignFirmwareUpgrade,
    "v3-post-campaigns-firmware.response.json": V3FirmwareCampaign,
    "v3-post-devices.request.json": V3DeviceListQueryRequest,
    "v3-post-devices.response.json": V3DeviceListQueryResult,
    "v3-put-campaign-dates.request.json": V3ChangeCampaignDatesRequest,
    "v3-put-campaign-dates.response.json": V3FirmwareCampaign,
    "v3-put-campaign-devices.request.json": V3AddOrRemoveDeviceRequest,
    "v3-put-campaign-devices.response.json": V3AddOrRemoveDeviceResult,
    "v3-put-firmware-async.response.json": V3FirmwareAsyncResult,
    "v3-put-firmware-devices.request.json": V3FirmwareSyncRequest,
    "v3-put-firmware-devices.response.json": V3FirmwareSyncResult,
}
ARRAYS: dict[str, Any] = {"v3-get-reports-device.response.json": V3DeviceFirmwareUpgrade}
FORMS = {
    "auth-post-revoke.request.json",
    "auth-post-token.error.request.json",
    "auth-post-token.request.json",
}
CALLS = (
    "auth-",
    "error-",
    "v3-delete-campaign.",
    "v3-get-campaign.",
    "v3-get-devices.",
    "v3-get-reports-",
    "v3-post-campaigns-",
    "v3-post-devices.",
    "v3-put-campaign-",
    "v3-put-firmware-",
)


def compact(name: str) -> bytes:
    tree = json.loads((VECTORS / name).read_text())
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", RECORDS)
def test_an_example_comes_back_byte_for_byte(name: str) -> None:
    record = decode(RECORDS[name], (VECTORS / name).read_bytes())
    check(record)
    assert encode(record) == compact(name)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_example_that_is_an_array_comes_back_byte_for_byte(name: str) -> None:
    rows = decode(list[ARRAYS[name]], (VECTORS / name).read_bytes())
    for row in rows:
        check(row)
    assert encode(rows) == compact(name)


@pytest.mark.parametrize("name", [name for name in RECORDS if ".request." in name])
def test_an_example_request_passes_the_lenient_decoder_unchanged(name: str) -> None:
    assert encode(decode_request(RECORDS[name], (VECTORS / name).read_bytes())) == compact(name)


def test_no_example_of_these_calls_is_left_out() -> None:
    named = {path.name for path in VECTORS.glob("*.json") if path.name.startswith(CALLS)}
    assert named == set(RECORDS) | set(ARRAYS) | FORMS


def test_the_record_of_the_specification_keeps_its_values_whatever_its_order() -> None:
    # spec device-record.md 1 prints the fields in another order, and an empty list that must stay.
    body = {
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
        "fileList": [],
        "createTime": "2026-01-10 12:00:00 +0000 UTC",
        "statusTime": "2026-03-02 08:15:11 +0000 UTC",
        "updateTime": "2026-03-02 08:15:11 +0000 UTC",
        "refreshTime": "2026-03-02 08:15:11 +0000 UTC",
        "lastConnectionTime": "2026-03-02T08:15:10.512Z",
    }
    record = decode(V3Device, json.dumps(body).encode())
    check(record)
    assert json.loads(encode(record)) == body
