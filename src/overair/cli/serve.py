"""``overair serve``."""

import asyncio
import gc
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overair.cli.common import Address, AddressType, asynchronous, data_options
from overair.cli.package import images_option
from overair.cli.serve_types import HostType, Network, NetworkType, UrlType
from overair.records.times import format_t2

if TYPE_CHECKING:
    from overair.server import Server


@click.command()
@click.option(
    "--http", type=AddressType(), default="127.0.0.1:8080", show_default=True, help="REST API and health."
)
@click.option(
    "--coaps", type=AddressType(), default="127.0.0.1:5684", show_default=True,
    help="LwM2M over DTLS.",
)  # fmt: skip
@click.option("--no-coaps", is_flag=True, help="Don't open the door with DTLS.")
@click.option(
    "--coap", type=AddressType(), help="LwM2M without security, for sandboxes: 127.0.0.1:5683 [default: off]."
)
@click.option(
    "--enroll",
    type=click.Choice(["refuse", "open"]),
    default="refuse",
    show_default=True,
    help="What becomes of devices that nobody has added.",
)
@click.option("--enroll-account", metavar="NAME", help="The account that takes them in, with --enroll open.")
@click.option(
    "--advertise",
    type=HostType(),
    envvar="OVERAIR_ADVERTISE",
    help="Name or address by which devices know this service [default: the address that reaches them].",
)
@click.option(
    "--public-url",
    type=UrlType(),
    envvar="OVERAIR_PUBLIC_URL",
    help="Where the HTTP door is reached from outside, such as https://fota.example.com.",
)
@images_option
@click.option(
    "--require-signatures",
    is_flag=True,
    envvar="OVERAIR_REQUIRE_SIGNATURES",
    help="Refuse packages that nobody signed, and don't offer them.",
)
@click.option(
    "--callback-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="OVERAIR_CALLBACK_CA",
    help="PEM file of CAs that receivers of callbacks may have, besides the machine's.",
)
@click.option(
    "--callback-allow-private",
    is_flag=True,
    envvar="OVERAIR_CALLBACK_ALLOW_PRIVATE",
    help="Send callbacks to private and loopback addresses, too.",
)
@click.option(
    "--sandbox",
    is_flag=True,
    envvar="OVERAIR_SANDBOX",
    help="Let the operator move the clock ('overair clock advance').",
)
@click.option(
    "--trust-proxy",
    "proxies",
    type=NetworkType(),
    multiple=True,
    envvar="OVERAIR_TRUST_PROXY",
    help="Address or network of a proxy that is believed about HTTP devices.",
)
@click.option(
    "--certificate-header",
    metavar="NAME",
    envvar="OVERAIR_CERTIFICATE_HEADER",
    help="Header in which that proxy gives the name in a device's certificate, such as X-Ssl-Client-Cn.",
)
@click.option("--verbose", is_flag=True, help="Log what devices do wrong, too.")
@data_options
@asynchronous
async def command(
    http: Address,
    coaps: Address,
    no_coaps: bool,
    coap: Address | None,
    enroll: str,
    enroll_account: str | None,
    advertise: str | None,
    public_url: str | None,
    images_url: str | None,
    require_signatures: bool,
    callback_ca: Path | None,
    callback_allow_private: bool,
    sandbox: bool,
    proxies: tuple[Network, ...],
    certificate_header: str | None,
    verbose: bool,
    data: Path,
    database_url: str | None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C. Prints a line for each door when it is open."""
    from overair.doors.ddi.http import Trust
    from overair.platform.logs import configure_logs
    from overair.server import Server, Settings

    if certificate_header is not None and not proxies:
        raise click.UsageError("--certificate-header needs --trust-proxy")
    if (enroll == "open") != (enroll_account is not None):
        raise click.UsageError("--enroll open and --enroll-account NAME go together")
    configure_logs(level=logging.INFO if verbose else logging.WARNING)
    settings = Settings(
        data,
        database_url,
        http,
        coaps=None if no_coaps else coaps,
        coap=coap,
        enrol_account=enroll_account,
        images_url=images_url,
        require_signatures=require_signatures,
        callback_ca=callback_ca,
        callback_allow_private=callback_allow_private,
        advertise=advertise,
        public_url=public_url,
        sandbox=sandbox,
        trust=Trust(proxies, certificate_header),
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Server(settings) as server:
        _print_doors(server)
        _spare_the_collector()
        click.echo("ready")
        await stop.wait()


def _print_doors(server: "Server") -> None:
    if server.http_address is not None:
        click.echo(f"http  http://{_shown(server.http_address)}")
    if server.coaps_address is not None:
        click.echo(f"coaps coaps://{_shown(server.coaps_address)}")
    if server.coap_address is not None:
        click.echo(f"coap  coap://{_shown(server.coap_address)}")
    if server.sandbox is not None:
        click.echo(f"clock {format_t2(server.sandbox.now_ms())}, of a sandbox")


def _spare_the_collector() -> None:
    """Have the garbage collector look rarely.

    What stays is large (the registrations of a fleet) and has no cycles; what goes, goes by reference count.
    With the usual thresholds a fleet that registers costs a search of everything every few hundred devices.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _shown(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
