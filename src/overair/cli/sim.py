"""``overair sim``: simulated devices over real sockets."""

from __future__ import annotations

import asyncio
import csv
import random
import secrets
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from overair.cli.common import Address, AddressType, json_option, print_json

if TYPE_CHECKING:
    from overair.simulator import Fleet, Identity, Misbehaviour, Psk, Refusal, Standing

CSV_COLUMNS = ("imei", "mdn", "make", "model", "firmware", "protocol")
KEY_COLUMNS = ("psk_identity", "psk_key")
KEY_BYTES = 16
PLAIN_PORT, SECURE_PORT = 5683, 5684
DEVICES_MAX = 50_000
IMAGE_BYTES_MAX = 16 << 20  # what the models of a fleet hold at most
LIFETIME_SECONDS_MAX = 2**31 - 1
IMEIS_SHOWN = 10
REFRESH_SECONDS = 0.25

# Beginning of what a server answers → what to do about it.
HINTS = {
    "4.03": "not known to the service: add it first or start the service with --enroll open",
    "4.12": "the service does not speak this version of LwM2M",
    "DTLS handshake": "does the service know this PSK identity and this key?",
    "no answer": "is the service running, and is this its address?",
}


@click.group()
def command() -> None:
    """Simulated devices, by protocol."""


@command.command()
@click.option(
    "--count", type=click.IntRange(1, DEVICES_MAX), default=10, show_default=True, help="How many devices."
)
@click.option(
    "--server",
    type=AddressType(),
    help=f"Where they register [default: 127.0.0.1, port {PLAIN_PORT}, or {SECURE_PORT} with --coaps].",
)
@click.option("--first-imei", metavar="IMEI", help="The first device; the others follow it.")
@click.option(
    "--per-second",
    type=click.FloatRange(0.1, 100_000),
    default=500.0,
    show_default=True,
    help="How many are switched on each second.",
)
@click.option(
    "--lifetime",
    type=click.IntRange(1, LIFETIME_SECONDS_MAX),
    help="Seconds a registration lasts [default: as the model does it].",
)
@click.option("--queue-mode", is_flag=True, help="The devices sleep when nothing is said for a while.")
@click.option(
    "--fault",
    "faults",
    metavar="NAME[:SHARE]",
    multiple=True,
    help="What goes wrong with updates, and for which part of the fleet, 0 to 1 [default: all of it]; "
    "any is one by chance, a wrong name lists them all. May be given several times.",
)
@click.option("--duration", type=click.FloatRange(min=0.1), help="Stop after so many seconds.")
@click.option("--coaps", is_flag=True, help="Speak DTLS; takes --psk-key or --keys.")
@click.option("--psk-key", metavar="HEX", help="One key for all devices; the identity is urn:imei:IMEI.")
@click.option(
    "--keys",
    "key_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the columns imei, psk_identity, psk_key; others are passed over.",
)
@click.option("--imeis-only", is_flag=True, help="Print the devices for 'overair device import', and end.")
@click.option("--with-keys", is_flag=True, help="With --imeis-only: a new key for each, for --keys.")
@json_option
def lwm2m(
    count: int,
    server: Address | None,
    first_imei: str | None,
    per_second: float,
    lifetime: int | None,
    queue_mode: bool,
    faults: tuple[str, ...],
    duration: float | None,
    coaps: bool,
    psk_key: str | None,
    key_file: Path | None,
    imeis_only: bool,
    with_keys: bool,
    as_json: bool,
) -> None:
    """Run LwM2M devices until Ctrl-C, or as long as you say. The same IMEI is always the same device.

    They take firmware and software that 'overair sim image' makes. Fails if a device was refused, or was
    never registered.
    """
    from overair.simulator import FIRST_IMEI, FleetError, IdentityError, identities

    try:
        devices = list(identities(count, first_imei=first_imei or FIRST_IMEI))
    except IdentityError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--first-imei") from wrong
    if with_keys and not imeis_only:
        raise click.UsageError("--with-keys goes with --imeis-only")
    if imeis_only:
        _print_devices(devices, with_keys=with_keys, as_json=as_json)
        return
    keys = _keys(devices, psk_key, key_file, coaps=coaps)
    misbehaviours = _misbehaviours(devices, faults)
    server = server or ("127.0.0.1", SECURE_PORT if coaps else PLAIN_PORT)
    devices = [_adjusted(device, lifetime, queue_mode=queue_mode) for device in devices]
    try:
        asyncio.run(_run(devices, server, keys, per_second, duration, misbehaviours, as_json=as_json))
    except FleetError as refused:
        raise click.ClickException(str(refused)) from refused


def _print_devices(devices: Sequence[Identity], *, with_keys: bool, as_json: bool) -> None:
    columns = CSV_COLUMNS + KEY_COLUMNS if with_keys else CSV_COLUMNS
    rows = [_row(device, with_key=with_keys) for device in devices]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows([columns, *rows])


def _row(device: Identity, *, with_key: bool) -> tuple[str, ...]:
    # The firmware is left to be read from the device: what an import says of it is only a guess.
    row = (device.imei, device.mdn, device.profile.make, device.profile.model, "", "lwm2m")
    return (*row, device.endpoint, secrets.token_hex(KEY_BYTES)) if with_key else row


def _keys(
    devices: Sequence[Identity], psk_key: str | None, key_file: Path | None, *, coaps: bool
) -> Callable[[Identity], Psk] | None:
    """Return where each device gets its key from; None for plain CoAP."""
    if not coaps:
        if psk_key is not None or key_file is not None:
            raise click.UsageError("--psk-key and --keys go with --coaps")
        return None
    if (psk_key is None) == (key_file is None):
        raise click.UsageError("--coaps takes one of --psk-key and --keys")
    from overair.simulator import PskError

    try:
        keys = _own_keys(devices, key_file) if key_file is not None else _same_key(devices, psk_key or "")
    except PskError as wrong:
        hint = "--psk-key" if key_file is None else "--keys"
        raise click.BadParameter(str(wrong), param_hint=hint) from wrong
    return lambda device: keys[device.imei]


def _same_key(devices: Iterable[Identity], text: str) -> dict[str, Psk]:
    from overair.simulator import Psk, parse_key

    key = parse_key(text)
    return {device.imei: Psk(f"urn:imei:{device.imei}".encode(), key) for device in devices}


def _own_keys(devices: Sequence[Identity], file: Path) -> dict[str, Psk]:
    from overair.simulator import PskError, read_keys

    keys = read_keys(file)
    missing = [device.imei for device in devices if device.imei not in keys]
    if missing:
        raise PskError(f"no key for {len(missing)} of {len(devices)} devices, the first is {missing[0]}")
    return keys


def _misbehaviours(devices: Sequence[Identity], faults: Iterable[str]) -> dict[str, Misbehaviour]:
    """Return what goes wrong with whom, the same for the same devices and faults."""
    from overair.simulator import MisbehaviourError, parse_share, spread

    try:
        return spread(devices, [parse_share(fault) for fault in faults])
    except MisbehaviourError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--fault") from wrong


def _adjusted(device: Identity, lifetime: int | None, *, queue_mode: bool) -> Identity:
    profile = msgspec.structs.replace(
        device.profile,
        lifetime_seconds=lifetime or device.profile.lifetime_seconds,
        queue_mode=queue_mode,
    )
    return msgspec.structs.replace(device, profile=profile)


async def _run(
    devices: Sequence[Identity],
    server: Address,
    keys: Callable[[Identity], Psk] | None,
    per_second: float,
    duration: float | None,
    misbehaviours: dict[str, Misbehaviour],
    *,
    as_json: bool,
) -> None:
    from overair.simulator import Fleet

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    fleet = Fleet(
        devices,
        server,
        random=random.SystemRandom(),
        per_second=per_second,
        keys=keys,
        misbehaviours=misbehaviours,
    )
    try:
        await fleet.start()
        await _watch(fleet, len(devices), stop, duration)
        standing, refused, waiting = fleet.standing(), fleet.refusals(), fleet.waiting()
    finally:
        await fleet.stop(deregister=True)
    _report(standing, refused, waiting, len(devices), as_json=as_json)
    _judge(standing, refused, len(devices), server, port_closed=fleet.port_closed)


async def _watch(fleet: Fleet, count: int, stop: asyncio.Event, duration: float | None) -> None:
    """Wait for the end: Ctrl-C, the time, or that there is nobody left to wait for."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from overair.simulator import State

    loop = asyncio.get_running_loop()
    begin = loop.time()
    console = Console(stderr=True)
    with Live(Text(""), console=console, auto_refresh=False, transient=True) as live:
        while not stop.is_set():
            standing = fleet.standing()
            passed = loop.time() - begin
            left = REFRESH_SECONDS if duration is None else duration - passed
            if left <= 0 or standing.states.get(State.REFUSED, 0) == count:
                return
            if console.is_terminal:
                live.update(Text(_line(standing, count, passed), no_wrap=True), refresh=True)
            try:
                async with asyncio.timeout(min(left, REFRESH_SECONDS)):
                    await stop.wait()
            except TimeoutError:
                continue


def _line(standing: Standing, count: int, passed: float) -> str:
    states = " · ".join(f"{number} {state}" for state, number in sorted(standing.states.items()))
    tally = standing.tally
    done = f"{tally.updates} updates · {tally.answered} requests answered"
    if standing.update_tally.downloads:
        done += f" · firmware: {_firmware_line(standing)}"
    return f"{count} devices: {states} · {done} · {passed:.0f} s"


def _firmware_line(standing: Standing) -> str:
    """Say how far the updates of firmware are, and what has come of them."""
    from overair.simulator import UpdateState

    done = standing.update_tally
    under_way = [
        f"{standing.update_states[state]} {state.name.lower()}"
        for state in UpdateState
        if state is not UpdateState.IDLE and state in standing.update_states
    ]
    return ", ".join([*under_way, f"{done.downloaded} downloaded", f"{done.booted} updated"])


def _report(
    standing: Standing, refused: Sequence[Refusal], waiting: Sequence[Refusal], count: int, *, as_json: bool
) -> None:
    tally = standing.tally
    if as_json:
        print_json(
            {
                "devices": count,
                "registered": standing.registered_once,
                "states": {str(state): number for state, number in sorted(standing.states.items())},
                "updates": tally.updates,
                "answered": tally.answered,
                "notifications": tally.notifications,
                "downloads": standing.update_tally.downloads,
                "updated": standing.update_tally.booted,
                "firmware": dict(sorted(standing.firmware.items())),
                "updateStates": {
                    state.name.lower(): number for state, number in sorted(standing.update_states.items())
                },
                "handshakes": tally.handshakes,
                "refused": [{"deviceId": each.imei, "reason": each.reason} for each in refused],
                "waiting": [{"deviceId": each.imei, "reason": each.reason} for each in waiting],
            }
        )
        return
    click.echo(
        f"{standing.registered_once} of {count} devices registered, {tally.updates} updates, "
        f"{tally.answered} requests answered"
    )
    if standing.update_tally.downloads:
        click.echo(f"firmware: {_firmware_line(standing)}")
        for version, number in sorted(standing.firmware.items()):
            click.echo(f"  {number} run {version}")
    _print_reasons("refused", refused)
    _print_reasons("waiting", waiting)


def _print_reasons(what: str, devices: Iterable[Refusal]) -> None:
    """Print each reason once, with the first devices that it concerns."""
    imeis: dict[str, list[str]] = {}
    for device in devices:
        imeis.setdefault(device.reason, []).append(device.imei)
    for reason, all_of_it in imeis.items():
        hint = next((hint for start, hint in HINTS.items() if reason.startswith(start)), "")
        more = f" and {len(all_of_it) - IMEIS_SHOWN} more" if len(all_of_it) > IMEIS_SHOWN else ""
        click.echo(f"{len(all_of_it)} {what}: {reason}" + (f" ({hint})" if hint else ""), err=True)
        click.echo(f"  {' '.join(all_of_it[:IMEIS_SHOWN])}{more}", err=True)


def _judge(
    standing: Standing, refused: Sequence[Refusal], count: int, server: Address, *, port_closed: bool
) -> None:
    missing = count - standing.registered_once
    if missing and port_closed:
        raise click.ClickException(f"nothing listens at {server[0]} port {server[1]} (UDP)")
    if missing:
        raise click.ClickException(f"{missing} of {count} devices did not register")
    if refused:
        raise click.ClickException(f"{len(refused)} of {count} devices were refused later")


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option("--make", required=True, help="The make it is for.")
@click.option("--model", required=True, help="The model it is for.")
@click.option("--to", "version", required=True, help="The version it boots into.")
@click.option(
    "--size",
    "size_bytes",
    type=click.IntRange(1024, IMAGE_BYTES_MAX),
    default=65_536,
    show_default=True,
    help="Bytes of the image.",
)
@click.option(
    "--name", default="firmware", show_default=True, help="Of the software package, or of the component."
)
def image(file: Path, make: str, model: str, version: str, size_bytes: int, name: str) -> None:
    """Write an image that simulated devices of one model take; the same arguments make the same one."""
    from overair.simulator import ImageError, make_image

    try:
        file.write_bytes(make_image(make, model, version, size_bytes, name=name))
    except ImageError as wrong:
        raise click.ClickException(str(wrong)) from wrong
