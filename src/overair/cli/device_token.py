"""``overair device token``: what a device proves itself by over HTTP. Tokens are shown once."""

import sys
from pathlib import Path

import click

from overair.cli.common import (
    asynchronous,
    data_options,
    json_option,
    open_services,
    print_fields,
    print_json,
    print_table,
)
from overair.cli.device_key import account_of
from overair.credentials.token_model import NewToken, TokenRow
from overair.devices.model import imei_number
from overair.records.times import format_t1

_account_option = click.option("--account", required=True, metavar="NAME", help="Whose device.")


@click.group()
def command() -> None:
    """Tokens of a device that speaks HTTP."""


@command.command()
@click.argument("imei")
@_account_option
@click.option("--token-stdin", is_flag=True, help="Read the token [default: 32 random hex digits].")
@click.option("--controller-id", metavar="TEXT", help="What it calls itself [default: its IMEI].")
@json_option
@data_options
@asynchronous
async def add(
    imei: str,
    account: str,
    token_stdin: bool,
    controller_id: str | None,
    as_json: bool,
    data: Path,
    database_url: str | None,
) -> None:
    """Give the device IMEI a token. One that it has stays valid for 7 days more."""
    token = sys.stdin.readline().strip() if token_stdin else None
    async with open_services(data, database_url) as services:
        account_id = await account_of(services, account, imei)
        number = imei_number(imei)
        if controller_id is not None:
            await services.tokens.bind(account_id, controller_id, number)
        made = await services.tokens.add(account_id, number, token)
    fields = token_fields(made)
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
        click.echo("Keep the token: it can't be shown again.", err=True)


@command.command(name="list")
@click.argument("imei")
@_account_option
@json_option
@data_options
@asynchronous
async def list_(imei: str, account: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """List the times of the valid tokens of the device IMEI, never the tokens."""
    async with open_services(data, database_url) as services:
        account_id = await account_of(services, account, imei)
        tokens = await services.tokens.valid(account_id, imei_number(imei))
    rows = [_times(row) for row in tokens]
    if as_json:
        print_json(rows)
    else:
        headings = ("TOKEN", "CREATED", "EXPIRES")
        print_table(headings, [[*row.values(), "-"][:3] for row in rows])


@command.command()
@click.argument("imei")
@click.argument("number", type=click.IntRange(min=1))
@_account_option
@data_options
@asynchronous
async def remove(imei: str, number: int, account: str, data: Path, database_url: str | None) -> None:
    """Take the token NUMBER from the device IMEI; a service that runs notices within seconds."""
    async with open_services(data, database_url) as services:
        account_id = await account_of(services, account, imei)
        await services.tokens.remove(account_id, imei_number(imei), number)


def token_fields(made: NewToken) -> dict[str, str]:
    """Return what is shown of a new token, this once."""
    return {"token": made.token}


def _times(row: TokenRow) -> dict[str, object]:
    shown: dict[str, object] = {"number": row.id, "createTime": format_t1(row.created_ms)}
    if row.expires_ms is not None:
        shown["expiryTime"] = format_t1(row.expires_ms)
    return shown
