"""Campaigns of API v3: schedule, read, change, cancel (spec api-v3.md, section 5).

A list of devices has no bound of its own here: how many one campaign may have is configured (section 1,
Limits), and the body that holds the list is bounded by its bytes. Its entries need not be IMEIs either,
since a malformed one is rejected by itself (spec lifecycle.md, section 3.2) and not the whole request.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from overair.records.errors import DATE_RULE, DEVICE_ID_RULE
from overair.records.times import D_PATTERN, parse_d

MAX_WINDOWS = 48
"""Twice as many as a day has hours: more say nothing new."""

MAX_NAME_CHARACTERS = 255
"""Names of campaigns and packages, versions (ours, none is published)."""

MAX_ID_CHARACTERS = 64
"""What stands where an IMEI should: long enough for any misprint of one."""

Date = Annotated[
    str,
    Meta(
        min_length=10,
        max_length=10,
        extra_json_schema={"pattern": D_PATTERN},
        extra={"rule": DATE_RULE, "parse": parse_d},
    ),
]

AskedDate = Annotated[
    str,
    Meta(
        min_length=10,
        max_length=30,
        description="A date; of a time in RFC 3339 form, its UTC date counts (Q6)",
        examples=["2025-07-07"],
        extra={"rule": DATE_RULE, "parse": parse_d},
    ),
]

Name = Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)]

DeviceText = Annotated[
    str,
    Meta(
        max_length=MAX_ID_CHARACTERS,
        description="IMEI, 15 digits; anything else is rejected by itself",
        extra={"rule": DEVICE_ID_RULE, "digits": True},
    ),
]

DeviceTexts = Annotated[list[DeviceText], Meta(min_length=1, description="IMEIs")]

Hour = Annotated[int, Meta(ge=0, le=24, description="Hour of the day, UTC", extra={"number": True})]


class V3TimeWindow(Struct, gc=False, rename="camel", kw_only=True):
    """Hours in which upgrades may begin: ``startTime <= hour < endTime``."""

    start_time: Hour
    end_time: Hour


Windows = Annotated[
    list[V3TimeWindow], Meta(max_length=MAX_WINDOWS, description="Missing or empty: any hour")
]


class V3CampaignFirmwareUpgrade(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The campaign to schedule (POST /campaigns/firmware/{acc})."""

    campaign_name: Name | None = None
    firmware_name: Annotated[Name, Meta(description="A package of GET /firmware/{acc}")]
    firmware_from: Annotated[Name, Meta(description="As the package has it")]
    firmware_to: Annotated[Name, Meta(description="As the package has it")]
    protocol: Annotated[Name | None, Meta(description="`LWM2M`, in any published spelling")] = None
    start_date: AskedDate
    end_date: AskedDate
    campaign_time_window_list: Windows | None = None
    device_list: DeviceTexts
    auto_assign_license_flag: Annotated[bool | None, Meta(description="Missing: false (Q7)")] = None
    auto_add_devices_flag: Annotated[bool | None, Meta(description="Missing: false (Q7)")] = None


class V3CampaignMetaInfo(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A campaign in a list of them (GET /reports/{acc}/firmware/campaigns)."""

    id: Annotated[str, Meta(description="UUID")]
    account_name: str
    campaign_name: str | None = None
    firmware_name: str | None = None
    firmware_from: str | None = None
    firmware_to: str | None = None
    protocol: Literal["LWM2M", "OMD-DM"] | None = None
    make: str
    model: str
    start_date: Date
    end_date: Date
    campaign_time_window_list: Annotated[list[V3TimeWindow] | None, Meta(description="Absent: any hour")] = (
        None
    )
    status: Annotated[str, Meta(description="As `CampaignScheduled`")]


class V3FirmwareCampaign(V3CampaignMetaInfo, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A campaign as it was scheduled or changed (POST /campaigns/firmware/{acc}, PUT …/dates)."""

    firmware_from: str
    firmware_to: str
    protocol: Literal["LWM2M"]


class V3Campaign(V3CampaignMetaInfo, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A campaign as it stands (GET /campaigns/{acc}/{campaignId})."""

    protocol: Literal["LWM2M"]
    auto_assign_license_flag: bool
    auto_add_devices_flag: bool


class V3AddOrRemoveDeviceRequest(Struct, gc=False, rename="camel", kw_only=True):
    """Devices for, or out of, a campaign (PUT /campaigns/firmware/{acc}/{campaignId})."""

    type: Annotated[Name, Meta(description="`append` or `remove`")] = field(name="Type")
    device_list: DeviceTexts


class V3DeviceListItem(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """What became of one device that was to be added or removed."""

    device_id: str
    status: Annotated[str, Meta(description="As `AddDeviceSucceed`")]
    reason: str = field(name="Reason")


class V3AddOrRemoveDeviceResult(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The devices added or removed; ``id`` repeats ``campaignId`` (quirks.md Q13)."""

    account_name: str
    campaign_id: Annotated[str, Meta(description="UUID")]
    id: Annotated[str | None, Meta(description="Same as campaignId")] = None
    device_list: list[V3DeviceListItem]

    def __post_init__(self) -> None:
        if self.id is None:
            self.id = self.campaign_id


class V3ChangeCampaignDatesRequest(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """The full set of dates and windows (PUT /campaigns/firmware/{acc}/{campaignId}/dates)."""

    start_date: AskedDate
    end_date: AskedDate
    campaign_time_window_list: Windows | None = None


class FotaV3SuccessResult(Struct, gc=False, rename="camel", kw_only=True):
    """It is done (DELETE of a campaign, or of a callback)."""

    success: bool
