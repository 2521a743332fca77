"""Reports of API v3 through the ASGI application (spec api-v3.md, section 6; lifecycle.md, 3.3 and 3.6)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
from verizon.models.device_firmware_upgrade import DeviceFirmwareUpgrade as SdkUpgrade
from verizon.models.v3_campaign_device import V3CampaignDevice as SdkCampaignDevice
from verizon.models.v3_campaign_history import V3CampaignHistory as SdkCampaignHistory

from overair.campaigns.model import CampaignStatus, HistoryRow, RowStatus
from overair.records.times import format_t2

from .fake_campaigns import CAMPAIGN, START_DAY, UUID, FakeCampaigns, row
from .harness import ACCOUNT, IMEI, Door, open_door, vector
from .test_campaigns_v3 import outcome, refusal, sample

REPORTS = f"/api/fota/v3/reports/{ACCOUNT}"
BY_STATUS = f"{REPORTS}/firmware/campaigns"
DEVICES = f"{REPORTS}/campaigns/{UUID}/devices"
HISTORY = f"{REPORTS}/devices/{IMEI}"
ENDED = msgspec.structs.replace(CAMPAIGN, status=CampaignStatus.ENDED)


@pytest.fixture
def campaigns() -> FakeCampaigns:
    return FakeCampaigns()


@pytest.fixture
async def door(campaigns: FakeCampaigns) -> AsyncIterator[Door]:
    door = await open_door(campaigns=campaigns)
    async with door.client:
        yield door


async def ask(door: Door, path: str, **params: str) -> httpx2.Response:
    return await door.client.get(path, headers=await door.signed_in(), params=params)


# GET /reports/{acc}/firmware/campaigns


@pytest.mark.parametrize("path", [BY_STATUS, f"{REPORTS}/campaigns"])
async def test_campaigns_with_a_status_are_listed_as_published(
    door: Door, campaigns: FakeCampaigns, path: str
) -> None:
    campaigns.campaigns = {UUID: ENDED}
    answer = await ask(door, path, campaignStatus="CampaignEnded", lastSeenCampaignId="0")
    assert answer.content == sample("v3-get-reports-firmware-campaigns.response")
    assert campaigns.calls == [("by_status", 1, "v3", CampaignStatus.ENDED, "")]
    theirs = SdkCampaignHistory.from_dictionary(answer.json())
    assert theirs.campaign_list[0].start_date.isoformat() == "2025-07-07"


@pytest.mark.parametrize(
    ("spelling", "status"),
    [
        ("CampaignRequestPending", CampaignStatus.PENDING),
        ("CampaignRequestFailed", CampaignStatus.REQUEST_FAILED),
        ("CampaignRequestQueued", CampaignStatus.QUEUED),
        ("CampaignCancelled", CampaignStatus.CANCELLED),
        ("CampaignAborted", CampaignStatus.ABORTED),
        ("CampaignFailed", CampaignStatus.FAILED),
        ("CampaignScheduled", CampaignStatus.SCHEDULED),
        ("CampaignEnded", CampaignStatus.ENDED),
        ("CampaignPreScheduled", CampaignStatus.PRE_SCHEDULED),
        ("CampaignQueued", CampaignStatus.QUEUED),
        ("RequestPending", CampaignStatus.PENDING),
    ],
)
async def test_every_published_status_is_taken(
    door: Door, campaigns: FakeCampaigns, spelling: str, status: CampaignStatus
) -> None:
    assert (await ask(door, BY_STATUS, campaignStatus=spelling)).status_code == 200
    assert campaigns.calls == [("by_status", 1, "v3", status, "")]


@pytest.mark.parametrize(
    "params", [{}, *({"campaignStatus": s} for s in ("", "campaignended", "Ended", "x"))]
)
async def test_another_status_is_refused(door: Door, params: dict[str, str]) -> None:
    assert outcome(await ask(door, BY_STATUS, **params)) == refusal("Invalid campaign status")


async def test_pages_of_campaigns_follow_each_other(door: Door, campaigns: FakeCampaigns) -> None:
    uuids = [f"5d2f9c1e-8b1a-4f6e-9a57-00000000000{n}" for n in range(5)]
    campaigns.campaigns = {uuid: msgspec.structs.replace(ENDED, uuid=uuid) for uuid in uuids}
    campaigns.page_size = 2
    seen, cursor, more = [], "0", True
    while more:
        body = (await ask(door, BY_STATUS, campaignStatus="CampaignEnded", lastSeenCampaignId=cursor)).json()
        seen.append([one["id"] for one in body["campaignList"]])
        cursor, more = body["lastSeenCampaignId"], body["hasMoreData"]
    assert seen == [uuids[:2], uuids[2:4], uuids[4:]]


@pytest.mark.parametrize(("cursor", "echoed"), [(None, "0"), ("", "0"), ("0", "0"), (UUID.upper(), UUID)])
async def test_an_empty_page_of_campaigns_echoes_its_cursor(
    door: Door, campaigns: FakeCampaigns, cursor: str | None, echoed: str
) -> None:
    given = {} if cursor is None else {"lastSeenCampaignId": cursor}
    answer = await ask(door, BY_STATUS, campaignStatus="CampaignAborted", **given)
    assert answer.json() == {"hasMoreData": False, "lastSeenCampaignId": echoed, "campaignList": []}


async def test_a_cursor_that_is_no_uuid_is_refused(door: Door) -> None:
    answer = await ask(door, BY_STATUS, campaignStatus="CampaignEnded", lastSeenCampaignId="1")
    assert outcome(answer) == refusal("Invalid uuid")


# GET /reports/{acc}/campaigns/{campaignId}/devices


@pytest.mark.parametrize("path", [DEVICES, f"{REPORTS}/firmware/campaigns/{UUID}/devices"])
async def test_the_devices_of_a_campaign_are_listed_as_published(
    door: Door, campaigns: FakeCampaigns, path: str
) -> None:
    campaigns.statuses = [
        row(
            990010991200172,
            RowStatus.SUCCEEDED,
            updated_ms=1_751_946_301_608,
            recent_ms=1_751_940_000_000,
        ),
        row(
            990010991200255,
            RowStatus.PENDING,
            updated_ms=1_751_954_400_129,
            recent_ms=1_751_940_001_190,
            next_ms=1_752_026_400_000,
        ),
        row(990010991200339, updated_ms=1_751_933_112_000, next_ms=1_752_026_400_000),
    ]
    answer = await ask(door, path)
    assert answer.content == sample("v3-get-reports-campaign-devices.response")
    assert campaigns.calls == [("rows", 1, UUID, -1)]
    theirs = SdkCampaignDevice.from_dictionary(answer.json())
    assert theirs.device_list[1].next_attempt_time.datetime.timestamp() == 1_752_026_400
    assert not hasattr(theirs.device_list[2], "next_attempt_time")


@pytest.mark.parametrize("status", list(RowStatus))
async def test_only_rows_that_wait_for_an_attempt_have_a_next_one(
    door: Door, campaigns: FakeCampaigns, status: RowStatus
) -> None:
    campaigns.statuses = [row(1, status, next_ms=1_752_026_400_000), row(2, status)]
    planned, unplanned = (await ask(door, DEVICES)).json()["deviceList"]
    to_come = status in (RowStatus.PENDING, RowStatus.REFUSED)
    assert planned.get("nextAttemptTime") == (format_t2(1_752_026_400_000) if to_come else None)
    assert not {"nextAttemptTime", "recentAttemptTime"} & set(unplanned)
    assert planned["deviceId"] == "000000000000001"
    assert planned["resultReason"]


async def test_the_limit_of_tries_goes_into_the_reason(door: Door, campaigns: FakeCampaigns) -> None:
    campaigns.statuses = [row(1, tries=41), row(2, tries=42)]
    reasons = [one["resultReason"] for one in (await ask(door, DEVICES)).json()["deviceList"]]
    assert reasons == [
        "The network reports this device is not reachable.",
        "The network does not report this device is reachable, no retry available, try count 42.",
    ]


async def test_what_is_no_imei_comes_at_the_end_of_the_last_page(
    door: Door, campaigns: FakeCampaigns
) -> None:
    campaigns.statuses, campaigns.strays, campaigns.page_size = [row(n) for n in range(3)], ["", "12"], 2
    body = (await ask(door, DEVICES)).json()
    assert [one["deviceId"] for one in body["deviceList"]] == ["000000000000000", "000000000000001"]
    assert (body["hasMoreData"], body["lastSeenDeviceId"]) == (True, "000000000000001")
    body = (await ask(door, DEVICES, lastSeenDeviceId=body["lastSeenDeviceId"])).json()
    assert (body["hasMoreData"], body["lastSeenDeviceId"]) == (False, "000000000000002")
    assert body["totalDevice"] == 5
    assert body["deviceList"][1:] == [
        {"deviceId": stray, "status": "DeviceRejected", "resultReason": "Invalid device IMEI."}
        for stray in ("", "12")
    ]
    assert [call[3] for call in campaigns.calls] == [-1, 1]


@pytest.mark.parametrize(("cursor", "echoed"), [(None, "0"), ("0", "0"), (IMEI, IMEI)])
async def test_an_empty_page_of_devices_echoes_its_cursor(
    door: Door, campaigns: FakeCampaigns, cursor: str | None, echoed: str
) -> None:
    campaigns.strays = ["x"]
    answer = await ask(door, DEVICES, **({} if cursor is None else {"lastSeenDeviceId": cursor}))
    body: dict[str, Any] = answer.json()
    assert (body["lastSeenDeviceId"], body["hasMoreData"], body["maxPageSize"]) == (echoed, False, 1000)
    assert [one["deviceId"] for one in body["deviceList"]] == ["x"]
    assert (campaigns.calls[0][3] == -1) is (echoed == "0")


async def test_the_devices_of_a_campaign_have_their_refusals(door: Door, campaigns: FakeCampaigns) -> None:
    assert outcome(await ask(door, DEVICES, lastSeenDeviceId="1")) == refusal("LastSeenDeviceId Not Valid")
    assert outcome(await ask(door, DEVICES.replace(UUID, "7"))) == refusal("Invalid uuid")
    unknown = DEVICES.replace(UUID, UUID.replace("5d", "5e"))
    assert outcome(await ask(door, unknown)) == refusal("Invalid campaignId")
    campaigns.campaigns[UUID] = msgspec.structs.replace(CAMPAIGN, version="v1")
    assert outcome(await ask(door, DEVICES)) == refusal("Invalid campaignId")


# GET /reports/{acc}/devices/{deviceId}


async def test_the_history_of_a_device_is_listed_as_published(door: Door, campaigns: FakeCampaigns) -> None:
    latest = msgspec.structs.replace(CAMPAIGN, start_day=START_DAY + 1)
    earlier = msgspec.structs.replace(
        CAMPAIGN,
        uuid="0c6b1f0a-2d14-4e0b-8f3e-6a9d7b51c2e4",
        package_name="AcmeTelematics_AT-410_AT410-1.4.0_AT410-1.4.2",
        version_from="AT410-1.4.0",
        version_to="AT410-1.4.2",
        start_day=START_DAY - 146,
    )
    campaigns.past = [
        HistoryRow(latest, row(int(IMEI), RowStatus.SUCCEEDED, updated_ms=1_751_946_301_608)),
        HistoryRow(earlier, row(int(IMEI), RowStatus.SUCCEEDED, updated_ms=1_739_245_337_080)),
    ]
    answer = await ask(door, HISTORY)
    assert answer.content == sample("v3-get-reports-device.response")
    assert campaigns.calls == [("history", 1, int(IMEI), "v3")]
    theirs = [SdkUpgrade.from_dictionary(one) for one in answer.json()]
    assert [one.campaign_id for one in theirs] == [
        one["campaignId"] for one in vector("v3-get-reports-device.response")
    ]
    assert theirs[0].start_date.isoformat() == "2025-07-08"
    assert theirs[0].report_updated_time == "2025-07-08 03:45:01.608 +0000 UTC"


async def test_a_failed_upgrade_says_why(door: Door, campaigns: FakeCampaigns) -> None:
    campaigns.past = [HistoryRow(CAMPAIGN, row(int(IMEI), RowStatus.FAILED, detail="not enough flash"))]
    (entry,) = (await ask(door, HISTORY)).json()
    assert (entry["status"], entry["reason"]) == ("UpgradeFailed", "Upgrade failed, not enough flash")


async def test_a_device_without_history_has_an_empty_one(door: Door) -> None:
    answer = await ask(door, HISTORY)
    assert (answer.status_code, answer.content) == (200, b"[]")
    assert outcome(await ask(door, f"{REPORTS}/devices/12")) == refusal("Invalid device id format")


@pytest.mark.parametrize("path", [BY_STATUS, DEVICES, HISTORY])
async def test_strangers_and_other_accounts_see_nothing(
    door: Door, campaigns: FakeCampaigns, path: str
) -> None:
    assert (await door.client.get(path)).status_code == 401
    answer = await ask(door, path.replace(ACCOUNT, "0742000123-00002"))
    assert answer.json()["errorCode"] == "UnifiedWebService.REQUEST_FAILED.AccountNotFound"
    assert campaigns.calls == []
