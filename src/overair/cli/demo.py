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
import msgspec

from overair.cli.common import asynchronous
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
@click.option("--once", is_flag=True, help="End when the record is shown; fail if a device did not arrive.")
@asynchronous
async def command(once: bool) -> None:
    """Run the service with 25 simulated LwM2M devices, show their records, fetch one through the API."""
    from overair.platform.logs import configure_logs

    configure_logs(level=logging.ERROR)  # the demo says itself what it does
    with tempfile.TemporaryDirectory(prefix="overair-demo-") as folder:
        async with _service(Path(folder)) as server:
            key = await _set_up(server)
            fleet = list(identities(DEVICES))
            account_id = (await server.core.accounts.account(ACCOUNT)).id
            await server.core.devices.add(account_id, [_provisioning(identity) for identity in fleet])
            async with _running(fleet, server, await _keys(server, account_id, fleet)):
                arrived = await _show_arrivals(server, account_id)
                await _show_record(server, key, fleet[0])
                if once:
                    _end(arrived)
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
        server.core.credentials.prepared(int(device.imei), identity=device.endpoint.encode()) for device in fleet
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
    from rich.console import Console
    from rich.live import Live

    from overair.cli.tables import device_table

    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
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


async def _show_record(server: Server, key: tuple[str, str], identity: Identity) -> None:
    record = await _fetch(server, key, identity.imei)
    click.echo(f"\nPOST /api/fota/v3/devices/{ACCOUNT} says of {identity.imei}:\n")
    click.echo(msgspec.json.format(msgspec.json.encode(record), indent=2).decode())


async def _fetch(server: Server, key: tuple[str, str], imei: str) -> Any:
    """Get one V3Device as a program would: access token, login, look-up."""
    import httpx2

    async with httpx2.AsyncClient(base_url=_url(server), trust_env=False) as client:
        token = await client.post(
            "/api/ts/v1/oauth2/token", auth=key, data={"grant_type": "client_credentials"}
        )
        client.headers["Authorization"] = f"Bearer {token.raise_for_status().json()['access_token']}"
        login = await client.post("/api/m2m/v1/session/login", json={"username": USER, "password": PASSWORD})
        client.headers["VZ-M2M-Token"] = login.raise_for_status().json()["sessionToken"]
        found = await client.post(f"/api/fota/v3/devices/{ACCOUNT}", json={"deviceList": [imei]})
        return found.raise_for_status().json()["deviceList"][0]


def _end(arrived: bool) -> None:
    if not arrived:
        raise click.ClickException(f"not all devices arrived within {ARRIVAL_SECONDS} s")
    click.echo("\nAll devices arrived.")


async def _keep_serving(server: Server, key: tuple[str, str]) -> None:
    click.echo(
        f"\nREST API  {_url(server)}\naccount   {ACCOUNT}\nuser      {USER}, password {PASSWORD}\n"
        f"API key   {key[0]}\nsecret    {key[1]}\n\nServing until Ctrl-C."
    )
    # Ctrl-C cancels the main task.
    await asyncio.Event().wait()


def _url(server: Server) -> str:
    host, port = server.http_address or ("", 0)
    return f"http://{host}:{port}"
