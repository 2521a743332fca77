"""Campaigns of API v3 through the ASGI application (spec api-v3.md, section 5)."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import msgspec
import pytest
from verizon.models.campaign import Campaign as SdkCampaign
from verizon.models.firmware_campaign import FirmwareCampaign as SdkFirmwareCampaign
from verizon.models.fota_v3_success_result import FotaV3SuccessResult as SdkSuccess
from verizon.models.v3_add_or_remove_device_result import V3AddOrRemoveDeviceResult as SdkChanged

from overair.campaigns.model import (
    AlreadyEnded,
    AlreadyStarted,
    CampaignStatus,
    DateRefused,
    MemberChange,
    NewCampaign,
    NotEnoughLicenses,
    TooManyDevices,
    UnknownCampaign,
    UnknownPackage,
    Window,
)
from overair.platform.limits import DEFAULT_LIMITS, Limits
from overair.records.v3_campaigns import MAX_WINDOWS

from .fake_campaigns import CAMPAIGN, START_DAY, UUID, FakeCampaigns
from .harness import ACCOUNT, IMEI, VECTORS, Door, open_door, vector

V3 = "/api/fota/v3"
SCHEDULE = f"{V3}/campaigns/firmware/{ACCOUNT}"
READ = f"{V3}/campaigns/{ACCOUNT}/{UUID}"
MEMBERS = f"{SCHEDULE}/{UUID}"
DATES = f"{MEMBERS}/dates"
OTHER = "990010991200255"

ASKED = vector("v3-post-campaigns-firmware.request")
WANTED = NewCampaign(
    version="v3",
    name="AT-410 July rollout",
    package_name="AcmeTelematics_AT-410_AT410-1.4.2_AT410-1.5.0",
    version_from="AT410-1.4.2",
    version_to="AT410-1.5.0",
    start_day=START_DAY,
    end_day=START_DAY + 14,
    windows=(Window(1, 5),),
    device_ids=(IMEI, OTHER),
    auto_assign=True,
    auto_add=False,
)
NEW_DATES = vector("v3-put-campaign-dates.request")


@pytest.fixture
def campaigns() -> FakeCampaigns:
    return FakeCampaigns()


@pytest.fixture
async def door(campaigns: FakeCampaigns) -> AsyncIterator[Door]:
    door = await open_door(campaigns=campaigns)
    async with door.client:
        yield door


def sample(name: str) -> bytes:
    """Return a published body without its white space."""
    tree = json.loads((VECTORS / f"{name}.json").read_text())
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()


def refusal(message: str) -> tuple[int, dict[str, str]]:
    return 400, {"errorCode": "INVALID_PARAMETER", "errorMessage": message}


def outcome(answer: httpx2.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()


def without(name: str, body: dict[str, Any] = ASKED) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


async def ask(door: Door, method: str, path: str, body: object = None) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await door.client.request(
        method, path, headers=await door.signed_in(), content=b"" if body is None else content
    )


# POST /campaigns/firmware/{acc}


async def test_a_campaign_is_scheduled_as_published(door: Door, campaigns: FakeCampaigns) -> None:
    answer = await ask(door, "POST", SCHEDULE, ASKED)
    assert answer.content == sample("v3-post-campaigns-firmware.response")
    assert campaigns.calls == [("schedule", 1, WANTED)]
    assert SdkFirmwareCampaign.from_dictionary(answer.json()).status == "CampaignRequestPending"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"startDate": "2025-07-07T23:59:59.999Z"}, {}),
        ({"endDate": "2025-07-07T00:00:00Z"}, {"end_day": START_DAY}),
        ({"campaignTimeWindowList": []}, {"windows": ()}),
        ({"campaignTimeWindowList": None}, {"windows": ()}),
        ({"campaignTimeWindowList": [{"startTime": "1", "endTime": "05"}]}, {}),
        ({"campaignTimeWindowList": [{"starttime": 1, "EndTime": 5}]}, {}),
        (
            {"campaignTimeWindowList": [{"startTime": 0, "endTime": 24}, {"startTime": 5, "endTime": 1}]},
            {"windows": (Window(0, 24), Window(5, 1))},
        ),
        ({"protocol": None}, {}),
        ({"protocol": ""}, {}),
        ({"protocol": "LwM2M"}, {}),
        ({"protocol": "lwm2m"}, {}),
        ({"campaignName": None}, {"name": None}),
        ({"autoAssignLicenseFlag": None}, {"auto_assign": False}),
        ({"autoAddDevicesFlag": True}, {"auto_add": True}),
        ({"deviceList": [int(IMEI), OTHER]}, {}),
        ({"deviceList": ["", "12", 12, IMEI, IMEI]}, {"device_ids": ("", "12", "12", IMEI, IMEI)}),
        ({"later": {"deviceList": 7}}, {}),
    ],
)
async def test_every_published_form_of_a_request_is_taken(
    door: Door, campaigns: FakeCampaigns, change: dict[str, Any], expected: dict[str, Any]
) -> None:
    answer = await ask(door, "POST", SCHEDULE, ASKED | change)
    assert answer.status_code == 200
    assert campaigns.calls == [("schedule", 1, msgspec.structs.replace(WANTED, **expected))]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("campaignName", {"name": None}),
        ("protocol", {}),
        ("campaignTimeWindowList", {"windows": ()}),
        ("autoAssignLicenseFlag", {"auto_assign": False}),
        ("autoAddDevicesFlag", {}),
    ],
)
async def test_what_older_clients_leave_out_has_its_default(
    door: Door, campaigns: FakeCampaigns, field: str, expected: dict[str, Any]
) -> None:
    assert (await ask(door, "POST", SCHEDULE, without(field))).status_code == 200
    assert campaigns.calls == [("schedule", 1, msgspec.structs.replace(WANTED, **expected))]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Input binding error"),
        (b"{", "Input binding error"),
        ([], "Input binding error"),
        (without("firmwareName"), "Input binding error"),
        (without("firmwareFrom"), "Input binding error"),
        (without("firmwareTo"), "Input binding error"),
        (ASKED | {"firmwareName": "x" * 256}, "Input binding error"),
        (ASKED | {"campaignName": "x" * 256}, "Input binding error"),
        (ASKED | {"autoAddDevicesFlag": "true"}, "Input binding error"),
        (ASKED | {"deviceList": [{}]}, "Input binding error"),
        (ASKED | {"deviceList": [-1]}, "Input binding error"),
        (without("deviceList"), "Device list is empty"),
        (ASKED | {"deviceList": []}, "Device list is empty"),
        (ASKED | {"deviceList": IMEI}, "Device list is empty"),
        (ASKED | {"deviceList": ["9" * 65]}, "Invalid device id format"),
        (ASKED | {"protocol": "HTTP"}, "Invalid protocol"),
        (ASKED | {"protocol": "OMA-DM"}, "Invalid protocol"),
        (ASKED | {"protocol": "all"}, "Invalid protocol"),
        (ASKED | {"protocol": "x" * 256}, "Invalid protocol"),
        (ASKED | {"protocol": 3}, "Invalid protocol"),
        (without("startDate"), "Invalid start date"),
        (ASKED | {"startDate": "2025-02-30"}, "Invalid start date"),
        (ASKED | {"startDate": "2025-07-07 00:00:00 +0000 UTC"}, "Invalid start date"),
        (ASKED | {"startDate": "7/7/2025"}, "Invalid start date"),
        (without("endDate"), "Invalid end date"),
        (ASKED | {"endDate": "2025-13-01"}, "Invalid end date"),
        (ASKED | {"endDate": 20250721}, "Invalid end date"),
        (ASKED | {"campaignTimeWindowList": [{"startTime": 1}]}, "Invalid time window"),
        (ASKED | {"campaignTimeWindowList": [{"startTime": 1, "endTime": 25}]}, "Invalid time window"),
        (ASKED | {"campaignTimeWindowList": [{"startTime": -1, "endTime": 5}]}, "Invalid time window"),
        (ASKED | {"campaignTimeWindowList": [{"startTime": "-1", "endTime": 5}]}, "Invalid time window"),
        (ASKED | {"campaignTimeWindowList": [{"startTime": 1.5, "endTime": 5}]}, "Invalid time window"),
        (ASKED | {"campaignTimeWindowList": [7]}, "Invalid time window"),
        (
            ASKED | {"campaignTimeWindowList": [{"startTime": 1, "endTime": 5}] * (MAX_WINDOWS + 1)},
            "Invalid time window",
        ),
    ],
)
async def test_a_request_that_is_none_is_refused_by_the_name_of_its_field(
    door: Door, campaigns: FakeCampaigns, body: object, message: str
) -> None:
    assert outcome(await ask(door, "POST", SCHEDULE, body)) == refusal(message)
    assert campaigns.calls == []


def test_two_bounds_of_windows_are_one() -> None:
    assert DEFAULT_LIMITS.windows == MAX_WINDOWS


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UnknownPackage("none"), "Firmware not found"),
        (NotEnoughLicenses("none"), "Not enough licenses"),
        (TooManyDevices(7), "Device list exceeds limit of 7"),
        (DateRefused("start", "past"), "Invalid start date"),
        (DateRefused("end", "before"), "Invalid end date"),
        (DateRefused("windows", "none"), "Invalid time window"),
        (AlreadyStarted("it has"), "Campaign already started"),
        (AlreadyEnded("it has"), "Campaign already ended"),
        (UnknownCampaign("none"), "Invalid campaignId"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", SCHEDULE, ASKED),
        ("GET", READ, None),
        ("PUT", MEMBERS, vector("v3-put-campaign-devices.request")),
        ("PUT", MEMBERS, {"Type": "remove", "deviceList": [IMEI]}),
        ("PUT", DATES, NEW_DATES),
        ("DELETE", READ, None),
    ],
)
async def test_what_the_domain_refuses_is_worded(
    door: Door,
    campaigns: FakeCampaigns,
    method: str,
    path: str,
    body: object,
    error: Exception,
    message: str,
) -> None:
    campaigns.broken = error
    assert outcome(await ask(door, method, path, body)) == refusal(message)


async def test_a_list_may_be_as_long_as_the_limits_say_and_its_body_as_large() -> None:
    limits, fake = replace(Limits(), campaign_devices=100_000), FakeCampaigns()
    imeis = [f"{990010991200000 + n}" for n in range(100_000)]
    door = await open_door(limits=limits, campaigns=fake)
    async with door.client:
        assert (await ask(door, "POST", SCHEDULE, ASKED | {"deviceList": imeis})).status_code == 200
        ((_, _, asked),) = fake.calls
        assert isinstance(asked, NewCampaign)
        assert list(asked.device_ids) == imeis
        body = {"Type": "append", "deviceList": imeis}
        assert (await ask(door, "PUT", MEMBERS, body)).status_code == 200
        assert fake.calls[-1] == ("add_devices", 1, UUID, imeis)
        # Only where devices are listed.
        assert (await ask(door, "PUT", DATES, b" " * (limits.request_body_bytes + 1))).status_code == 413


async def test_a_body_beyond_that_is_too_large(door: Door) -> None:
    for size, status in (
        (DEFAULT_LIMITS.campaign_body_bytes, 400),
        (DEFAULT_LIMITS.campaign_body_bytes + 1, 413),
    ):
        assert (await ask(door, "POST", SCHEDULE, b" " * size)).status_code == status


# GET and DELETE /campaigns/{acc}/{campaignId}


async def test_a_campaign_is_read_as_published(door: Door, campaigns: FakeCampaigns) -> None:
    campaigns.campaigns[UUID] = msgspec.structs.replace(CAMPAIGN, status=CampaignStatus.PRE_SCHEDULED)
    answer = await ask(door, "GET", READ)
    assert answer.content == sample("v3-get-campaign.response")
    assert campaigns.calls == [("campaign", 1, UUID)]
    theirs = SdkCampaign.from_dictionary(answer.json())
    assert (theirs.auto_assign_license_flag, theirs.auto_add_devices_flag) == (True, False)


async def test_what_a_campaign_does_not_have_is_absent(door: Door, campaigns: FakeCampaigns) -> None:
    campaigns.campaigns[UUID] = msgspec.structs.replace(CAMPAIGN, name=None, windows=())
    body = (await ask(door, "GET", READ)).json()
    assert not {"campaignName", "campaignTimeWindowList"} & set(body)
    theirs = SdkCampaign.from_dictionary(body)
    assert not hasattr(theirs, "campaign_name")


async def test_a_campaign_of_another_version_is_not_shown(door: Door, campaigns: FakeCampaigns) -> None:
    campaigns.campaigns[UUID] = msgspec.structs.replace(CAMPAIGN, version="v2")
    assert outcome(await ask(door, "GET", READ)) == refusal("Invalid campaignId")


async def test_a_campaign_is_cancelled_as_published(door: Door, campaigns: FakeCampaigns) -> None:
    answer = await ask(door, "DELETE", READ)
    assert answer.content == sample("v3-delete-campaign.response")
    assert campaigns.calls == [("cancel", 1, UUID)]
    assert SdkSuccess.from_dictionary(answer.json()).success is True


BODIES = {"PUT": vector("v3-put-campaign-devices.request") | NEW_DATES}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", READ), ("DELETE", READ), ("PUT", MEMBERS), ("PUT", DATES)]
)
async def test_an_id_is_a_uuid_in_any_case(
    door: Door, campaigns: FakeCampaigns, method: str, path: str
) -> None:
    answer = await ask(door, method, path.replace(UUID, UUID.upper()), BODIES.get(method))
    assert answer.status_code == 200
    assert campaigns.calls[0][2] == UUID
    for wrong in ("7", UUID[:-1], UUID + "0", UUID.replace("-", ""), UUID.replace("5", "g"), f"{{{UUID}}}"):
        answer = await ask(door, method, path.replace(UUID, wrong), BODIES.get(method))
        assert outcome(answer) == refusal("Invalid uuid")
    assert len(campaigns.calls) == 1


# PUT /campaigns/firmware/{acc}/{campaignId}


@pytest.mark.parametrize("path", [MEMBERS, READ])
async def test_devices_are_added_as_published(door: Door, campaigns: FakeCampaigns, path: str) -> None:
    added, failed = "990010991200339", "990099990000014"
    campaigns.changes = [MemberChange(added, None), MemberChange(failed, "Device not found.")]
    answer = await ask(door, "PUT", path, vector("v3-put-campaign-devices.request"))
    assert answer.content == sample("v3-put-campaign-devices.response")
    assert campaigns.calls == [("add_devices", 1, UUID, [added, failed])]
    theirs = SdkChanged.from_dictionary(answer.json())
    assert (theirs.campaign_id, theirs.device_list[1].reason) == (UUID, "Device not found.")


async def test_devices_are_removed(door: Door, campaigns: FakeCampaigns) -> None:
    campaigns.changes = [MemberChange(IMEI, None), MemberChange("12", "Device not found.")]
    answer = await ask(door, "PUT", MEMBERS, {"Type": "remove", "deviceList": [IMEI, 12]})
    assert answer.json()["deviceList"] == [
        {"deviceId": IMEI, "status": "RemoveDeviceSucceed", "Reason": "Device removed Successfully"},
        {"deviceId": "12", "status": "RemoveDeviceFailed", "Reason": "Device not found."},
    ]
    assert campaigns.calls == [("remove_devices", 1, UUID, [IMEI, "12"])]


@pytest.mark.parametrize(
    "body",
    [
        {"type": "append", "deviceList": [IMEI]},
        {"TYPE": "Append", "devicelist": [int(IMEI)]},
        {"Type": "APPEND", "devceList": [IMEI]},
        {"addOrRemoveDevice": {"type": "append", "deviceList": [IMEI]}},
        {"addOrRemoveDevice": [{"Type": "append", "devicelist": [IMEI]}]},
        [{"addOrRemoveDevice": {"Type": "append", "deviceList": [IMEI]}}],
    ],
)
async def test_every_published_spelling_of_a_change_is_taken(
    door: Door, campaigns: FakeCampaigns, body: object
) -> None:
    assert (await ask(door, "PUT", MEMBERS, body)).status_code == 200
    assert campaigns.calls == [("add_devices", 1, UUID, [IMEI])]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Input binding error"),
        ({"deviceList": [IMEI]}, "Invalid type"),
        ({"Type": "replace", "deviceList": [IMEI]}, "Invalid type"),
        ({"Type": 1, "deviceList": [IMEI]}, "Invalid type"),
        ({"Type": "append"}, "Device list is empty"),
        ({"Type": "append", "deviceList": []}, "Device list is empty"),
        ({"Type": "append", "deviceList": ["9" * 65]}, "Invalid device id format"),
    ],
)
async def test_a_change_that_is_none_is_refused(
    door: Door, campaigns: FakeCampaigns, body: object, message: str
) -> None:
    assert outcome(await ask(door, "PUT", MEMBERS, body)) == refusal(message)
    assert campaigns.calls == []


# PUT /campaigns/firmware/{acc}/{campaignId}/dates


@pytest.mark.parametrize("path", [DATES, f"{READ}/dates"])
async def test_dates_are_changed_as_published(door: Door, campaigns: FakeCampaigns, path: str) -> None:
    campaigns.campaigns[UUID] = msgspec.structs.replace(
        CAMPAIGN,
        start_day=START_DAY + 1,
        end_day=START_DAY + 18,
        windows=(Window(2, 6),),
        status=CampaignStatus.QUEUED,
    )
    answer = await ask(door, "PUT", path, NEW_DATES)
    assert answer.content == sample("v3-put-campaign-dates.response")
    assert campaigns.calls == [("change_dates", 1, UUID, START_DAY + 1, START_DAY + 18, (Window(2, 6),))]
    theirs = SdkFirmwareCampaign.from_dictionary(answer.json())
    assert (theirs.start_date.isoformat(), theirs.campaign_time_window_list[0].end_time) == ("2025-07-08", 6)


async def test_windows_that_are_missing_are_none(door: Door, campaigns: FakeCampaigns) -> None:
    body = without("campaignTimeWindowList", NEW_DATES) | {"startDate": "2025-07-08T10:00:00Z"}
    assert (await ask(door, "PUT", DATES, body)).status_code == 200
    assert campaigns.calls == [("change_dates", 1, UUID, START_DAY + 1, START_DAY + 18, ())]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"null", "Input binding error"),
        (without("startDate", NEW_DATES), "Invalid start date"),
        (without("endDate", NEW_DATES), "Invalid end date"),
        (NEW_DATES | {"endDate": "2025-07-32"}, "Invalid end date"),
        (NEW_DATES | {"campaignTimeWindowList": {}}, "Invalid time window"),
    ],
)
async def test_dates_that_are_none_are_refused(
    door: Door, campaigns: FakeCampaigns, body: object, message: str
) -> None:
    assert outcome(await ask(door, "PUT", DATES, body)) == refusal(message)
    assert campaigns.calls == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", SCHEDULE), ("GET", READ), ("PUT", MEMBERS), ("PUT", DATES), ("DELETE", READ)],
)
async def test_strangers_and_other_accounts_see_nothing(
    door: Door, campaigns: FakeCampaigns, method: str, path: str
) -> None:
    assert (await door.client.request(method, path)).status_code == 401
    answer = await ask(door, method, path.replace(ACCOUNT, "0742000123-00002"), {})
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "UnifiedWebService.REQUEST_FAILED.AccountNotFound"
    assert campaigns.calls == []
