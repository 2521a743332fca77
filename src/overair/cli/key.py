"""``overair key``."""

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


@click.group()
def command() -> None:
    """API keys: what a program shows to get an access token (OAuth2 client credentials)."""


@command.command()
@click.option("--account", required=True, metavar="NAME", help="Whose key.")
@json_option
@data_options
@asynchronous
async def add(account: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """Make a key. Its secret is shown now and never again."""
    async with open_services(data, database_url) as services:
        made = await services.accounts.add_key(account)
    fields = {"key": made.key, "secret": made.secret}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
        click.echo("Keep the secret: it can't be shown again.", err=True)


@command.command(name="list")
@click.option("--account", required=True, metavar="NAME", help="Whose keys.")
@json_option
@data_options
@asynchronous
async def list_(account: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """List the keys of an account, without their secrets."""
    async with open_services(data, database_url) as services:
        keys = await services.accounts.list_keys(account)
    if as_json:
        print_json([{"key": key.key, "revoked": key.revoked_ms is not None} for key in keys])
    else:
        print_table(["KEY", "STATE"], [[key.key, "revoked" if key.revoked_ms else "valid"] for key in keys])


@command.command()
@click.argument("key")
@click.option("--account", required=True, metavar="NAME", help="Whose key.")
@data_options
@asynchronous
async def revoke(key: str, account: str, data: Path, database_url: str | None) -> None:
    """Revoke KEY and all its tokens."""
    async with open_services(data, database_url) as services:
        await services.accounts.revoke_key(account, key)
