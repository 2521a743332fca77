"""What owners are told of campaigns: put into the outbox in the transaction that it is about.

A change of status is told at once; devices that came to an end are told together, about once a minute
(spec callbacks.md, section 3).
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from overair.accounts.model import Account
from overair.accounts.sql import account_of, accounts
from overair.callbacks import build, outbox
from overair.callbacks.model import Message
from overair.campaigns import rows, sql
from overair.campaigns.model import Campaign, CampaignStatus, Row
from overair.campaigns.states import CampaignEvent
from overair.campaigns.texts import V3_STATUS, v3_reason
from overair.devices.model import Operation, imei_text
from overair.devices.sql import load_state, models_of
from overair.packages.model import Kind, Package
from overair.packages.render import v3_firmware
from overair.platform.clock import DAY_MS
from overair.platform.limits import Limits
from overair.records import V3CallbackDevice, V3ReportedDevice
from overair.records.times import format_d, format_t2

PORTION = 1000
"""Devices in one message at most (spec callbacks.md, section 4.3)."""


def changed(connection: Connection, account_name: str, campaign: Campaign, now_ms: int) -> None:
    """Tell that a campaign has a new status."""
    is_start = campaign.status is CampaignStatus.SCHEDULED
    tell = build.upgrade_scheduled if is_start else build.upgrade_progress
    _put(connection, campaign, tell(account_name, _upgrade(campaign)), now_ms)


def moved(connection: Connection, campaign: Campaign, event: CampaignEvent, now_ms: int) -> None:
    """Change a campaign's status by the table, and tell so."""
    after = sql.move(connection, campaign, event, now_ms)
    changed(connection, sql.account_of_campaign(connection, after).name, after, now_ms)


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


def package_ready(connection: Connection, package: Package, now_ms: int) -> None:
    """Tell an account that there is a new firmware for its devices."""
    models = models_of(connection, package.account_id)
    is_for_them = (package.make.lower(), package.model.lower()) in models
    if package.kind is Kind.FIRMWARE and package.protocol == "LWM2M" and is_for_them:
        account = _account(connection, package.account_id)
        message = build.new_firmware(account.name, v3_firmware(package))
        outbox.put(connection, account.id, "v3", [message], now_ms)


def report_ended(connection: Connection, operation: Operation, outcome: str, now_ms: int) -> None:
    """Tell what came of asking a device for its firmware (spec api-v3.md, section 4.3)."""
    device = load_state(connection, operation.imei)
    if operation.kind != "report_firmware" or device is None:
        return
    account = _account(connection, device.account_id)
    known = device.firmware
    done = outcome == "done"
    reported = V3ReportedDevice(
        device_id=imei_text(operation.imei),
        status="FirmwareVersionUpdateSuccess" if done else "FirmwareVersionUpdateFailed",
        result_reason="" if done else outcome,
        firmware_version=known.value if known else "",
        firmware_version_update_time=format_t2(known.at_ms) if known else None,
    )
    message = build.firmware_report(account.name, operation.id, reported)
    outbox.put(connection, account.id, "v3", [message], now_ms)


def _account(connection: Connection, account_id: int) -> Account:
    return account_of(connection.execute(select(accounts).where(accounts.c.id == account_id)).one())


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
