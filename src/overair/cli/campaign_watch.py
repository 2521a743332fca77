"""``overair campaign watch``: how far a campaign is, until it is over."""

import asyncio
import sys
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from overair.campaigns.model import Campaign, CampaignStatus
from overair.campaigns.states import CAMPAIGN_OVER
from overair.doors.operator.campaign_records import CampaignRecord, campaign_record

if TYPE_CHECKING:
    from overair.core import Core

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 15.0
"""The engine looks every five seconds for campaigns that the command line made."""

BROKEN = (CampaignStatus.REQUEST_FAILED, CampaignStatus.FAILED)


async def watch(core: "Core", uuid: str, *, as_json: bool) -> None:
    """Show a campaign whenever something has changed; fails if the campaign did."""
    names = {account.id: account.name for account in await core.accounts.list_accounts()}
    loop = asyncio.get_running_loop()
    with Shown(as_json=as_json) as shown:
        while True:
            campaign = await core.overview.find(uuid)
            progress = await core.overview.progress(campaign)
            shown.show(campaign_record(campaign, names[campaign.account_id], progress), loop.time())
            if is_over(campaign):
                break
            await asyncio.sleep(LOOK_SECONDS)
    if campaign.status in BROKEN:
        raise click.ClickException(f"campaign {uuid}: {campaign.status}")


def is_over(campaign: Campaign) -> bool:
    """Whether nothing can happen to a campaign or one of its devices any more."""
    return campaign.status in CAMPAIGN_OVER and not campaign.open_rows


class Pace:
    """How fast devices come to an end, since the first look."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def words(self, done: int, total: int, now: float) -> str:
        """Return rate and time left, ``""`` while neither is known."""
        if self._first is None:
            self._first = (now, done)
        since, before = self._first
        more = done - before
        if not more or now <= since:
            return ""
        rate = more / (now - since)
        left = "" if done >= total else f", about {duration((total - done) / rate)} left"
        return f"{rate:.1f} devices a second{left}" if rate >= 1 else f"{rate * 60:.1f} a minute{left}"


class Shown:
    """What was shown last: a line that moves on a terminal, and elsewhere one for each change."""

    def __init__(self, *, as_json: bool) -> None:
        console = Console(stderr=True)
        self._as_json = as_json
        moves = not as_json and sys.stdout.isatty() and console.is_terminal
        self._live = Live(Text(""), console=console, auto_refresh=False, transient=True) if moves else None
        self._pace = Pace()
        self._last: object = None
        self._began: float | None = None
        self._told = False

    def __enter__(self) -> "Shown":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, record: CampaignRecord, now: float) -> None:
        """Show the campaign as it is; *now* in seconds of any clock."""
        pace = self._pace.words(record.done or 0, record.total or 0, now)
        self._warn(record.status, now)
        state = (record.status, record.counts)
        if self._live is not None:
            self._live.update(Text(line(record, pace), no_wrap=True), refresh=True)
        if state == self._last:
            return
        if self._as_json:
            click.echo(msgspec.json.encode(record))
        elif self._live is None or record.status in CAMPAIGN_OVER:
            click.echo(line(record, pace))
        self._last = state

    def _warn(self, status: str, now: float) -> None:
        """Say it if nobody takes the campaign up."""
        self._began = now if self._began is None else self._began
        if status == CampaignStatus.PENDING and now - self._began > PATIENCE_SECONDS and not self._told:
            self._told = True
            click.echo("Nothing happens: is the service running on this data directory?", err=True)


def line(record: CampaignRecord, pace: str) -> str:
    """Return one line about a campaign."""
    counts = [f"{count} {name}" for name, count in (record.counts or {}).items()]
    said = [record.status, f"{record.done} of {record.total} done", *counts, pace]
    return " · ".join(filter(None, said))


def duration(seconds: float) -> str:
    """Return a time in the largest units that say something."""
    whole = max(1, round(seconds))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= 2 * length:
            return f"{round(whole / length)} {unit}"
    return f"{whole} s"
