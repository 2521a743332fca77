"""The JSON of campaigns for operators, shared with ``overair campaign … --json``.

A campaign has the fields that the API has (spec api-v3.md, section 5), and besides them how far it is.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from overair.campaigns.model import Campaign, RowStatus
from overair.campaigns.overview import Progress
from overair.campaigns.states import ROW_FINAL
from overair.campaigns.texts import V3_STATUS
from overair.doors.thingspace.campaigns_v3 import described
from overair.records import V3Campaign
from overair.records.times import format_t2


class CampaignRecord(V3Campaign, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A campaign as operators see it (GET /operator/v1/campaigns/{campaignId})."""

    create_time: str
    change_time: Annotated[str, Meta(description="When its status last changed")]
    counts: Annotated[
        dict[str, int] | None, Meta(description="Devices by status, as `UpgradeSuccess`; absent in lists")
    ] = None
    done: Annotated[int | None, Meta(description="Devices that have come to an end")] = None
    total: Annotated[int | None, Meta(description="All devices")] = None
    per_minute: Annotated[
        int | None, Meta(description="Devices that succeeded or failed in the last minute")
    ] = None


class CampaignRecords(Struct, gc=False, rename="camel", kw_only=True):
    """The campaigns of an account, or of all, newest first (GET /operator/v1/campaigns)."""

    campaigns: list[CampaignRecord]


def campaign_record(
    campaign: Campaign, account_name: str, progress: Progress | None = None
) -> CampaignRecord:
    """Return the record of a campaign, with how far it is if that is known."""
    record = CampaignRecord(
        **described(campaign, account_name),
        auto_assign_license_flag=campaign.auto_assign,
        auto_add_devices_flag=campaign.auto_add,
        create_time=format_t2(campaign.created_ms),
        change_time=format_t2(campaign.changed_ms),
    )
    if progress is not None:
        record.counts = counts_by_name(progress.counts)
        record.done = sum(count for status, count in progress.counts.items() if status in ROW_FINAL)
        record.total = sum(progress.counts.values())
        record.per_minute = progress.recent
    return record


def counts_by_name(counts: Mapping[RowStatus, int]) -> dict[str, int]:
    """Return how many devices have each status in the API's words, in the order of a device's way."""
    named: dict[str, int] = {}
    for status, name in V3_STATUS.items():
        if counts.get(status):
            named[name] = named.get(name, 0) + counts[status]
    return named
