"""``overair user``."""

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
)


@click.group()
def command() -> None:
    """Users log in to get the session token that every API call carries."""


@command.command()
@click.option("--account", required=True, metavar="NAME", help="The account that the user acts for.")
@click.option("--name", required=True, help="User name; one set of names for all accounts.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
@data_options
@asynchronous
async def add(
    account: str, name: str, password_stdin: bool, as_json: bool, data: Path, database_url: str | None
) -> None:
    """Add a user. Asks for the password, or reads it from standard input."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    async with open_services(data, database_url) as services:
        user = await services.accounts.add_user(account, name, password)
    fields = {"username": user.name, "accountName": account}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


@command.command()
@click.option("--account", required=True, metavar="NAME", help="The user's account.")
@click.option("--name", required=True, help="User name.")
@data_options
@asynchronous
async def unlock(account: str, name: str, data: Path, database_url: str | None) -> None:
    """Let a user log in again after too many wrong passwords."""
    async with open_services(data, database_url) as services:
        await services.accounts.unlock_user(account, name)
