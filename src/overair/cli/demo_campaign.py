"""The campaigns of ``overair demo``: one firmware and one campaign a model, watched to their end."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from overair.cli.demo_owner import Owner
from overair.simulator.image import make_image
from overair.simulator.profile import Identity

NEW_VERSION = "2026.11-demo"
IMAGE_BYTES = 96 * 1024
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 180
OVER = ("CampaignEnded", "CampaignRequestFailed", "CampaignFailed")

# In the order of a device's way through a campaign; statuses of one column are the same to who watches.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "WAITING": ("NoDeviceDataFromNetwork", "ReceivedDeviceDataFromNetwork", "UpgradePending"),
    "UPGRADING": ("UpgradeScheduled",),
    "DONE": ("UpgradeSuccess",),
    "FAILED": ("UpgradeFailed", "DeviceRejected", "RequestToFotaServerFailed"),
}


class Watched:
    """A campaign, and where its devices stand."""

    def __init__(self, model: str, campaign_id: str) -> None:
        self.model = model
        self.campaign_id = campaign_id
        self.status = ""
        self.devices: Counter[str] = Counter()

    async def look(self, owner: Owner) -> None:
        self.status = await owner.campaign_status(self.campaign_id)
        self.devices = Counter(await owner.statuses(self.campaign_id))

    def count(self, column: str) -> int:
        return sum(self.devices[status] for status in COLUMNS[column])


async def prepare(owner: Owner, fleet: Sequence[Identity]) -> list[Watched]:
    """Upload a new firmware for each model, and schedule its campaign."""
    profiles = {identity.profile.model: identity.profile for identity in fleet}
    for profile in profiles.values():
        image = make_image(profile.make, profile.model, NEW_VERSION, IMAGE_BYTES)
        await owner.upload(image, profile.make, profile.model, profile.firmware, NEW_VERSION)
    campaigns: list[Watched] = []
    for firmware in await owner.firmware():
        imeis = [each.imei for each in fleet if each.profile.model == firmware["model"]]
        campaigns.append(Watched(str(firmware["model"]), await owner.schedule(firmware, imeis)))
    return campaigns


async def watch(owner: Owner, campaigns: Sequence[Watched], console: Console) -> bool:
    """Show how far the campaigns are; returns whether every device was upgraded in time."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            await asyncio.gather(*[each.look(owner) for each in campaigns])
            passed = loop.time() - begin
            shown = progress(campaigns, passed)
            is_over = all(each.status in OVER for each in campaigns)
            if is_over or passed > PATIENCE_SECONDS:
                live.update(shown, refresh=True)
                break
            if console.is_terminal:
                live.update(shown, refresh=True)
            await asyncio.sleep(LOOK_SECONDS)
    return all(each.count("DONE") == each.devices.total() > 0 for each in campaigns)


def progress(campaigns: Sequence[Watched], passed_seconds: float) -> Table:
    """Return the display: a line a campaign, and below it how fast it goes."""
    done = sum(each.count("DONE") for each in campaigns)
    total = sum(each.devices.total() for each in campaigns)
    table = Table(title=f"{done} of {total} devices upgraded", title_justify="left", box=None, pad_edge=False)
    table.add_column("MODEL")
    for heading in COLUMNS:
        table.add_column(heading, justify="right")
    table.add_column("CAMPAIGN")
    for each in campaigns:
        table.add_row(each.model, *[str(each.count(name) or "-") for name in COLUMNS], each.status)
    table.caption = _pace(done, total, passed_seconds)
    table.caption_justify = "left"
    return table


def _pace(done: int, total: int, passed_seconds: float) -> str:
    if not done:
        return f"{passed_seconds:.0f} s"
    rate = done / passed_seconds
    left = (total - done) / rate
    return f"{passed_seconds:.0f} s, {rate:.1f} devices a second, about {left:.0f} s left"


def fail_unless(upgraded: bool) -> None:
    """End the demo with an error if a device has not the new firmware."""
    if not upgraded:
        raise click.ClickException("not all devices were upgraded")
