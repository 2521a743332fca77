"""Reports of API v3: campaigns by status, devices of a campaign, history of a device (spec api-v3.md, 6).

Two of the calls have another published path beside the one of the SDK (quirks.md Q3, Q46).
"""

from dataclasses import replace

from overair.accounts.model import Access
from overair.campaigns.model import CampaignStatus, HistoryRow, Row, RowStatus
from overair.campaigns.rules import BAD_IMEI
from overair.campaigns.texts import V3_STATUS, v3_reason
from overair.doors.thingspace import errors
from overair.doors.thingspace.campaigns_v3 import campaigns_of, check_version, described, format_day
from overair.doors.thingspace.errors import Refusal
from overair.doors.thingspace.guards import ON_ACCOUNT
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Parameter, Route
from overair.doors.thingspace.parameters import ACCOUNT, CAMPAIGN_ID, CURSOR, DEVICE_ID, FIRST_PAGE, read_uuid
from overair.records import (
    V3CampaignDevice,
    V3CampaignHistory,
    V3CampaignMetaInfo,
    V3DeviceFirmwareUpgrade,
    V3DeviceStatus,
    encode,
)
from overair.records.times import format_t1, format_t2

REPORTS = "/api/fota/v3/reports/{acc}"

# Every name of a status that is taken (Q16); the last two are input only.
STATUSES: dict[str, CampaignStatus] = {
    **{status.value: status for status in CampaignStatus},
    "CampaignQueued": CampaignStatus.QUEUED,
    "RequestPending": CampaignStatus.PENDING,
}

# Rows with one of these statuses have a next attempt; the engine looks at others too, for its own ends.
_ATTEMPT_TO_COME = frozenset({RowStatus.PENDING, RowStatus.REFUSED})


def read_campaign_status(text: str) -> CampaignStatus:
    """Return the status to filter by; it has no default."""
    if text not in STATUSES:
        raise Refusal(errors.INVALID_CAMPAIGN_STATUS)
    return STATUSES[text]


def read_campaign_cursor(text: str) -> str:
    """Return the id after which a page begins, in lower case; ``""`` for the first page."""
    return "" if text in ("", FIRST_PAGE) else read_uuid(text)


CAMPAIGN_STATUS = Parameter(
    "campaignStatus",
    "query",
    read_campaign_status,
    "Status of the campaigns, as published; required",
    {"type": "string", "enum": list(STATUSES)},
    (errors.INVALID_CAMPAIGN_STATUS,),
)
CAMPAIGN_CURSOR = Parameter(
    "lastSeenCampaignId",
    "query",
    read_campaign_cursor,
    "Campaign after which the page begins, as the previous page gave it; 0 or missing for the first page",
    {"type": "string"},
    (errors.INVALID_UUID,),
)


async def by_status(call: Call, access: Access, _: None) -> V3CampaignHistory:
    """Answer a page of the campaigns with a status, by id."""
    status, after = call.value(CAMPAIGN_STATUS), call.value(CAMPAIGN_CURSOR)
    found = await campaigns_of(call).by_status(access.account.id, "v3", status, after)
    return V3CampaignHistory(
        has_more_data=found.more,
        last_seen_campaign_id=found.campaigns[-1].uuid if found.campaigns else after or FIRST_PAGE,
        campaign_list=[
            V3CampaignMetaInfo(**described(campaign, access.account.name)) for campaign in found.campaigns
        ],
    )


async def devices(call: Call, access: Access, _: None) -> V3CampaignDevice:
    """Answer a page of the devices of a campaign, by IMEI; what is no IMEI at the end of the last one."""
    uuid, after, limits = call.value(CAMPAIGN_ID), call.value(CURSOR), call.services.limits
    found = await campaigns_of(call).rows(access.account.id, uuid, -1 if after is None else int(after))
    check_version(found.campaign)
    rows = [device_status(row, limits.reachability_tries) for row in found.rows]
    rejected = V3_STATUS[RowStatus.REJECTED]
    rows += [
        V3DeviceStatus(device_id=stray, status=rejected, result_reason=BAD_IMEI) for stray in found.strays
    ]
    return V3CampaignDevice(
        total_device=found.total,
        has_more_data=found.more,
        last_seen_device_id=f"{found.rows[-1].imei:015}" if found.rows else after or FIRST_PAGE,
        max_page_size=limits.page_size,
        device_list=rows,
    )


async def history(call: Call, access: Access, _: None) -> bytes:
    """Answer the campaigns that a device came to an end with, newest first."""
    imei, tries_limit = call.value(DEVICE_ID), call.services.limits.reachability_tries
    found = await campaigns_of(call).history(access.account.id, int(imei), "v3")
    return encode([_upgrade(past, imei, access.account.name, tries_limit) for past in found])


def device_status(row: Row, tries_limit: int) -> V3DeviceStatus:
    """Return a row in the words of this version; *tries_limit*: how often a device is looked for."""
    planned = row.next_ms if row.status in _ATTEMPT_TO_COME else None
    return V3DeviceStatus(
        device_id=f"{row.imei:015}",
        status=V3_STATUS[row.status],
        result_reason=v3_reason(row, tries_limit),
        updated_time=format_t2(row.updated_ms),
        recent_attempt_time=None if row.recent_ms is None else format_t2(row.recent_ms),
        next_attempt_time=None if planned is None else format_t2(planned),
    )


def _upgrade(past: HistoryRow, imei: str, account_name: str, tries_limit: int) -> V3DeviceFirmwareUpgrade:
    campaign, row = past.campaign, past.row
    return V3DeviceFirmwareUpgrade(
        device_id=imei,
        campaign_id=campaign.uuid,
        account_name=account_name,
        firmware_name=campaign.package_name,
        firmware_from=campaign.version_from,
        firmware_to=campaign.version_to,
        start_date=format_day(campaign.start_day),
        status=V3_STATUS[row.status],
        reason=v3_reason(row, tries_limit),
        report_updated_time=format_t1(row.updated_ms),
    )


_BY_STATUS: AnyRoute = Route(
    method="GET",
    path=f"{REPORTS}/firmware/campaigns",
    summary="List the campaigns with a status",
    guard=ON_ACCOUNT,
    body=NO_BODY,
    handler=by_status,
    answer=V3CampaignHistory,
    parameters=(ACCOUNT, CAMPAIGN_STATUS, CAMPAIGN_CURSOR),
)
_DEVICES: AnyRoute = Route(
    method="GET",
    path=f"{REPORTS}/campaigns/{{campaignId}}/devices",
    summary="List the devices of a campaign, and where each stands",
    guard=ON_ACCOUNT,
    body=NO_BODY,
    handler=devices,
    answer=V3CampaignDevice,
    parameters=(ACCOUNT, CAMPAIGN_ID, CURSOR),
    problems=(errors.INVALID_CAMPAIGN_ID,),
)

ROUTES: tuple[AnyRoute, ...] = (
    _BY_STATUS,
    replace(_BY_STATUS, path=f"{REPORTS}/campaigns"),
    _DEVICES,
    replace(_DEVICES, path=f"{REPORTS}/firmware/campaigns/{{campaignId}}/devices"),
    Route(
        method="GET",
        path=f"{REPORTS}/devices/{{deviceId}}",
        summary="List the upgrades of a device",
        guard=ON_ACCOUNT,
        body=NO_BODY,
        handler=history,
        answer=V3DeviceFirmwareUpgrade,
        listed=True,
        parameters=(ACCOUNT, DEVICE_ID),
    ),
)
