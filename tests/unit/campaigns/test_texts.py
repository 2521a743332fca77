"""The sentences of spec lifecycle.md, section 3.3, letter by letter, with the sample's times and numbers."""

import pytest

from overair.campaigns import rules
from overair.campaigns.model import Row, RowStatus
from overair.campaigns.texts import V3_STATUS, v3_reason

from .made import row

R = RowStatus
TRIES = 42
JULY_9 = 1_625_788_800_000
"""09 Jul 21 00:00 UTC."""

SENTENCES = [
    (
        row(status=R.WAITING, tries=41),
        "NoDeviceDataFromNetwork",
        "The network reports this device is not reachable.",
    ),
    (
        row(status=R.WAITING, tries=42, next_ms=None),
        "NoDeviceDataFromNetwork",
        "The network does not report this device is reachable, no retry available, try count 42.",
    ),
    (
        row(status=R.UNCHECKED, next_ms=None),
        "NoDeviceDataFromNetwork",
        "The network reports this device is not reachable.",
    ),
    (
        row(status=R.REACHABLE),
        "ReceivedDeviceDataFromNetwork",
        "Reachability information received from the network.",
    ),
    (
        row(status=R.REACHABLE, tries=42),
        "ReceivedDeviceDataFromNetwork",
        "Reachability information received from the network, try count 42.",
    ),
    (
        row(status=R.REFUSED, next_ms=JULY_9),
        "RequestToFotaServerFailed",
        "Request to FOTA server failed, estimated retry time on 09 Jul 21 00:00 UTC.",
    ),
    (
        row(status=R.PENDING, next_ms=JULY_9),
        "UpgradePending",
        "Upgrade pending, the device upgrade is estimated to be scheduled for 09 Jul 21 00:00 UTC",
    ),
    (
        row(status=R.RUNNING, recent_ms=JULY_9, next_ms=JULY_9 + 30 * rules.HOUR_MS),
        "UpgradeScheduled",
        "The upgrade is scheduled to begin on 09 Jul 21 00:00 UTC, "
        "and the estimated completion is 09 Jul 21 04:00 UTC.",
    ),
    (row(status=R.SUCCEEDED), "UpgradeSuccess", "Upgrade completed successfully"),
    (
        row(status=R.FAILED, detail="integrity check failed"),
        "UpgradeFailed",
        "Upgrade failed, integrity check failed",
    ),
    (row(status=R.CANCELLED), "CampaignCancelled", "Campaign canceled by user."),
    (row(status=R.ABORTED), "CampaignAborted", "Campaign aborted by user."),
    (row(status=R.REJECTED, detail=rules.BUSY), "DeviceRejected", rules.BUSY),
]
REJECTIONS = [
    "Device not found.",
    "Invalid device IMEI.",
    "Device not eligible for service (not FOTA capable)",
    "Device scheduled for firmware upgrade previously, needs to be completed before another upgrade is "
    "scheduled.",
    "Current device software version does not meet software prerequisites.",
    "Device make/model does not meet software prerequisites.",
    "Device is not in active state or is not connected.",
    "Device license not available.",
    "Internal Error.",
]


@pytest.mark.parametrize(("shown", "status", "reason"), SENTENCES, ids=lambda each: str(each)[:30])
def test_what_a_row_says(shown: Row, status: str, reason: str) -> None:
    assert V3_STATUS[shown.status] == status
    assert v3_reason(shown, TRIES) == reason


def test_every_status_has_its_sentence() -> None:
    assert {shown.status for shown, _, _ in SENTENCES} == set(RowStatus) == set(V3_STATUS)


def test_minutes_are_cut_and_not_rounded() -> None:
    assert v3_reason(row(status=R.REFUSED, next_ms=JULY_9 + 59_999), TRIES).endswith("00:00 UTC.")
    assert v3_reason(row(status=R.REFUSED, next_ms=JULY_9 + 60_000), TRIES).endswith("00:01 UTC.")


def test_reasons_for_a_rejection_letter_by_letter() -> None:
    assert REJECTIONS == [
        rules.NOT_FOUND, rules.BAD_IMEI, rules.NOT_CAPABLE, rules.BUSY, rules.OTHER_VERSION,
        rules.OTHER_MODEL, rules.NOT_ACTIVE, rules.NO_LICENSE, rules.INTERNAL,
    ]  # fmt: skip
