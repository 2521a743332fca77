"""The sample bodies of licences and subscriptions, byte for byte (spec api-v3.md, section 7)."""

import json
from pathlib import Path
from typing import Any

import pytest

from overair.records import (
    FotaV3Subscription,
    RecordError,
    V3LicenseAssignedRemovedResult,
    V3LicenseDevice,
    V3LicenseImei,
    V3LicenseStatus,
    V3LicenseSummary,
    check,
    decode,
    decode_request,
    encode,
)

VECTORS = Path(__file__).parents[2] / "vectors"
RECORDS: dict[str, Any] = {
    "v3-get-licenses.response.json": V3LicenseSummary,
    "v3-get-subscriptions.response.json": FotaV3Subscription,
    "v3-post-licenses-assign.request.json": V3LicenseImei,
    "v3-post-licenses-assign.response.json": V3LicenseAssignedRemovedResult,
    "v3-post-licenses-remove.request.json": V3LicenseImei,
    "v3-post-licenses-remove.response.json": V3LicenseAssignedRemovedResult,
}


@pytest.mark.parametrize("name", RECORDS)
def test_an_example_comes_back_byte_for_byte(name: str) -> None:
    body = (VECTORS / name).read_bytes()
    read = decode_request if ".request." in name else decode
    record = read(RECORDS[name], body)
    check(record)
    assert encode(record) == json.dumps(json.loads(body), separators=(",", ":")).encode()


def test_no_example_of_these_calls_is_left_out() -> None:
    named = {
        path.name for path in VECTORS.glob("v3-*.json") if "licenses" in path.name or "subscr" in path.name
    }
    assert named == set(RECORDS)


def test_one_name_of_a_pair_is_enough() -> None:
    body = (
        b'{"accountName":"1-1","totalLicense":7,"assignedLicenses":0,"hasMoreData":false,"maxPageSize":1000}'
    )
    assert decode(V3LicenseSummary, body).total_licenses == 7
    assert (
        decode(V3LicenseStatus, b'{"deviceId":"990010991200172","status":"x","Reason":"y"}').result_reason
        == "y"
    )


def test_nought_is_written() -> None:
    record = V3LicenseAssignedRemovedResult(account_name="1-1", lic_count=0, lic_used_count=0, device_list=[])
    assert (
        encode(record)
        == b'{"accountName":"1-1","licCount":0,"licTotalCount":0,"licUsedCount":0,"deviceList":[]}'
    )


@pytest.mark.parametrize("text", ["99001099120017", "9900109912001720", "99001099120017a", "\uff19" * 15])
def test_a_device_id_has_fifteen_digits(text: str) -> None:
    with pytest.raises(RecordError, match="15 digits"):
        decode(V3LicenseDevice, json.dumps({"deviceId": text}).encode())
