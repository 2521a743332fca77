"""``overair campaign``: on the database of a data directory; a running service takes it up within seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overair.campaigns.model import Campaign, Window
from overair.cli.campaign_types import DayType, DevicesFileType, ImeiType, WindowType, windows_of
from overair.cli.common import (
    asynchronous,
    data_options,
    json_option,
    open_services,
    print_fields,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from overair.core import Core
    from overair.records import V3DeviceStatus

DAYS = 7
"""How long a campaign lasts unless one says: as long as the published default (spec lifecycle.md, 1.2)."""
PROTOCOL = "LWM2M"

HEADINGS = ("ID", "NAME", "ACCOUNT", "PACKAGE", "START", "END", "STATUS")
DEVICE_HEADINGS = ("IMEI", "STATUS", "UPDATED", "REASON")

windows_option = click.option(
    "--window",
    "given",
    type=WindowType(),
    multiple=True,
    help="Hours of the day, UTC, in which upgrades may begin, as 1-5; several times for several; "
    "any: at all hours.",
)


@click.group()
def command() -> None:
    """Campaigns: a package for many devices, within days and hours that you choose."""


@command.command()
@click.option("--account", required=True, metavar="NAME", help="Whose devices.")
@click.option("--package", "package_name", required=True, metavar="NAME", help="What they get.")
@click.option("--name", help="What to call the campaign.")
@click.option("--start", type=DayType(), help="First day, UTC [default: today].")
@click.option("--end", type=DayType(), help=f"Last day, UTC [default: {DAYS} days after the first].")
@windows_option
@click.option("--device", "devices", type=ImeiType(), multiple=True, help="A device; may be repeated.")
@click.option(
    "--devices",
    "listed",
    type=DevicesFileType(),
    help="File with an IMEI a line, or CSV with a column imei.",
)
@click.option("--auto-assign", is_flag=True, help="Assign licences to devices that have none.")
@click.option(
    "--auto-add", is_flag=True, help="Take in all devices that the package is for, also later ones."
)
@json_option
@data_options
@asynchronous
async def add(
    account: str,
    package_name: str,
    name: str | None,
    start: int | None,
    end: int | None,
    given: Sequence[Window],
    devices: Sequence[str],
    listed: Sequence[str] | None,
    auto_assign: bool,
    auto_add: bool,
    as_json: bool,
    data: Path,
    database_url: str | None,
) -> None:
    """Schedule a campaign. Devices are checked when the service takes it up."""
    from overair.campaigns.model import NewCampaign
    from overair.platform.clock import DAY_MS

    imeis = tuple(dict.fromkeys([*devices, *(listed or ())]))
    if not imeis and not auto_add:
        raise click.UsageError("no devices: say --device, --devices or --auto-add")
    async with open_services(data, database_url) as core:
        owner = await core.accounts.account(account)
        package = await core.packages.get_named(owner.id, package_name)
        if package.protocol != PROTOCOL:
            raise click.ClickException(
                f"package {package.name!r} is for {package.protocol}: campaigns bring {PROTOCOL} only"
            )
        first_day = core.clock.now_ms() // DAY_MS if start is None else start
        asked = NewCampaign(
            version="v3",
            name=name,
            package_name=package.name,
            version_from=package.version_from,
            version_to=package.version_to,
            start_day=first_day,
            end_day=first_day + DAYS if end is None else end,
            windows=windows_of(given),
            device_ids=imeis,
            auto_assign=auto_assign,
            auto_add=auto_add,
        )
        campaign = await core.campaigns.schedule(owner, asked)
    _print_campaign(campaign, account, as_json=as_json)


@command.command(name="list")
@click.option("--account", metavar="NAME", help="Whose campaigns [default: everybody's].")
@json_option
@data_options
@asynchronous
async def list_(account: str | None, as_json: bool, data: Path, database_url: str | None) -> None:
    """List the newest campaigns."""
    from overair.doors.operator.campaign_records import campaign_record

    async with open_services(data, database_url) as core:
        account_id = (await core.accounts.account(account)).id if account else None
        found = await core.overview.newest(account_id)
        names = {each.id: each.name for each in await core.accounts.list_accounts()}
    records = [campaign_record(each, names[each.account_id]) for each in found]
    if as_json:
        print_json(records)
        return
    print_table(
        HEADINGS,
        [
            (
                one.id, one.campaign_name or "-", one.account_name, one.firmware_name, one.start_date,
                one.end_date, one.status,
            )
            for one in records
        ],
    )  # fmt: skip


@command.command()
@click.argument("campaign_id", metavar="ID")
@json_option
@data_options
@asynchronous
async def show(campaign_id: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """Show the campaign ID, and how many devices have which status."""
    from overair.doors.operator.campaign_records import campaign_record

    async with open_services(data, database_url) as core:
        campaign = await core.overview.find(campaign_id)
        progress = await core.overview.progress(campaign)
        record = campaign_record(campaign, await _account_name(core, campaign), progress)
    if as_json:
        print_json(record)
        return
    print_fields(_fields(campaign, record.account_name) | {"done": f"{record.done} of {record.total}"})
    for status, count in (record.counts or {}).items():
        click.echo(f"  {count} {status}")


@command.command()
@click.argument("campaign_id", metavar="ID")
@json_option
@data_options
@asynchronous
async def devices(campaign_id: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """List the devices of the campaign ID, with status and reason."""
    async with open_services(data, database_url) as core:
        campaign = await core.overview.find(campaign_id)
        records = await _device_records(core, campaign)
    if as_json:
        print_json(records)
        return
    print_table(
        DEVICE_HEADINGS,
        [(one.device_id, one.status, one.updated_time or "-", one.result_reason) for one in records],
    )


@command.command()
@click.argument("campaign_id", metavar="ID")
@data_options
@asynchronous
async def cancel(campaign_id: str, data: Path, database_url: str | None) -> None:
    """Cancel the campaign ID before it starts."""
    async with open_services(data, database_url) as core:
        campaign = await core.overview.find(campaign_id)
        await core.campaigns.cancel(campaign.account_id, campaign.uuid)


@command.command()
@click.argument("campaign_id", metavar="ID")
@data_options
@asynchronous
async def abort(campaign_id: str, data: Path, database_url: str | None) -> None:
    """Abort the campaign ID while it runs. Devices that are done keep what they have."""
    async with open_services(data, database_url) as core:
        campaign = await core.overview.find(campaign_id)
        await core.campaigns.abort(campaign.account_id, campaign.uuid)


@command.command()
@click.argument("campaign_id", metavar="ID")
@click.option("--start", type=DayType(), help="First day, UTC; not once it runs.")
@click.option("--end", type=DayType(), help="Last day, UTC.")
@windows_option
@json_option
@data_options
@asynchronous
async def dates(
    campaign_id: str,
    start: int | None,
    end: int | None,
    given: Sequence[Window],
    as_json: bool,
    data: Path,
    database_url: str | None,
) -> None:
    """Change days and hours of the campaign ID; what is not given stays."""
    if start is None and end is None and not given:
        raise click.UsageError("nothing to change: say --start, --end or --window")
    async with open_services(data, database_url) as core:
        campaign = await core.overview.find(campaign_id)
        changed = await core.campaigns.change_dates(
            campaign.account_id,
            campaign.uuid,
            campaign.start_day if start is None else start,
            campaign.end_day if end is None else end,
            windows_of(given) if given else campaign.windows,
        )
        account_name = await _account_name(core, changed)
    _print_campaign(changed, account_name, as_json=as_json)


@command.command()
@click.argument("campaign_id", metavar="ID")
@json_option
@data_options
@asynchronous
async def watch(campaign_id: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """Show how far the campaign ID is, until it is over. With --json a line for each change."""
    from overair.cli.campaign_watch import watch as watching

    async with open_services(data, database_url) as core:
        await watching(core, campaign_id, as_json=as_json)


def _print_campaign(campaign: Campaign, account_name: str, *, as_json: bool) -> None:
    from overair.doors.operator.campaign_records import campaign_record

    if as_json:
        print_json(campaign_record(campaign, account_name))
    else:
        print_fields(_fields(campaign, account_name))


def _fields(campaign: Campaign, account_name: str) -> dict[str, object]:
    from overair.doors.thingspace.campaigns_v3 import format_day

    windows = ", ".join(f"{each.start_hour}-{each.end_hour} UTC" for each in campaign.windows)
    return {
        "id": campaign.uuid,
        "name": campaign.name or "-",
        "account": account_name,
        "package": campaign.package_name,
        "days": f"{format_day(campaign.start_day)} to {format_day(campaign.end_day)}",
        "hours": windows or "any",
        "status": campaign.status.value,
    }


async def _account_name(core: "Core", campaign: Campaign) -> str:
    names = {each.id: each.name for each in await core.accounts.list_accounts()}
    return names[campaign.account_id]


async def _device_records(core: "Core", campaign: Campaign) -> list["V3DeviceStatus"]:
    from overair.campaigns.rules import BAD_IMEI
    from overair.doors.thingspace.reports_v3 import device_status
    from overair.records import V3DeviceStatus

    found: list[V3DeviceStatus] = []
    more, after = True, -1
    while more:
        page = await core.campaigns.rows(campaign.account_id, campaign.uuid, after)
        found += [device_status(row, core.limits.reachability_tries) for row in page.rows]
        found += [
            V3DeviceStatus(device_id=stray, status="DeviceRejected", result_reason=BAD_IMEI)
            for stray in page.strays
        ]
        more, after = page.more, page.rows[-1].imei if page.rows else after
    return found
