"""What owners are told of campaigns: put into the outbox in the transaction that it is about.

A change of status is told at once; devices that came to an end are told together, about once a minute
(spec callbacks.md, section 3).
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from overair.callbacks import build, outbox
from overair.callbacks.model import Message
from overair.campaigns import rows, sql
from overair.campaigns.model import Campaign, CampaignStatus, Row
from overair.campaigns.texts import V3_STATUS, v3_reason
from overair.devices.model import imei_text
from overair.platform.clock import DAY_MS
from overair.platform.limits import Limits
from overair.records import V3CallbackDevice
from overair.records.times import format_d

PORTION = 1000
"""Devices in one message at most (spec callbacks.md, section 4.3)."""


def changed(connection: Connection, account_name: str, campaign: Campaign, now_ms: int) -> None:
    """Tell that a campaign has a new status."""
    is_start = campaign.status is CampaignStatus.SCHEDULED
    tell = build.upgrade_scheduled if is_start else build.upgrade_progress
    _put(connection, campaign, tell(account_name, _upgrade(campaign)), now_ms)


def ended_portion(connection: Connection, campaign_id: int, limits: Limits, now_ms: int) -> bool:
    """Tell of some devices of a campaign that came to an end; returns whether there may be more."""
    news = rows.with_news(connection, campaign_id, PORTION)
    if news:
        campaign = sql.get(connection, campaign_id)
        account = sql.account_of_campaign(connection, campaign)
        shown = [_device(row, limits) for row in sorted(news, key=lambda row: row.imei)]
        _put(connection, campaign, build.upgrade_progress(account.name, _upgrade(campaign), shown), now_ms)
        rows.told(connection, news)
    return len(news) == PORTION


def _put(connection: Connection, campaign: Campaign, messages: Sequence[Message], now_ms: int) -> None:
    outbox.put(connection, campaign.account_id, campaign.version, messages, now_ms)


def _device(row: Row, limits: Limits) -> V3CallbackDevice:
    return V3CallbackDevice(
        device_id=imei_text(row.imei),
        status=V3_STATUS[row.status],
        result_reason=v3_reason(row, limits.reachability_tries),
    )


def _upgrade(campaign: Campaign) -> build.Upgrade:
    return build.Upgrade(
        campaign_id=campaign.uuid,
        campaign_name=campaign.name,
        firmware_name=campaign.package_name,
        firmware_from=campaign.version_from,
        firmware_to=campaign.version_to,
        protocol=campaign.protocol,
        start_date=format_d(campaign.start_day * DAY_MS),
        end_date=format_d(campaign.end_day * DAY_MS),
        status=campaign.status,
    )
