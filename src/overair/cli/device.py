"""``overair device``."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
import msgspec

from overair.cli.common import (
    asynchronous,
    data_options,
    json_option,
    open_services,
    print_fields,
    print_json,
    print_table,
)
from overair.cli.device_file import Errors, Row, read_devices
from overair.cli.device_key import command as key_command
from overair.cli.device_key import key_option, prepared, psk_fields, say_keep
from overair.cli.device_token import command as token_command
from overair.cli.device_token import token_fields
from overair.credentials.model import CredentialError, KeysRefused, NewPsk
from overair.devices.model import AddRefused, DeviceError, Provisioning, imei_number

if TYPE_CHECKING:
    from overair.core import Core

HEADINGS = ("DEVICE", "MAKE", "MODEL", "FIRMWARE", "PROTOCOL", "MDN", "FOTA")
COLUMNS = ("deviceId", "make", "model", "firmware", "protocol", "mdn", "fotaEligible")
PROTOCOLS = {"lwm2m": "LWM2M", "http": "HTTP", "omadm": "OMADM", "none": "NONE"}


@click.group()
def command() -> None:
    """Devices, by their IMEI."""


command.add_command(key_command, "key")
command.add_command(token_command, "token")


@command.command()
@click.argument("imei")
@click.option("--account", required=True, metavar="NAME", help="Whose device.")
@click.option("--mdn", help="Phone number; what the device says of it later does not replace it.")
@click.option("--make", help="Maker, until the device reports its own.")
@click.option("--model", help="Model, until the device reports its own.")
@click.option("--firmware", help="Firmware version, until the device reports its own.")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), help="A hint until the first contact.")
@click.option("--psk", is_flag=True, help="Make a pre-shared key; it is shown now and never again.")
@click.option("--psk-identity", metavar="TEXT", help="Its identity [default: urn:imei:IMEI].")
@key_option
@click.option("--token", is_flag=True, help="Make a token for HTTP; it is shown now and never again.")
@click.option("--controller-id", metavar="TEXT", help="What it calls itself over HTTP [default: its IMEI].")
@json_option
@data_options
@asynchronous
async def add(
    imei: str,
    account: str,
    mdn: str | None,
    make: str | None,
    model: str | None,
    firmware: str | None,
    protocol: str | None,
    psk: bool,
    psk_identity: str | None,
    psk_key: bytes | None,
    token: bool,
    controller_id: str | None,
    as_json: bool,
    data: Path,
    database_url: str | None,
) -> None:
    """Add the device IMEI to an account, or say something new of it."""
    said = Provisioning(
        imei_number(imei),
        mdn=mdn,
        make=make,
        model=model,
        firmware=firmware,
        protocol=PROTOCOLS[protocol] if protocol else None,  # type: ignore[arg-type]
    )
    async with open_services(data, database_url) as services:
        account_id = (await services.accounts.account(account)).id
        wanted = []
        if psk or psk_identity is not None or psk_key is not None:
            wanted.append(prepared(services, said.imei, psk_identity, psk_key))
        try:
            await _add(services, account_id, [said], wanted)
        except AddRefused as refused:
            raise DeviceError(refused.errors[0][1]) from refused
        if controller_id is not None:
            await services.tokens.bind(account_id, controller_id, said.imei)
        shown = token_fields(await services.tokens.add(account_id, said.imei)) if token else {}
        await _print_device(services, account_id, imei, *wanted, more=shown, as_json=as_json)


@command.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--account", required=True, metavar="NAME", help="Whose devices.")
@json_option
@data_options
@asynchronous
async def import_(file: Path, account: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """Add the devices of a CSV FILE: all of them, or none and a line for each row that is wrong.

    The first line names the columns: imei, and any of mdn, make, model, firmware, protocol, psk_identity,
    psk_key (hex).
    """
    with _progress(file) as advance:
        rows, errors = read_devices(file, advance)
    async with open_services(data, database_url) as services:
        account_id = (await services.accounts.account(account)).id
        errors = errors or await _add_rows(services, account_id, rows)
    if as_json:
        print_json(
            {
                "imported": 0 if errors else len(rows),
                "errors": [{"line": line, "reason": reason} for line, reason in errors],
            }
        )
    for line, reason in errors:
        click.echo(f"{file}:{line}: {reason}", err=True)
    if errors:
        raise click.ClickException(f"{len(errors)} rows are wrong; nothing was imported")
    if not as_json:
        click.echo(f"{len(rows)} devices imported")


@command.command(name="list")
@click.option("--account", required=True, metavar="NAME", help="Whose devices.")
@json_option
@data_options
@asynchronous
async def list_(account: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """List the devices of an account, by IMEI."""
    async with open_services(data, database_url) as services:
        account_id = (await services.accounts.account(account)).id
        devices = await _all(services, account_id)
    if as_json:
        print_json(devices)
    else:
        print_table(HEADINGS, map(_row, devices))


@command.command()
@click.argument("imei")
@click.option("--account", required=True, metavar="NAME", help="Whose device.")
@json_option
@data_options
@asynchronous
async def show(imei: str, account: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """Show the record of the device IMEI."""
    async with open_services(data, database_url) as services:
        account_id = (await services.accounts.account(account)).id
        await _print_device(services, account_id, imei, as_json=as_json)


@command.command()
@click.option("--account", required=True, metavar="NAME", help="Whose devices.")
@click.option("--every", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds.")
@data_options
@asynchronous
async def watch(account: str, every: float, data: Path, database_url: str | None) -> None:
    """Show the devices of an account as they change, until Ctrl-C."""
    from rich.live import Live

    from overair.cli.tables import device_table

    async with open_services(data, database_url) as services:
        account_id = (await services.accounts.account(account)).id
        with (
            Live(device_table(await _all(services, account_id))) as live,
            contextlib.suppress(KeyboardInterrupt),
        ):
            while True:
                await asyncio.sleep(every)
                live.update(device_table(await _all(services, account_id)))


async def _all(services: "Core", account_id: int) -> list[dict[str, Any]]:
    devices: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = await services.devices.page(account_id, None, after)
        devices += map(msgspec.json.decode, page.documents)
        if not page.more:
            return devices
        after = page.last


async def _add_rows(services: "Core", account_id: int, rows: list[Row]) -> Errors:
    """Add the devices of a file and their keys, or return what is wrong with them."""
    keyed = [(row, row.psk) for row in rows if row.psk is not None]
    try:
        await _add(services, account_id, [row.said for row in rows], [psk for _, psk in keyed])
    except AddRefused as refused:
        return [(rows[place].line, reason) for place, reason in refused.errors]
    except KeysRefused as refused:
        return [(keyed[place][0].line, str(reason)) for place, reason in refused.errors]
    return []


async def _add(services: "Core", account_id: int, said: list[Provisioning], psks: list[NewPsk]) -> None:
    """Add devices and keys: two transactions, so the keys are checked before the devices are added.

    Then the keys can be refused only if another command takes an identity in between.
    """
    await services.credentials.check(account_id, psks)
    await services.devices.add(account_id, said)
    try:
        await services.credentials.add(account_id, psks)
    except KeysRefused as refused:
        raise CredentialError(
            f"the devices were added, but not their keys, since just now another command changed theirs: "
            f"{refused}; run this command again"
        ) from refused


async def _print_device(
    services: "Core",
    account_id: int,
    imei: str,
    *psks: NewPsk,
    more: Mapping[str, str] = MappingProxyType({}),
    as_json: bool,
) -> None:
    record = msgspec.json.decode(await services.devices.show(account_id, imei))
    for psk in psks:
        record |= psk_fields(psk)
    record |= more
    if as_json:
        print_json(record)
    else:
        print_fields({name: _shown(value) for name, value in record.items()})
        if psks or more:
            say_keep()


def _row(device: dict[str, Any]) -> list[str]:
    return [_shown(device[name]) or "-" for name in COLUMNS]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(f"{entry['name']} {entry['version']}" for entry in value) or "-"
    return str(value)


@contextlib.contextmanager
def _progress(file: Path) -> Iterator[Any]:
    """Show a bar on a terminal while a large file is read; yields ``advance(bytes)``."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _size: None
        return
    with click.progressbar(length=file.stat().st_size, label="Reading", file=sys.stderr) as bar:
        yield bar.update
