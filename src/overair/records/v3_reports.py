"""Reports of API v3: campaigns by status, devices of a campaign, history of a device (spec api-v3.md, 6)."""

from typing import Annotated

from msgspec import Meta, Struct

from overair.records.fields import MAX_ENTRIES, T1, T2, Count, DeviceId
from overair.records.v3_campaigns import Date, V3CampaignMetaInfo


class V3CampaignHistory(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A page of campaigns with one status, by id (GET /reports/{acc}/firmware/campaigns)."""

    has_more_data: Annotated[bool, Meta(description="Ask again with lastSeenCampaignId")]
    last_seen_campaign_id: Annotated[str | None, Meta(description="Cursor of the next page")] = None
    campaign_list: Annotated[list[V3CampaignMetaInfo], Meta(max_length=MAX_ENTRIES)]


class V3DeviceStatus(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """One device of a campaign. Times are of form T2: the public SDK parses them (quirks.md Q5)."""

    device_id: Annotated[str, Meta(description="IMEI, or what the request had in its place")]
    status: Annotated[str, Meta(description="As `UpgradePending`")]
    result_reason: str | None = None
    updated_time: Annotated[T2 | None, Meta(description="This row last changed")] = None
    recent_attempt_time: Annotated[T2 | None, Meta(description="The last attempt began")] = None
    next_attempt_time: Annotated[T2 | None, Meta(description="The next attempt is planned")] = None


class V3CampaignDevice(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A page of the devices of a campaign, by IMEI (GET /reports/{acc}/campaigns/{campaignId}/devices).

    What is no IMEI comes at the end of the last page, which is so longer than ``maxPageSize`` may say.
    """

    total_device: Annotated[Count | None, Meta(description="Devices of the campaign")] = None
    has_more_data: Annotated[bool, Meta(description="Ask again with lastSeenDeviceId")]
    last_seen_device_id: Annotated[str | None, Meta(description="Cursor of the next page")] = None
    max_page_size: Count
    device_list: list[V3DeviceStatus]


class V3DeviceFirmwareUpgrade(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A campaign that a device came to an end with (GET /reports/{acc}/devices/{deviceId})."""

    device_id: DeviceId
    campaign_id: Annotated[str, Meta(description="UUID")]
    account_name: str
    firmware_name: str | None = None
    firmware_from: str | None = None
    firmware_to: str | None = None
    start_date: Date
    status: Annotated[str, Meta(description="As `UpgradeSuccess`")]
    reason: str
    report_updated_time: Annotated[T1 | None, Meta(description="When the device came to its end")] = None
