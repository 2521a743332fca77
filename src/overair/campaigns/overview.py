"""What operators see of campaigns: those of all accounts, and how far each of them is."""

from functools import partial

import msgspec
from sqlalchemy import Connection, func, select

from overair.campaigns import rows, sql
from overair.campaigns.model import Campaign, RowStatus, UnknownCampaign
from overair.campaigns.tables import campaign_rows, campaigns
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits

RECENT_MS = 60_000

_ATTEMPTED = (RowStatus.SUCCEEDED, RowStatus.FAILED)


class Progress(msgspec.Struct, frozen=True):
    """How far a campaign is."""

    counts: dict[RowStatus, int]
    """How many devices have each status."""
    recent: int
    """How many succeeded or failed in the last minute."""


class CampaignOverview:
    """Reads only. It costs some 100 ms for a campaign of a million devices."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits

    async def newest(self, account_id: int | None) -> list[Campaign]:
        """Return the campaigns of an account, or of all; newest first, a page of them at most."""
        count = self._limits.page_size
        return await self._database.read(partial(_newest, account_id=account_id, count=count))

    async def going_on(self) -> list[Campaign]:
        """Return the campaigns that are not over, or have devices to let go; newest first."""
        return (await self._database.read(sql.unfinished))[::-1]

    async def find(self, uuid: str) -> Campaign:
        """Return a campaign of any account; :class:`UnknownCampaign` if there is none of that id."""
        return await self._database.read(partial(_find, uuid=uuid))

    async def progress(self, campaign: Campaign) -> Progress:
        """Return how far a campaign is at the moment."""
        since_ms = self._clock.now_ms() - RECENT_MS
        return await self._database.read(partial(_progress, campaign_id=campaign.id, since_ms=since_ms))


def _newest(connection: Connection, *, account_id: int | None, count: int) -> list[Campaign]:
    query = select(campaigns.c.id).order_by(campaigns.c.id.desc()).limit(count)
    if account_id is not None:
        query = query.where(campaigns.c.account_id == account_id)
    numbers = list(connection.scalars(query))
    found = sql.campaigns_by_id(connection, set(numbers))
    return [found[number] for number in numbers]


def _find(connection: Connection, *, uuid: str) -> Campaign:
    number = connection.scalar(select(campaigns.c.id).where(campaigns.c.uuid == uuid.lower()))
    if number is None:
        raise UnknownCampaign(f"campaign {uuid}: there is none of that id")
    return sql.get(connection, number)


def _progress(connection: Connection, *, campaign_id: int, since_ms: int) -> Progress:
    recent = select(func.count()).where(
        campaign_rows.c.campaign_id == campaign_id,
        campaign_rows.c.status.in_(_ATTEMPTED),
        campaign_rows.c.updated_ms >= since_ms,
    )
    return Progress(rows.counts(connection, campaign_id), int(connection.scalar(recent) or 0))
