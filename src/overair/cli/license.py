"""``overair license``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from overair.cli.common import asynchronous, data_options, json_option, open_services, print_json, print_table

if TYPE_CHECKING:
    from overair.core import Core

HEADINGS = ("DEVICE", "ASSIGNED")
account_option = click.option("--account", required=True, metavar="NAME", help="Whose devices.")
imeis_argument = click.argument("imeis", nargs=-1, required=True, metavar="IMEI...")


@click.group()
def command() -> None:
    """Licences: an account that pays by the month upgrades the devices that hold one."""


@command.command()
@imeis_argument
@account_option
@json_option
@data_options
@asynchronous
async def assign(
    imeis: Sequence[str], account: str, as_json: bool, data: Path, database_url: str | None
) -> None:
    """Assign a licence to each device IMEI, in this order, as far as there are any."""
    async with open_services(data, database_url) as services:
        done = await services.licenses.assign(await services.accounts.account(account), imeis)
    _say(done, as_json=as_json)


@command.command()
@imeis_argument
@account_option
@json_option
@data_options
@asynchronous
async def remove(
    imeis: Sequence[str], account: str, as_json: bool, data: Path, database_url: str | None
) -> None:
    """Remove the licence of each device IMEI that has not been upgraded since it was assigned."""
    async with open_services(data, database_url) as services:
        done = await services.licenses.remove(await services.accounts.account(account), imeis)
    _say(done, as_json=as_json)


@command.command(name="list")
@account_option
@json_option
@data_options
@asynchronous
async def list_(account: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """List the devices of an account that hold a licence, by IMEI."""
    async with open_services(data, database_url) as services:
        account_id = (await services.accounts.account(account)).id
        rows = await _all(services, account_id)
    if as_json:
        print_json(rows)
    else:
        print_table(HEADINGS, [list(row.values()) for row in rows])


async def _all(services: "Core", account_id: int) -> list[dict[str, Any]]:
    from overair.licenses.render import device

    rows: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = await services.licenses.page(account_id, after)
        rows += [msgspec.to_builtins(device(imei, assigned_ms)) for imei, assigned_ms in page.rows]
        if not page.more:
            return rows
        after = rows[-1]["deviceId"]


def _say(done: Any, *, as_json: bool) -> None:
    """Print what became of each device; :class:`click.ClickException` if any was refused."""
    from overair.licenses.render import changed

    result = changed(done)
    if as_json:
        print_json(result)
    else:
        print_table(
            ("DEVICE", "STATUS", "REASON"),
            [(row.device_id, row.status, row.result_reason) for row in result.device_list],
        )
        click.echo(f"{result.lic_used_count} of {result.lic_count} licences are assigned")
    refused = [row for row in result.device_list if row.status.endswith("Failed")]
    if refused:
        raise click.ClickException(f"{len(refused)} of {len(result.device_list)} devices were refused")
