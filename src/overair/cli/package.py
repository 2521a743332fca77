"""``overair package``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from overair.cli.common import (
    asynchronous,
    data_options,
    json_option,
    open_services,
    print_fields,
    print_json,
    print_table,
    refusing,
)

T = TypeVar("T")

READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
HEADINGS = ("NAME", "KIND", "MAKE", "MODEL", "FROM", "TO", "PROTOCOL", "STATE", "SIGNED BY")
TRUST_HEADINGS = ("NAME", "KIND", "SUBJECT", "EXPIRES")

account_option = click.option("--account", required=True, metavar="NAME", help="Whose package.")


def images_option(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``--images``: where images are kept."""
    return click.option(
        "--images",
        "images_url",
        metavar="URL",
        envvar="OVERAIR_IMAGES",
        help="Where images are kept, as s3://bucket/folder [default: a folder in the data directory].",
    )(function)


@click.group()
def command() -> None:
    """Packages: images that devices can be brought to, and what they are for."""


@command.command()
@click.argument("file", type=READABLE)
@account_option
@click.option(
    "--kind",
    type=click.Choice(["firmware", "software", "file"]),
    default="firmware",
    show_default=True,
    help="What becomes of it on the device.",
)
@click.option("--make", required=True, help="Maker of the devices that it is for, in any case.")
@click.option("--model", required=True, help="Their model, in any case.")
@click.option("--from", "version_from", default="", help="Version that a device must have.")
@click.option("--to", "version_to", required=True, help="Version that it has afterwards.")
@click.option("--protocol", default="lwm2m", show_default=True, help="lwm2m, omadm or http.")
@click.option("--name", default="", help="Unique in the account [default: make_model_from_to].")
@click.option("--release-note", default="", help="What owners read of it.")
@click.option("--launch-date", default="", metavar="YYYY-MM-DD", help="Date of release [default: now].")
@click.option("--signature", type=READABLE, help="Detached signature of FILE, as it is or in base64.")
@click.option("--certificate", type=READABLE, help="Who signed: PEM, the signer's own certificate first.")
@click.option(
    "--require-signatures", is_flag=True, envvar="OVERAIR_REQUIRE_SIGNATURES", help="Refuse what is unsigned."
)
@json_option
@images_option
@data_options
@asynchronous
async def add(
    file: Path,
    account: str,
    protocol: str,
    signature: Path | None,
    certificate: Path | None,
    require_signatures: bool,
    as_json: bool,
    images_url: str | None,
    data: Path,
    database_url: str | None,
    **said: str,
) -> None:
    """Add FILE as a package. The service offers it at once to owners whose devices it fits."""
    from overair.doors.operator.records import kind_of, launch_of, package_record
    from overair.doors.thingspace.parameters import PROTOCOLS
    from overair.packages.model import NewPackage
    from overair.packages.signatures import decoded

    async with open_services(
        data, database_url, images_url=images_url, require_signatures=require_signatures
    ) as services:
        owner = await services.accounts.account(account)
        new = NewPackage(
            kind=kind_of(said["kind"]),
            make=said["make"],
            model=said["model"],
            version_from=said["version_from"],
            version_to=said["version_to"],
            protocol=PROTOCOLS.get(protocol.upper()) or protocol,
            name=said["name"],
            launch_ms=launch_of(said["launch_date"]),
            release_note=said["release_note"],
            size_bytes=_size(file),
            signature=decoded(_content(signature)) if signature else None,
            certificates=_content(certificate) if certificate else None,
        )
        package = await services.packages.add(owner.id, new, file)
    record = package_record(package, owner.name)
    if as_json:
        print_json(record)
    else:
        print_fields(
            {"package": package.name, "sha256": record.sha256, "signed by": package.signed_by or "-"}
        )


@command.command(name="list")
@click.option("--account", metavar="NAME", help="Whose packages [default: everybody's].")
@json_option
@images_option
@data_options
@asynchronous
async def list_(
    account: str | None, as_json: bool, images_url: str | None, data: Path, database_url: str | None
) -> None:
    """List packages, those that are not ready too."""
    from overair.doors.operator.records import package_record

    async with open_services(data, database_url, images_url=images_url) as services:
        account_id = (await services.accounts.account(account)).id if account else None
        found = await services.packages.listed(account_id)
        names = {each.id: each.name for each in await services.accounts.list_accounts()}
    if as_json:
        print_json([package_record(each, names[each.account_id]) for each in found])
        return
    print_table(
        HEADINGS,
        [
            [
                one.name, one.kind, one.make, one.model, one.version_from or "-", one.version_to,
                one.protocol, one.state, one.signed_by or "-",
            ]
            for one in found
        ],
    )  # fmt: skip


@command.command()
@click.argument("name")
@account_option
@images_option
@data_options
@asynchronous
async def remove(
    name: str, account: str, images_url: str | None, data: Path, database_url: str | None
) -> None:
    """Withdraw the package NAME (or id): no campaign can begin with it any more, and the name is free."""
    async with open_services(data, database_url, images_url=images_url) as services:
        owner = await services.accounts.account(account)
        await services.packages.withdraw((await services.packages.get_named(owner.id, name)).id)


@command.group()
def trust() -> None:
    """Keys and certificates whose signatures count."""


@trust.command(name="add")
@click.argument("file", type=READABLE)
@json_option
@data_options
def trust_add(file: Path, as_json: bool, data: Path, database_url: str | None) -> None:  # noqa: ARG001
    """Trust the public key, or the certificates, of the PEM file FILE."""
    from overair.packages.trust import TrustFolder

    with refusing():
        _print_anchors(TrustFolder(data).add(file), as_json=as_json)


@trust.command(name="list")
@json_option
@data_options
def trust_list(as_json: bool, data: Path, database_url: str | None) -> None:  # noqa: ARG001
    """List what is trusted."""
    from overair.packages.trust import TrustFolder

    with refusing():
        _print_anchors(TrustFolder(data).anchors(), as_json=as_json)


@trust.command(name="remove")
@click.argument("name")
@data_options
def trust_remove(name: str, data: Path, database_url: str | None) -> None:  # noqa: ARG001
    """Trust the key or certificate NAME, or that of the PEM file NAME, no longer.

    Packages that were added with it stay as they are.
    """
    from overair.packages.trust import TrustFolder, read_anchors

    with refusing():
        file = Path(name)
        names = [anchor.name for anchor in read_anchors(file)] if file.is_file() else [name]
        for one in names:
            TrustFolder(data).remove(one)


def _print_anchors(anchors: Any, *, as_json: bool) -> None:
    from overair.records.times import format_t2

    rows = [
        {
            "name": anchor.name,
            "kind": "certificate" if anchor.certificate else "key",
            "subject": anchor.subject,
            "expiryTime": "" if anchor.expires_ms is None else format_t2(anchor.expires_ms),
        }
        for anchor in anchors
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(TRUST_HEADINGS, [[value or "-" for value in row.values()] for row in rows])


def _size(file: Path) -> int:
    return file.stat().st_size


def _content(file: Path) -> bytes:
    """Return what a small file holds; a large one is refused for its size later."""
    with file.open("rb") as opened:
        return opened.read(1 << 20)
