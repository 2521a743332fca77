"""What owners ask for, inside the transaction of :mod:`overair.campaigns.service`: one function each.

A campaign of more devices than one transaction takes is stored as a request that failed, until the last of
them is there (:func:`complete`). If the service ends before that, so it stays: nobody was told that it was
accepted, and its devices are free for the next one.
"""

import uuid as uuids
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from overair.accounts.model import Account
from overair.campaigns import rows, rules, sql, telling
from overair.campaigns.model import (
    AlreadyEnded,
    AlreadyStarted,
    Campaign,
    CampaignStatus,
    NewCampaign,
    NotStarted,
    RowPage,
    UnknownPackage,
    Window,
)
from overair.campaigns.states import CAMPAIGN_OVER, OPEN_TO_MEMBERS, CampaignEvent
from overair.packages import sql as packages
from overair.packages.model import Package
from overair.packages.model import State as PackageState

NAME_CHARACTERS = 255


def schedule(
    connection: Connection,
    *,
    account: Account,
    asked: NewCampaign,
    imeis: Sequence[int],
    strays: list[str],
    whole: bool,
    now_ms: int,
) -> Campaign:
    """Store a campaign, with some of its devices if it is not *whole*; raises UnknownPackage."""
    package = packages.live(connection, account.id, asked.package_name)
    if package is None or not _offers(package, asked):
        raise UnknownPackage(
            f"package {asked.package_name[:NAME_CHARACTERS]!r}: not offered with these versions"
        )
    new = _new(account, asked, package, now_ms)
    if not whole:
        new = msgspec.structs.replace(new, status=CampaignStatus.REQUEST_FAILED, closed_ms=now_ms)
    campaign = sql.add(connection, new)
    rows.add(connection, campaign.id, imeis, now_ms)
    sql.add_strays(connection, campaign.id, strays)
    if whole:
        telling.changed(connection, account.name, campaign, now_ms)
    return campaign


def complete(connection: Connection, *, account: Account, campaign: Campaign) -> Campaign:
    """Have a campaign begin of which all devices are stored by now."""
    whole = sql.put(connection, campaign, status=CampaignStatus.PENDING, closed_ms=None)
    telling.changed(connection, account.name, whole, whole.created_ms)
    return whole


def _new(account: Account, asked: NewCampaign, package: Package, now_ms: int) -> Campaign:
    return Campaign(
        id=0,
        uuid=str(uuids.uuid4()),
        account_id=account.id,
        version=asked.version,
        name=None if asked.name is None else asked.name[:NAME_CHARACTERS],
        package_id=package.id,
        package_name=package.name,
        kind=package.kind.value,
        version_from=package.version_from,
        version_to=package.version_to,
        make=package.make,
        model=package.model,
        protocol=package.protocol,
        start_day=asked.start_day,
        end_day=asked.end_day,
        windows=asked.windows,
        auto_assign=asked.auto_assign,
        auto_add=asked.auto_add,
        status=CampaignStatus.PENDING,
        created_ms=now_ms,
        changed_ms=now_ms,
        auto_add_ms=now_ms if asked.auto_add else None,
        auto_add_after=-1,
        open_rows=0,
        closed_ms=None,
    )


def _offers(package: Package, asked: NewCampaign) -> bool:
    versions = (package.version_from, package.version_to)
    return package.state is PackageState.READY and versions == (asked.version_from, asked.version_to)


def open_to_members(connection: Connection, account_id: int, uuid: str) -> Campaign:
    """Return a campaign to which devices may be added; raises AlreadyStarted or UnknownCampaign."""
    campaign = sql.find(connection, account_id, uuid)
    if campaign.status not in OPEN_TO_MEMBERS:
        raise AlreadyStarted(f"campaign {uuid}: {campaign.status}")
    return campaign


def change_dates(
    connection: Connection,
    account_id: int,
    uuid: str,
    asked: tuple[int, int, tuple[Window, ...]],
    now_ms: int,
) -> Campaign:
    """Change dates and windows; *asked* are first day, last day and windows."""
    campaign = sql.find(connection, account_id, uuid)
    start_day, end_day, windows = asked
    if campaign.status in CAMPAIGN_OVER or now_ms >= rules.end_ms(campaign):
        raise AlreadyEnded(f"campaign {uuid}: {campaign.status}")
    if campaign.status is CampaignStatus.SCHEDULED:
        rules.check_new_end(campaign, start_day, end_day, windows, now_ms)
    else:
        rules.check_dates(start_day, end_day, windows, now_ms)
    return sql.put(connection, campaign, start_day=start_day, end_day=end_day, windows=windows)


def cancel(connection: Connection, account_id: int, uuid: str, now_ms: int) -> None:
    """Cancel a campaign that has not started."""
    campaign = sql.find(connection, account_id, uuid)
    if campaign.status in CAMPAIGN_OVER:
        raise AlreadyEnded(f"campaign {uuid}: {campaign.status}")
    if campaign.status is CampaignStatus.SCHEDULED:
        raise AlreadyStarted(f"campaign {uuid}: {campaign.status}")
    telling.moved(connection, campaign, CampaignEvent.CANCEL, now_ms)


def abort(connection: Connection, account_id: int, uuid: str, now_ms: int) -> None:
    """Abort a campaign that runs."""
    campaign = sql.find(connection, account_id, uuid)
    if campaign.status in CAMPAIGN_OVER:
        raise AlreadyEnded(f"campaign {uuid}: {campaign.status}")
    if campaign.status is not CampaignStatus.SCHEDULED:
        raise NotStarted(f"campaign {uuid}: {campaign.status}, not started")
    telling.moved(connection, campaign, CampaignEvent.ABORT, now_ms)


def page(
    connection: Connection, *, account_id: int, uuid: str, after: int, count: int, totals: dict[int, int]
) -> RowPage:
    """Return a page of rows. *totals* has what was counted for the first pages of campaigns.

    Pages in the middle of a listing take their total from there; the first and the last count.
    """
    campaign = sql.find(connection, account_id, uuid)
    found = rows.page(connection, campaign.id, after, count + 1)
    more = len(found) > count
    total = totals.get(campaign.id) if more and after >= 0 else None
    if total is None:
        total = rows.count(connection, campaign.id) + sql.count_strays(connection, campaign.id)
        totals[campaign.id] = total
    strays = [] if more else sql.strays(connection, campaign.id)
    return RowPage(campaign, total, found[:count], strays, more)
