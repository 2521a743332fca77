"""``overair serve``."""

import asyncio
import gc
import logging
import signal
from pathlib import Path

import click

from overair.cli.common import Address, AddressType, asynchronous, data_options


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
    verbose: bool,
    data: Path,
    database_url: str | None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C. Prints a line for each door when it is open."""
    from overair.platform.logs import configure_logs
    from overair.server import Server, Settings

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
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Server(settings) as server:
        if server.http_address is not None:
            click.echo(f"http  http://{_shown(server.http_address)}")
        if server.coaps_address is not None:
            click.echo(f"coaps coaps://{_shown(server.coaps_address)}")
        if server.coap_address is not None:
            click.echo(f"coap  coap://{_shown(server.coap_address)}")
        _spare_the_collector()
        click.echo("ready")
        await stop.wait()


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
