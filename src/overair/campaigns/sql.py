"""Statements on campaigns. All take a connection: several of them make one transaction."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Select, delete, func, insert, select, update

from overair.accounts.model import Account
from overair.accounts.sql import account_of, accounts
from overair.campaigns.model import (
    Campaign,
    CampaignPage,
    CampaignStatus,
    UnknownCampaign,
    Version,
    Window,
)
from overair.campaigns.states import CampaignEvent, next_campaign_status
from overair.campaigns.tables import campaign_strays, campaigns

_COLUMNS = [campaigns.c[name] for name in Campaign.__struct_fields__]
_decode_windows = msgspec.json.Decoder(tuple[Window, ...]).decode


def add(connection: Connection, campaign: Campaign) -> Campaign:
    """Store a new campaign; returned with its id."""
    values = _values(campaign)
    del values["id"]
    made = connection.execute(insert(campaigns).values(values))
    (number,) = made.inserted_primary_key or (0,)
    return msgspec.structs.replace(campaign, id=number)


def get(connection: Connection, campaign_id: int) -> Campaign:
    """Return a campaign by its number."""
    return _campaign(connection.execute(select(*_COLUMNS).where(campaigns.c.id == campaign_id)).one())


def find(connection: Connection, account_id: int, uuid: str) -> Campaign:
    """Return an account's campaign; :class:`UnknownCampaign` if it has none of that id."""
    query = select(*_COLUMNS).where(campaigns.c.account_id == account_id, campaigns.c.uuid == uuid.lower())
    row = connection.execute(query).first()
    if row is None:
        raise UnknownCampaign(f"campaign {uuid}: the account has none of that id")
    return _campaign(row)


def account_of_campaign(connection: Connection, campaign: Campaign) -> Account:
    """Return the account that a campaign belongs to."""
    return account_of(connection.execute(select(accounts).where(accounts.c.id == campaign.account_id)).one())


def unfinished(connection: Connection) -> list[Campaign]:
    """Return all campaigns that are not over, or have not let go of all their devices, oldest first."""
    query = select(*_COLUMNS).where(campaigns.c.closed_ms.is_(None)).order_by(campaigns.c.id)
    return [_campaign(row) for row in connection.execute(query)]


def count_open(connection: Connection, campaign_id: int, more: int) -> None:
    """Add to the number of a campaign's open rows."""
    if more:
        counted = campaigns.c.open_rows + more
        connection.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(open_rows=counted))


def by_status(
    connection: Connection, account_id: int, version: Version, status: CampaignStatus, after: str, count: int
) -> CampaignPage:
    """Return an account's campaigns with a status, ids ascending from the one after *after*."""
    query = (
        select(*_COLUMNS)
        .where(
            campaigns.c.account_id == account_id,
            campaigns.c.version == version,
            campaigns.c.status == status,
            campaigns.c.uuid > after,
        )
        .order_by(campaigns.c.uuid)
        .limit(count + 1)
    )
    found = [_campaign(row) for row in connection.execute(query)]
    return CampaignPage(found[:count], more=len(found) > count)


def move(connection: Connection, campaign: Campaign, event: CampaignEvent, now_ms: int) -> Campaign:
    """Change a campaign's status by the table."""
    status = next_campaign_status(campaign.status, event)
    return put(connection, campaign, status=status, changed_ms=now_ms)


def put(connection: Connection, campaign: Campaign, **changes: Any) -> Campaign:
    """Store changed fields of a campaign; returns it with them."""
    after = msgspec.structs.replace(campaign, **changes)
    values = _values(after)
    changed = {name: values[name] for name in changes}
    connection.execute(update(campaigns).where(campaigns.c.id == campaign.id).values(changed))
    return after


def add_strays(connection: Connection, campaign_id: int, device_ids: list[str]) -> None:
    """Store what was given as devices and is no IMEI."""
    if device_ids:
        rows = [{"campaign_id": campaign_id, "device_id": each} for each in dict.fromkeys(device_ids)]
        connection.execute(insert(campaign_strays), rows)


def strays(connection: Connection, campaign_id: int) -> list[str]:
    """Return what was given as devices and is no IMEI."""
    query = (
        select(campaign_strays.c.device_id)
        .where(campaign_strays.c.campaign_id == campaign_id)
        .order_by(campaign_strays.c.device_id)
    )
    return list(connection.scalars(query))


def count_strays(connection: Connection, campaign_id: int) -> int:
    """Return how many there are."""
    query = select(func.count()).where(campaign_strays.c.campaign_id == campaign_id)
    return int(connection.scalar(query) or 0)


def drop_strays(connection: Connection, campaign_id: int, device_ids: list[str]) -> set[str]:
    """Forget some; returns those that were there."""
    there = set(strays(connection, campaign_id)) & set(device_ids)
    if there:
        gone = delete(campaign_strays).where(
            campaign_strays.c.campaign_id == campaign_id, campaign_strays.c.device_id.in_(there)
        )
        connection.execute(gone)
    return there


def campaigns_by_id(connection: Connection, numbers: set[int]) -> dict[int, Campaign]:
    """Return campaigns by their numbers."""
    query: Select[Any] = select(*_COLUMNS).where(campaigns.c.id.in_(numbers))
    return {row[0]: _campaign(row) for row in connection.execute(query)} if numbers else {}


def _values(campaign: Campaign) -> dict[str, Any]:
    values = msgspec.structs.asdict(campaign)
    values["windows"] = msgspec.json.encode(campaign.windows).decode()
    return values


def _campaign(row: Any) -> Campaign:
    values = dict(zip(Campaign.__struct_fields__, row, strict=True))
    values["windows"] = _decode_windows(values["windows"])
    values["status"] = CampaignStatus(values["status"])
    return Campaign(**values)
