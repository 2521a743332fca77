"""``overair device key``, and what ``overair device add`` shares with it. Keys are shown once, as hex."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from overair.credentials.model import InvalidPsk, NewPsk, PskTimes, identity_text
from overair.credentials.rules import default_identity, key_from_hex
from overair.devices.model import imei_number
from overair.records.times import format_t1

if TYPE_CHECKING:
    from overair.core import Core


class HexKey(click.ParamType[bytes]):
    """A key as hex digits; what is wrong with it is said without showing it."""

    name = "HEX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            return key_from_hex(str(value))
        except InvalidPsk as wrong:
            self.fail(wrong.rule, param, ctx)


key_option = click.option(
    "--psk-key", type=HexKey(), help="The key, 8 to 64 bytes [default: 16 random ones, shown once]."
)
_identity_option = click.option(
    "--psk-identity", metavar="TEXT", help="Which identity [default: urn:imei:IMEI]."
)
_account_option = click.option("--account", required=True, metavar="NAME", help="Whose device.")


@click.group()
def command() -> None:
    """Pre-shared keys of a device."""


@command.command()
@click.argument("imei")
@_account_option
@_identity_option
@key_option
@json_option
@data_options
@asynchronous
async def add(
    imei: str,
    account: str,
    psk_identity: str | None,
    psk_key: bytes | None,
    as_json: bool,
    data: Path,
    database_url: str | None,
) -> None:
    """Give the device IMEI a key. A key that its identity has stays valid for 7 days more."""
    async with open_services(data, database_url) as services:
        account_id = await account_of(services, account, imei)
        made = await services.credentials.add_psk(
            account_id, imei_number(imei), identity=_identity(psk_identity), key=psk_key
        )
    fields = psk_fields(made)
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
        say_keep()


@command.command(name="list")
@click.argument("imei")
@_account_option
@json_option
@data_options
@asynchronous
async def list_(imei: str, account: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """List the identities of the device IMEI and the times of their valid keys, never the keys."""
    async with open_services(data, database_url) as services:
        await account_of(services, account, imei)
        keys = await services.credentials.identities(imei_number(imei))
    rows = [_times(key) for key in keys]
    if as_json:
        print_json(rows)
    else:
        headings = ("IDENTITY", "CREATED", "EXPIRES")
        print_table(headings, [[*row.values(), "-"][: len(headings)] for row in rows])


@command.command()
@click.argument("imei")
@_account_option
@_identity_option
@data_options
@asynchronous
async def remove(
    imei: str, account: str, psk_identity: str | None, data: Path, database_url: str | None
) -> None:
    """Take an identity and all its keys from the device IMEI, at once."""
    async with open_services(data, database_url) as services:
        await account_of(services, account, imei)
        number = imei_number(imei)
        identity = _identity(psk_identity)
        await services.credentials.remove(number, default_identity(number) if identity is None else identity)


def prepared(services: "Core", imei: int, identity: str | None, key: bytes | None) -> NewPsk:
    """Return the key that a command is to add."""
    made: NewPsk = services.credentials.prepared(imei, identity=_identity(identity), key=key)
    return made


def psk_fields(made: NewPsk) -> dict[str, str]:
    """Return what is shown of a new key, this once."""
    return {"pskIdentity": identity_text(made.identity), "pskKey": made.key.hex()}


def say_keep() -> None:
    """Remind whoever reads a new key that it is the only time."""
    click.echo("Keep the key: it can't be shown again.", err=True)


async def account_of(services: "Core", account: str, imei: str) -> int:
    """Return the account's id; :class:`UnknownDevice` unless the device is its own."""
    account_id: int = (await services.accounts.account(account)).id
    await services.devices.show(account_id, imei)
    return account_id


def _identity(text: str | None) -> bytes | None:
    # The shell's bytes as they were typed, also where they are no UTF-8.
    return None if text is None else text.encode(errors="surrogateescape")


def _times(key: PskTimes) -> dict[str, str]:
    shown = {"pskIdentity": identity_text(key.identity), "createTime": format_t1(key.created_ms)}
    if key.expires_ms is not None:
        shown["expiryTime"] = format_t1(key.expires_ms)
    return shown
