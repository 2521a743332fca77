"""Which devices a campaign takes: those of the request, added ones, those that come by themselves.

Each function is one portion of work in one transaction; what it decides rests on what is stored at that
moment, so a device cannot be taken by two campaigns at once.
"""

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from overair.accounts.model import Account
from overair.campaigns import plan, rows, rules, sql
from overair.campaigns.model import Campaign, CampaignStatus, MemberChange, Row, RowStatus
from overair.campaigns.states import CAMPAIGN_OVER, ROW_IDLE, RowEvent, next_row_status
from overair.devices.model import Device, imei_text
from overair.devices.sql import devices_of, of_model, set_campaigning
from overair.licenses import store as licenses
from overair.licenses.model import AssignOutcome
from overair.licenses.rules import may_upgrade
from overair.packages import sql as packages
from overair.packages.model import State as PackageState

PORTION = 250
"""Rows in one transaction: some twenty milliseconds, for as long as a registration may have to wait."""


def conditions(connection: Connection, campaign: Campaign) -> plan.Conditions:
    """Return what holds for a campaign at the moment."""
    package = packages.get(connection, campaign.package_id)
    account = sql.account_of_campaign(connection, campaign)
    return plan.Conditions(
        active=account.active, package=package is not None and package.state is PackageState.READY
    )


def check_portion(connection: Connection, campaign_id: int, now_ms: int) -> int:
    """Check some of the devices that have not been checked; returns how many those were.

    None are of a campaign that was cancelled meanwhile: they would be given licences for nothing.
    """
    campaign = sql.get(connection, campaign_id)
    if campaign.status is not CampaignStatus.PENDING:
        return 0
    unchecked = rows.of_status(connection, campaign_id, RowStatus.UNCHECKED, PORTION)
    if not unchecked:
        return 0
    account = sql.account_of_campaign(connection, campaign)
    reasons = _reasons(connection, campaign, account, [row.imei for row in unchecked], now_ms)
    checked = [_checked(row, reasons[row.imei], now_ms) for row in unchecked]
    rows.put_checked(connection, checked)
    _taken(connection, campaign, [row.imei for row in checked if row.status is RowStatus.WAITING])
    return len(checked)


def add_members(
    connection: Connection, campaign: Campaign, account: Account, imeis: Sequence[int], now_ms: int
) -> list[MemberChange]:
    """Add devices to a campaign before its start; those it cannot take are told, and leave no row."""
    reasons = _reasons(connection, campaign, account, imeis, now_ms)
    accepted = [imei for imei, reason in reasons.items() if reason is None]
    rows.remove(connection, campaign.id, accepted)  # a row of a device that was rejected before
    rows.add(connection, campaign.id, accepted, now_ms, status=RowStatus.WAITING)
    _taken(connection, campaign, accepted)
    return [MemberChange(imei_text(imei), reason) for imei, reason in reasons.items()]


def remove_members(connection: Connection, campaign: Campaign, imeis: Sequence[int]) -> list[MemberChange]:
    """Take devices out of a campaign before its start: they have no row afterwards."""
    members = rows.members(connection, campaign.id, imeis)
    # One that lost its licence was cancelled and let go already, and may be in another campaign by now.
    opened = [imei for imei, row in members.items() if row.status in ROW_IDLE]
    rows.remove(connection, campaign.id, members)
    released(connection, campaign.id, opened)
    wanted = dict.fromkeys(imeis)
    return [MemberChange(imei_text(imei), None if imei in members else rules.NOT_FOUND) for imei in wanted]


def auto_add_portion(connection: Connection, campaign_id: int, now_ms: int) -> bool:
    """Take in devices that are what the campaign is for, where the round stands; returns if there are more.

    A device that any check refuses is left out without a row (spec lifecycle.md, section 5.4).
    """
    campaign = sql.get(connection, campaign_id)
    if campaign.status in CAMPAIGN_OVER:
        return False
    account = sql.account_of_campaign(connection, campaign)
    after = campaign.auto_add_after
    candidates = of_model(connection, account.id, campaign.make, campaign.model, after, PORTION)
    known = rows.members(connection, campaign.id, candidates)
    strangers = [imei for imei in candidates if imei not in known]
    reasons = _reasons(connection, campaign, account, strangers, now_ms)
    accepted = [imei for imei, reason in reasons.items() if reason is None]
    rows.add(connection, campaign.id, accepted, now_ms, status=RowStatus.WAITING)
    _taken(connection, campaign, accepted)
    more = len(candidates) == PORTION
    sql.put(
        connection,
        campaign,
        auto_add_after=candidates[-1] if more else -1,
        auto_add_ms=now_ms if more else plan.next_auto_add_ms(now_ms),
    )
    return more


def cancel_scheduled(connection: Connection, imeis: Sequence[int], now_ms: int) -> None:
    """Cancel the upgrades of devices that wait for one; those that run go on (spec lifecycle.md, 5.2)."""
    idle = [row for row in rows.open_rows(connection, imeis) if row.status is not RowStatus.RUNNING]
    rows.put(connection, [plan.cancelled(row, now_ms) for row in idle])
    for campaign_id, of_it in by_campaign(idle).items():
        released(connection, campaign_id, [row.imei for row in of_it])


def released(connection: Connection, campaign_id: int, imeis: Sequence[int]) -> None:
    """Note that devices are in no unfinished campaign any more."""
    set_campaigning(connection, imeis, campaigning=False)
    sql.count_open(connection, campaign_id, -len(imeis))


def by_campaign(mixed: Iterable[Row]) -> dict[int, list[Row]]:
    """Return rows by the numbers of their campaigns."""
    found: dict[int, list[Row]] = {}
    for row in mixed:
        found.setdefault(row.campaign_id, []).append(row)
    return found


def _taken(connection: Connection, campaign: Campaign, imeis: Sequence[int]) -> None:
    set_campaigning(connection, imeis, campaigning=True)
    sql.count_open(connection, campaign.id, len(imeis))


def _reasons(
    connection: Connection, campaign: Campaign, account: Account, imeis: Sequence[int], now_ms: int
) -> dict[int, str | None]:
    """Return for each device why it is not taken, None if it is; those that are have their licence then."""
    wanted = list(dict.fromkeys(imeis))
    devices = devices_of(connection, account.id, wanted)
    busy = {row.imei for row in rows.open_rows(connection, wanted)}
    reasons = {
        imei: rules.rejection(
            devices.get(imei), campaign, account, busy=imei in busy, will_be_licensed=campaign.auto_assign
        )
        for imei in wanted
    }
    if campaign.auto_assign:
        passed = [imei for imei, reason in reasons.items() if reason is None]
        reasons |= _licensed(connection, account, passed, devices, now_ms)
    return reasons


def _licensed(
    connection: Connection,
    account: Account,
    imeis: Sequence[int],
    devices: dict[int, Device],
    now_ms: int,
) -> dict[int, str | None]:
    """Assign licences as far as there are any; without one only an account that pays by the event goes on."""
    needy = [imei for imei in imeis if not devices[imei].licensed]
    if not needy:
        return {}
    outcomes = licenses.assign(connection, account, needy, now_ms)
    empty = [imei for imei, outcome in outcomes.items() if outcome is AssignOutcome.POOL_EMPTY]
    return {imei: None if may_upgrade(account, licensed=False) else rules.NO_LICENSE for imei in empty}


def _checked(row: Row, reason: str | None, now_ms: int) -> Row:
    event = RowEvent.ACCEPT if reason is None else RowEvent.REJECT
    status = next_row_status(row.status, event)
    next_ms = now_ms if reason is None else None
    return msgspec.structs.replace(row, status=status, detail=reason, updated_ms=now_ms, next_ms=next_ms)
