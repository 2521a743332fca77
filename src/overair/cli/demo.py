"""``overair demo``: the whole service in one process, with a simulated fleet, in a temporary folder."""

import asyncio
import contextlib
import logging
import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import httpx2
import msgspec
from rich.console import Console
from rich.live import Live

from overair.cli.common import asynchronous
from overair.cli.demo_campaign import NEW_VERSION, fail_unless, prepare, watch
from overair.cli.demo_owner import Owner
from overair.cli.tables import device_table
from overair.server import DoorError, Server, Settings
from overair.simulator.fleet import Fleet
from overair.simulator.keys import Psk
from overair.simulator.profile import Identity, identities

DEVICES = 25
ACCOUNT = "0742000123-00001"
USER, PASSWORD = "fleet-ops", "demo-password"  # on loopback, in a folder that is deleted afterwards
ARRIVAL_SECONDS = 60
LOOK_SECONDS = 0.2
WIDTH = 120  # of what is no terminal


@click.command()
@click.option("--once", is_flag=True, help="End after the campaign; fail if a device did not get there.")
@asynchronous
async def command(once: bool) -> None:
    """Run the service with 25 simulated LwM2M devices, and bring them a new firmware."""
    from overair.platform.logs import configure_logs

    configure_logs(level=logging.ERROR)  # the demo says itself what it does
    with tempfile.TemporaryDirectory(prefix="overair-demo-") as folder:
        async with _service(Path(folder)) as server:
            key = await _set_up(server)
            fleet = list(identities(DEVICES))
            account_id = (await server.core.accounts.account(ACCOUNT)).id
            await server.core.devices.add(account_id, [_provisioning(identity) for identity in fleet])
            async with (
                _running(fleet, server, await _keys(server, account_id, fleet)),
                httpx2.AsyncClient(base_url=_url(server), trust_env=False) as client,
            ):
                if not await _show_arrivals(server, account_id):
                    raise click.ClickException(f"not all devices arrived within {ARRIVAL_SECONDS} s")
                owner = Owner(client, ACCOUNT, await _operator_token(Path(folder)))
                await owner.log_in(*key, USER, PASSWORD)
                upgraded = await _campaign(owner, fleet)
                if once:
                    fail_unless(upgraded)
                    click.echo("\nAll devices arrived, and all were upgraded.")
                else:
                    await _keep_serving(server, key)


@contextlib.asynccontextmanager
async def _service(folder: Path) -> AsyncIterator[Server]:
    """Open the service on its usual ports, or on free ones if those are taken."""
    usual = Settings(folder, coap=("127.0.0.1", 5683))
    try:
        server = await Server(usual).__aenter__()
    except DoorError:
        free = ("127.0.0.1", 0)
        server = await Server(Settings(folder, http=free, coaps=free, coap=free)).__aenter__()
    try:
        yield server
    finally:
        await server.__aexit__(None, None, None)


async def _set_up(server: Server) -> tuple[str, str]:
    await server.core.accounts.add_account(ACCOUNT, DEVICES, ["mrc", "event"])
    await server.core.accounts.add_user(ACCOUNT, USER, PASSWORD)
    made = await server.core.accounts.add_key(ACCOUNT)
    return made.key, made.secret


def _provisioning(identity: Identity) -> Any:
    from overair.devices.model import Provisioning

    return Provisioning(int(identity.imei), mdn=identity.mdn)


async def _keys(server: Server, account_id: int, fleet: list[Identity]) -> dict[str, Psk]:
    """Make a key for each device; the identity is its endpoint's name, as most modules have it."""
    made = [
        server.core.credentials.prepared(int(device.imei), identity=device.endpoint.encode())
        for device in fleet
    ]
    await server.core.credentials.add(account_id, made)
    return {device.imei: Psk(new.identity, new.key) for device, new in zip(fleet, made, strict=True)}


@contextlib.asynccontextmanager
async def _running(fleet: list[Identity], server: Server, keys: dict[str, Psk]) -> AsyncIterator[None]:
    if server.coaps_address is None:
        raise click.ClickException("the LwM2M door is not open")
    # Slow enough to be watched.
    devices = Fleet(
        fleet,
        server.coaps_address,
        random=random.SystemRandom(),
        per_second=10,
        keys=lambda device: keys[device.imei],
    )
    await devices.start()
    try:
        yield
    finally:
        await devices.stop()


async def _show_arrivals(server: Server, account_id: int) -> bool:
    """Show the records as they fill; returns whether all were read in time."""
    console = _console()
    console.print(f"{DEVICES} simulated devices register by LwM2M over DTLS …")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ARRIVAL_SECONDS
    devices: list[dict[str, Any]] = []
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while loop.time() < deadline:
            page = await server.core.devices.page(account_id, None, None)
            devices = [msgspec.json.decode(document) for document in page.documents]
            if console.is_terminal:
                live.update(device_table(devices), refresh=True)
            if all("refreshTime" in device for device in devices):
                break
            await asyncio.sleep(LOOK_SECONDS)
        live.update(device_table(devices), refresh=True)
    return all("refreshTime" in device for device in devices)


async def _campaign(owner: Owner, fleet: list[Identity]) -> bool:
    """Bring all devices a new firmware; show one record before and after."""
    console = _console()
    one = fleet[0].imei
    before = await owner.device(one)
    _show_record(f"POST /api/fota/v3/devices/{ACCOUNT} says of {one}:", before)
    console.print(f"\nUploading firmware {NEW_VERSION} for each model, and scheduling its campaign …")
    campaigns = await prepare(owner, fleet)
    upgraded = await watch(owner, campaigns, console)
    _show_record(f"and of {one} afterwards:", await owner.device(one))
    return upgraded


def _show_record(heading: str, record: Any) -> None:
    click.echo(f"\n{heading}\n")
    click.echo(msgspec.json.format(msgspec.json.encode(record), indent=2).decode())


async def _operator_token(folder: Path) -> str:
    return (await asyncio.to_thread((folder / "operator.token").read_text)).strip()


async def _keep_serving(server: Server, key: tuple[str, str]) -> None:
    click.echo(
        f"\nREST API  {_url(server)}\naccount   {ACCOUNT}\nuser      {USER}, password {PASSWORD}\n"
        f"API key   {key[0]}\nsecret    {key[1]}\n\nServing until Ctrl-C."
    )
    # Ctrl-C cancels the main task.
    await asyncio.Event().wait()


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    return console


def _url(server: Server) -> str:
    host, port = server.http_address or ("", 0)
    return f"http://{host}:{port}"
