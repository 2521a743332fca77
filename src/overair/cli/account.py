"""``overair account``."""

from pathlib import Path
from typing import Any

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
    """Accounts own devices, API keys and users."""


@command.command()
@click.argument("name")
@click.option("--licenses", type=click.IntRange(min=0), default=0, show_default=True, help="Licences bought.")
@click.option(
    "--subscription",
    metavar="mrc|event|mrc,event",
    help="How upgrades are paid for: by licence and month, or by upgrade [default: mrc with --licenses].",
)
@json_option
@data_options
@asynchronous
async def add(
    name: str, licenses: int, subscription: str | None, as_json: bool, data: Path, database_url: str | None
) -> None:
    """Add the account NAME, digits and a hyphen as in 0742000123-00001."""
    subscription = subscription or ("mrc" if licenses else "event")
    async with open_services(data, database_url) as services:
        account = await services.accounts.add_account(name, licenses, subscription.split(","))
    fields = _fields(account)
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


@command.command(name="list")
@json_option
@data_options
@asynchronous
async def list_(as_json: bool, data: Path, database_url: str | None) -> None:
    """List all accounts."""
    async with open_services(data, database_url) as services:
        accounts = [_fields(account) for account in await services.accounts.list_accounts()]
    if as_json:
        print_json(accounts)
    else:
        print_table(
            ["ACCOUNT", "LICENCES", "SUBSCRIPTION", "ACTIVE"], [list(row.values()) for row in accounts]
        )


@command.command()
@click.argument("name")
@click.argument("licenses", metavar="N", type=click.IntRange(min=0))
@json_option
@data_options
@asynchronous
async def set_licenses(name: str, licenses: int, as_json: bool, data: Path, database_url: str | None) -> None:
    """Change the licences that the account NAME has bought to N.

    If more are assigned, devices lose theirs: the oldest assignments first, and what is scheduled for
    them is cancelled. An upgrade that runs completes, and its licence goes then.
    """
    async with open_services(data, database_url) as services:
        account = await services.accounts.account(name)
        counters = await services.licenses.set_licenses(account.id, licenses)
    fields = _fields(counters.account) | {"licenseUsedCount": counters.assigned}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


@command.command()
@click.argument("name")
@json_option
@data_options
@asynchronous
async def gateway_token(name: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """Make a token for all HTTP devices of the account NAME. The one before stays valid for 7 days more."""
    async with open_services(data, database_url) as services:
        account = await services.accounts.account(name)
        made = await services.tokens.add(account.id, None)
    if as_json:
        print_json({"accountName": account.name, "gatewayToken": made.token})
    else:
        print_fields({"accountName": account.name, "gatewayToken": made.token})
        click.echo("Keep the token: it can't be shown again.", err=True)


@command.command()
@click.argument("name")
@click.option("--poll-seconds", type=click.IntRange(30, 86_399), help="How often devices come.")
@click.option("--jitter-percent", type=click.IntRange(0, 50), help="By how much that varies, to spread load.")
@click.option("--confirm/--no-confirm", default=None, help="Whether a device is to agree to each update.")
@click.option("--issuer", "issuers", multiple=True, metavar="HASH", help="Who may certify devices.")
@click.option("--no-issuers", is_flag=True, help="Nobody may.")
@json_option
@data_options
@asynchronous
async def http(
    name: str,
    poll_seconds: int | None,
    jitter_percent: int | None,
    confirm: bool | None,
    issuers: tuple[str, ...],
    no_issuers: bool,
    as_json: bool,
    data: Path,
    database_url: str | None,
) -> None:
    """Show how the HTTP devices of the account NAME are treated, and change what is given."""
    from overair.doors.ddi.settings import changed

    async with open_services(data, database_url) as services:
        account = await services.accounts.account(name)
        settings = await changed(
            services.database,
            account.id,
            seconds=poll_seconds,
            jitter_percent=jitter_percent,
            confirmation=confirm,
            issuers=() if no_issuers else issuers or None,
        )
    fields = {
        "accountName": account.name,
        "pollSeconds": settings.polling.seconds,
        "jitterPercent": settings.polling.jitter_percent,
        "confirmation": settings.confirmation,
        "issuers": list(settings.issuers),
    }
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


def _fields(account: Any) -> dict[str, object]:
    return {
        "accountName": account.name,
        "licenseCount": account.licenses,
        "subscription": ",".join(account.subscriptions),
        "active": account.active,
    }
