"""Campaigns of API v3: schedule, read, change devices or dates, cancel (spec api-v3.md, section 5).

Two of the calls have an older path beside the one of the SDK (quirks.md Q3).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from overair.accounts.model import Access
from overair.campaigns.model import Campaign, MemberChange, NewCampaign, Window
from overair.doors.thingspace import errors
from overair.doors.thingspace.errors import Problem, Refusal, unreadable_device_list
from overair.doors.thingspace.guards import ON_ACCOUNT
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Route, json_body
from overair.doors.thingspace.parameters import ACCOUNT, CAMPAIGN_ID, read_protocol
from overair.doors.thingspace.services import Campaigns
from overair.platform.clock import DAY_MS
from overair.platform.limits import DEFAULT_LIMITS, Limits
from overair.records import (
    FotaV3SuccessResult,
    RecordError,
    V3AddOrRemoveDeviceRequest,
    V3AddOrRemoveDeviceResult,
    V3Campaign,
    V3CampaignFirmwareUpgrade,
    V3ChangeCampaignDatesRequest,
    V3DeviceListItem,
    V3FirmwareCampaign,
    V3TimeWindow,
)
from overair.records.times import format_d, parse_d

CAMPAIGNS = "/api/fota/v3/campaigns"
FIRMWARE = f"{CAMPAIGNS}/firmware/{{acc}}"
CAMPAIGN = f"{CAMPAIGNS}/{{acc}}/{{campaignId}}"
PROTOCOL = "LWM2M"

# Status and text of a device that was added or removed (quirks.md Q43: its reason has a capital).
ADDED = ("AddDeviceSucceed", "AddDeviceFailed", "Device added Successfully")
REMOVED = ("RemoveDeviceSucceed", "RemoveDeviceFailed", "Device removed Successfully")

# Fields whose refusal has a text of its own, whatever is wrong with them.
_FIELDS: dict[str, Problem] = {
    "Type": errors.INVALID_TYPE,
    "campaignTimeWindowList": errors.INVALID_TIME_WINDOW,
    "endDate": errors.INVALID_END_DATE,
    "protocol": errors.INVALID_PROTOCOL,
    "startDate": errors.INVALID_START_DATE,
}


async def schedule(call: Call, access: Access, asked: V3CampaignFirmwareUpgrade) -> V3FirmwareCampaign:
    """Take a campaign in; what becomes of it is seen later."""
    campaign = await campaigns_of(call).schedule(access.account, _new_campaign(asked))
    return V3FirmwareCampaign(**described(campaign, access.account.name))


async def read(call: Call, access: Access, _: None) -> V3Campaign:
    """Answer a campaign as it stands."""
    campaign = await campaigns_of(call).campaign(access.account.id, call.value(CAMPAIGN_ID))
    check_version(campaign)
    return V3Campaign(
        **described(campaign, access.account.name),
        auto_assign_license_flag=campaign.auto_assign,
        auto_add_devices_flag=campaign.auto_add,
    )


async def change_devices(
    call: Call, access: Access, asked: V3AddOrRemoveDeviceRequest
) -> V3AddOrRemoveDeviceResult:
    """Add devices to a campaign that has not started, or take them out of it."""
    uuid, campaigns = call.value(CAMPAIGN_ID), campaigns_of(call)
    match asked.type.lower():
        case "append":
            rows = _rows(await campaigns.add_devices(access.account, uuid, asked.device_list), ADDED)
        case "remove":
            rows = _rows(await campaigns.remove_devices(access.account, uuid, asked.device_list), REMOVED)
        case _:
            raise Refusal(errors.INVALID_TYPE)
    return V3AddOrRemoveDeviceResult(account_name=access.account.name, campaign_id=uuid, device_list=rows)


async def change_dates(call: Call, access: Access, asked: V3ChangeCampaignDatesRequest) -> V3FirmwareCampaign:
    """Replace the dates and windows of a campaign; of one that runs, only its end."""
    campaign = await campaigns_of(call).change_dates(
        access.account.id,
        call.value(CAMPAIGN_ID),
        _day(asked.start_date, errors.INVALID_START_DATE),
        _day(asked.end_date, errors.INVALID_END_DATE),
        _windows(asked.campaign_time_window_list),
    )
    return V3FirmwareCampaign(**described(campaign, access.account.name))


async def cancel(call: Call, access: Access, _: None) -> FotaV3SuccessResult:
    """Cancel a campaign that has not started (Q17)."""
    await campaigns_of(call).cancel(access.account.id, call.value(CAMPAIGN_ID))
    return FotaV3SuccessResult(success=True)


def campaigns_of(call: Call) -> Campaigns:
    """Return the service behind these calls; LookupError if the door was opened without it."""
    campaigns = call.services.campaigns
    if campaigns is None:
        raise LookupError("campaigns: this door was opened without them")
    return campaigns


def check_version(campaign: Campaign) -> None:
    """Refuse a campaign of another version of the API: this one has no words for it."""
    if campaign.version != "v3":
        raise Refusal(errors.INVALID_CAMPAIGN_ID)


def described(campaign: Campaign, account_name: str) -> dict[str, Any]:
    """Return the fields that every record of a campaign has."""
    windows = [V3TimeWindow(start_time=one.start_hour, end_time=one.end_hour) for one in campaign.windows]
    return {
        "id": campaign.uuid,
        "account_name": account_name,
        "campaign_name": campaign.name,
        "firmware_name": campaign.package_name,
        "firmware_from": campaign.version_from,
        "firmware_to": campaign.version_to,
        "protocol": PROTOCOL,
        "make": campaign.make,
        "model": campaign.model,
        "start_date": format_day(campaign.start_day),
        "end_date": format_day(campaign.end_day),
        "campaign_time_window_list": windows or None,
        "status": campaign.status,
    }


def format_day(day: int) -> str:
    """Return the date of a day since 1970-01-01."""
    return format_d(day * DAY_MS)


def _new_campaign(asked: V3CampaignFirmwareUpgrade) -> NewCampaign:
    if read_protocol(asked.protocol or "") != PROTOCOL:
        raise Refusal(errors.INVALID_PROTOCOL)
    return NewCampaign(
        version="v3",
        name=asked.campaign_name,
        package_name=asked.firmware_name,
        version_from=asked.firmware_from,
        version_to=asked.firmware_to,
        start_day=_day(asked.start_date, errors.INVALID_START_DATE),
        end_day=_day(asked.end_date, errors.INVALID_END_DATE),
        windows=_windows(asked.campaign_time_window_list),
        device_ids=tuple(asked.device_list),
        auto_assign=bool(asked.auto_assign_license_flag),
        auto_add=bool(asked.auto_add_devices_flag),
    )


def _rows(changes: Sequence[MemberChange], words: tuple[str, str, str]) -> list[V3DeviceListItem]:
    done, failed, text = words
    return [
        V3DeviceListItem(device_id=change.device_id, status=done, reason=text)
        if change.reason is None
        else V3DeviceListItem(device_id=change.device_id, status=failed, reason=change.reason)
        for change in changes
    ]


def _day(text: str, problem: Problem) -> int:
    try:
        return parse_d(text) // DAY_MS
    except RecordError:
        raise Refusal(problem) from None


def _windows(asked: Sequence[V3TimeWindow] | None) -> tuple[Window, ...]:
    return tuple(Window(window.start_time, window.end_time) for window in asked or ())


def _unreadable(error: RecordError) -> Problem:
    return _FIELDS.get(error.path.partition("[")[0]) or unreadable_device_list(error)


def _listing_bytes(limits: Limits) -> int:
    return limits.campaign_body_bytes


_LIST_PROBLEMS = (
    errors.INPUT_BINDING,
    errors.DEVICE_LIST_EMPTY,
    errors.INVALID_DEVICE_ID,
    errors.device_list_exceeds(DEFAULT_LIMITS.campaign_devices),
)
_DATE_PROBLEMS = (errors.INVALID_START_DATE, errors.INVALID_END_DATE, errors.INVALID_TIME_WINDOW)

_CHANGE_DEVICES: AnyRoute = Route(
    method="PUT",
    path=f"{FIRMWARE}/{{campaignId}}",
    summary="Add devices to a campaign, or remove them",
    guard=ON_ACCOUNT,
    body=json_body(
        V3AddOrRemoveDeviceRequest,
        _unreadable,
        *_LIST_PROBLEMS,
        errors.INVALID_TYPE,
        max_bytes=_listing_bytes,
    ),
    handler=change_devices,
    answer=V3AddOrRemoveDeviceResult,
    parameters=(ACCOUNT, CAMPAIGN_ID),
    problems=(errors.INVALID_CAMPAIGN_ID, errors.CAMPAIGN_STARTED, errors.CAMPAIGN_ENDED),
)
_CHANGE_DATES: AnyRoute = Route(
    method="PUT",
    path=f"{FIRMWARE}/{{campaignId}}/dates",
    summary="Change the dates and windows of a campaign",
    guard=ON_ACCOUNT,
    body=json_body(V3ChangeCampaignDatesRequest, _unreadable, errors.INPUT_BINDING, *_DATE_PROBLEMS),
    handler=change_dates,
    answer=V3FirmwareCampaign,
    parameters=(ACCOUNT, CAMPAIGN_ID),
    problems=(errors.INVALID_CAMPAIGN_ID, errors.CAMPAIGN_ENDED),
)

ROUTES: tuple[AnyRoute, ...] = (
    Route(
        method="POST",
        path=FIRMWARE,
        summary="Schedule a firmware campaign",
        guard=ON_ACCOUNT,
        body=json_body(
            V3CampaignFirmwareUpgrade,
            _unreadable,
            *_LIST_PROBLEMS,
            *_DATE_PROBLEMS,
            errors.INVALID_PROTOCOL,
            max_bytes=_listing_bytes,
        ),
        handler=schedule,
        answer=V3FirmwareCampaign,
        parameters=(ACCOUNT,),
        problems=(errors.FIRMWARE_NOT_FOUND, errors.NOT_ENOUGH_LICENSES),
    ),
    Route(
        method="GET",
        path=CAMPAIGN,
        summary="Read a campaign",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=read,
        answer=V3Campaign,
        parameters=(ACCOUNT, CAMPAIGN_ID),
        problems=(errors.INVALID_CAMPAIGN_ID,),
    ),
    Route(
        method="DELETE",
        path=CAMPAIGN,
        summary="Cancel a campaign that has not started",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=cancel,
        answer=FotaV3SuccessResult,
        parameters=(ACCOUNT, CAMPAIGN_ID),
        problems=(errors.INVALID_CAMPAIGN_ID, errors.CAMPAIGN_STARTED, errors.CAMPAIGN_ENDED),
    ),
    _CHANGE_DEVICES,
    replace(_CHANGE_DEVICES, path=CAMPAIGN),
    _CHANGE_DATES,
    replace(_CHANGE_DATES, path=f"{CAMPAIGN}/dates"),
)
