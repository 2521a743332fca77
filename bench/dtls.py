"""DTLS beside libcoap on OpenSSL: handshakes, requests over sessions, memory of a session, strangers.

``coap-server-openssl`` (Debian's libcoap3-bin) and ``overair serve --coaps`` take turns under the same load
(:mod:`bench.dtls_load`). The clients are as costly as the servers, so rates are by second of the server's own
processor time. libcoap's requests go over few sessions, which suits it best: it walks all that it has at
every step. Its requests are GETs of a small resource, ours durable Updates.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import fleet, inventory
from bench.dtls_engine import EngineFigures
from bench.dtls_engine import measured as engine_figures
from bench.dtls_load import KEY, SecureDevices, answered_with, hello, identity
from bench.load import LoadError, Phase
from bench.processes import CLIENT_CORE, SERVER_CORE, ServerProcess, pin
from bench.registrations import TICK_SECONDS, disk
from bench.report import Row, Target, render, thousands
from overair.cli.common import open_services
from overair.protocols.coap import codes
from overair.protocols.coap.message import encode_fields

LIBCOAP = "coap-server-openssl"
HANDSHAKE_WINDOW = 16  # libcoap has at most 100 half-open
REQUEST_WINDOW = 64  # libcoap's socket holds no more
OUR_REQUEST_WINDOW = 512
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
START_SECONDS = 10.0
HONEST = 20
CLOSED, KEPT, REQUESTS = "handshakes, then closed", "handshakes, sessions kept", "requests"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    devices: int
    rounds: int
    passes: int
    libcoap_sessions: int
    libcoap_passes: int
    idle_sessions: int
    warm_up: int
    hellos: int


FULL = Sizes(2_000, 3, 8, 100, 500, 10_000, 1_000, 20_000)
QUICK = Sizes(60, 1, 2, 20, 2, 100, 20, 200)


@dataclass(frozen=True)
class Rate:
    """One phase on one server."""

    count: int
    seconds: float
    server_cpu_seconds: float
    client_share: float

    @property
    def per_cpu_second(self) -> float:
        """Exchanges a second of the server's own processor time."""
        return self.count / max(self.server_cpu_seconds, TICK_SECONDS)


@dataclass(frozen=True)
class Strangers:
    """What ClientHellos without a cookie did to the service."""

    hello_bytes: float
    answered: int
    honest: int
    """Handshakes of devices that succeeded among them, of HONEST."""


class LibcoapServer(ServerProcess):
    """libcoap's example server with one key for all identities; it takes one resource by a PUT."""

    def __init__(self) -> None:
        super().__init__([])

    def __enter__(self) -> "LibcoapServer":
        port = _free_port_pair()
        self.ports["coap"], self.ports["coaps"] = port, port + 1
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [LIBCOAP, "-k", KEY.decode(), "-d", "1", "-A", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        os.sched_setaffinity(self._process.pid, {SERVER_CORE})
        try:
            _await_port(port + 1)
        except BaseException:
            self._end()
            raise
        return self


def run(*, quick: bool) -> str:
    """Measure, and return the table."""
    pin(CLIENT_CORE)
    sizes = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="overair-bench-", dir=disk()) as folder:
        template = Path(folder) / "template"
        asyncio.run(_provision(template, sizes.devices))
        measured = [_round(template, sizes) for _ in range(sizes.rounds)]
        strangers = _our_strangers(template, sizes)
    engine = engine_figures(sizes.warm_up, sizes.idle_sessions, sizes.hellos)
    theirs = _libcoap_memory(sizes) if has_libcoap() else None
    title = f"DTLS: {sizes.devices} devices, {sizes.rounds} rounds; rates a CPU second of the server"
    rows = [
        *_rate_rows(measured, engine),
        _memory_row(f"idle session, of {sizes.idle_sessions}", engine.idle_bytes, theirs),
        _memory_row("... that came all at once", engine.burst_bytes, theirs),
        *_stranger_rows(strangers, engine, sizes),
    ]
    return render(title, rows, rate_notes(measured))


# --- rates


def _round(template: Path, sizes: Sizes) -> dict[str, Rate]:
    ours = _our_rates(template, sizes)
    return {**ours, **_libcoap_rates(sizes)} if has_libcoap() else ours


def _our_rates(template: Path, sizes: Sizes) -> dict[str, Rate]:
    data = template.with_name("data")
    shutil.copytree(template, data)
    os.sync()
    count = sizes.devices
    try:
        with (
            ServerProcess(_serve(data)) as server,
            _devices(server, count, HANDSHAKE_WINDOW) as visitors,
            _devices(server, count, OUR_REQUEST_WINDOW) as devices,
        ):
            closed = _measure(server, visitors, [_gets(count, 1)], codes.NOT_FOUND, closing=True)
            kept = _measure(server, visitors, [_gets(count, 2)], codes.NOT_FOUND)
            registers = [fleet.register_datagram(index, 1) for index in range(count)]
            registered = devices.run(registers)
            answered_with(registered, codes.CREATED)
            locations = [fleet.location_of(answer) for answer in registered.answers]
            server.await_idle()
            passes = [_updates(locations, 2 + number) for number in range(sizes.passes)]
            requests = _measure(server, devices, passes, codes.CHANGED)
    finally:
        shutil.rmtree(data)
    return {CLOSED: closed, KEPT: kept, REQUESTS: requests}


def _libcoap_rates(sizes: Sizes) -> dict[str, Rate]:
    with LibcoapServer() as server:
        with _devices(server, sizes.devices, HANDSHAKE_WINDOW) as visitors:
            closed = _measure(server, visitors, [_gets(sizes.devices, 1)], codes.CONTENT, closing=True)
        with _devices(server, sizes.libcoap_sessions, HANDSHAKE_WINDOW) as devices:
            devices.run(_gets(sizes.libcoap_sessions, 1))
            devices.window = REQUEST_WINDOW
            passes = [_gets(sizes.libcoap_sessions, 2 + number) for number in range(sizes.libcoap_passes)]
            requests = _measure(server, devices, passes, codes.CONTENT)
    with LibcoapServer() as server, _devices(server, sizes.devices, HANDSHAKE_WINDOW) as visitors:
        kept = _measure(server, visitors, [_gets(sizes.devices, 1)], codes.CONTENT)
    return {f"libcoap {CLOSED}": closed, f"libcoap {KEPT}": kept, f"libcoap {REQUESTS}": requests}


def _measure(
    server: ServerProcess,
    devices: SecureDevices,
    passes: Sequence[Sequence[bytes]],
    code: int,
    *,
    closing: bool = False,
) -> Rate:
    before = server.cpu_seconds()
    phases: list[Phase] = []
    for requests in passes:
        phases.append(devices.run(requests, closing=closing))
        answered_with(phases[-1], code)
    server.await_idle()
    used = server.cpu_seconds() - before
    seconds = sum(phase.seconds for phase in phases)
    share = sum(phase.cpu_seconds for phase in phases) / seconds
    return Rate(sum(len(phase.answers) for phase in phases), seconds, used, share)


# --- memory of whole servers


def _libcoap_memory(sizes: Sizes) -> float:
    """Return the bytes of an idle session of libcoap's."""
    count = sizes.warm_up + sizes.idle_sessions
    with LibcoapServer() as server, _devices(server, count, HANDSHAKE_WINDOW) as devices:
        requests = _gets(count, 1)
        devices.run(requests[: sizes.warm_up])
        before = _resident(server)
        devices.run(requests)
        return (_resident(server) - before) / sizes.idle_sessions


def _our_strangers(template: Path, sizes: Sizes) -> Strangers:
    """Send hellos from as many addresses to the whole service, and devices among them."""
    with (
        ServerProcess(_serve(template)) as server,
        _devices(server, sizes.devices, HANDSHAKE_WINDOW) as devices,
        _devices(server, sizes.hellos, HANDSHAKE_WINDOW) as strangers,
    ):
        devices.run(_gets(sizes.devices // 2, 1), closing=True)
        hellos = [hello(index) for index in range(sizes.hellos)]
        strangers.flood(hellos[:100])
        before = _resident(server)
        answered = honest = 0
        share = max(sizes.hellos // HONEST, 1)
        for number in range(HONEST):
            answered += strangers.flood(hellos[number * share : (number + 1) * share])
            honest += len(devices.run(_gets(1, 2 + number), closing=True).answers)
        return Strangers((_resident(server) - before) / sizes.hellos, answered, honest)


# --- servers and what they are asked


def _serve(data: Path) -> list[str]:
    return ["overair", "serve", "--data", str(data), "--http", "127.0.0.1:0", "--coaps", "127.0.0.1:0"]


def _devices(server: ServerProcess, count: int, window: int) -> SecureDevices:
    return SecureDevices(("127.0.0.1", server.ports["coaps"]), count, window, identity)


def _gets(count: int, message_id: int) -> list[bytes]:
    """Return requests for a small resource of libcoap's; with us it is not found."""
    options = ((codes.URI_PATH, b"time"),)
    return [
        encode_fields(codes.CON, codes.GET, message_id, index.to_bytes(4, "big"), options)
        for index in range(count)
    ]


def _updates(locations: Sequence[bytes], message_id: int) -> list[bytes]:
    return [fleet.update_datagram(index, message_id, location) for index, location in enumerate(locations)]


async def _provision(data: Path, count: int) -> None:
    account_id = await inventory.provision(data, count)
    async with open_services(data, None) as services:
        keys = services.credentials
        wanted = [keys.prepared(int(fleet.imei(index)), key=KEY) for index in range(count)]
        await keys.add(account_id, wanted)


def _resident(server: ServerProcess) -> int:
    return int(Path(f"/proc/{server._process.pid}/statm").read_text().split()[1]) * PAGE_BYTES


def has_libcoap() -> bool:
    """Whether there is something to stand beside."""
    return shutil.which(LIBCOAP) is not None


def _free_port_pair() -> int:
    """Return a port that is free with the next one: libcoap has DTLS there."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
                try:
                    second.bind(("127.0.0.1", port + 1))
                except OSError:
                    continue
                return port


def _await_port(port: int) -> None:
    """Wait until somebody listens: a ClientHello is answered."""
    until = time.perf_counter() + START_SECONDS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.1)
        asking.connect(("127.0.0.1", port))
        while time.perf_counter() < until:
            try:
                asking.send(hello(0))
                asking.recv(2048)
            except OSError:
                time.sleep(0.05)
            else:
                return
    raise LoadError(f"{LIBCOAP} does not answer")


# --- report


def _rate_rows(rounds: Sequence[dict[str, Rate]], engine: EngineFigures) -> list[Row]:
    alone = 1 / engine.handshake_seconds
    theirs = [each[f"libcoap {CLOSED}"].per_cpu_second for each in rounds if f"libcoap {CLOSED}" in each]
    ratio = alone / median(theirs) if theirs else None
    return [
        rate_row(rounds, CLOSED, Target("at least", 1.2)),
        rate_row(rounds, KEPT, Target("at least", 1.2)),
        Row("handshakes, engine alone", thousands(alone), "libcoap, closed" if theirs else "", ratio),
        rate_row(rounds, REQUESTS, Target("at least", 0.35)),
    ]


def rate_row(rounds: Sequence[dict[str, Rate]], what: str, target: Target | None = None) -> Row:
    """Return the line of a rate beside libcoap's of the same round."""
    ours = [each[what].per_cpu_second for each in rounds]
    theirs = [each[f"libcoap {what}"].per_cpu_second for each in rounds if f"libcoap {what}" in each]
    if not theirs:
        return Row(what, thousands(median(ours)), f"no {LIBCOAP} here")
    return Row(
        what,
        thousands(median(ours)),
        f"libcoap {thousands(median(theirs))}",
        median(one / other for one, other in zip(ours, theirs, strict=True)),
        target,
    )


def _memory_row(figure: str, ours: float, theirs: float | None) -> Row:
    return Row(
        figure,
        f"{ours / 1000:.2f} kB",
        f"no {LIBCOAP} here" if theirs is None else f"libcoap {theirs / 1000:.1f} kB",
        target=Target("at most", 4, " kB"),
        value=ours / 1000,
    )


def _stranger_rows(service: Strangers, engine: EngineFigures, sizes: Sizes) -> list[Row]:
    target = Target("at most", 100, " bytes")
    return [
        Row(
            "a stranger's hello, engine",
            f"{engine.hello_bytes:.1f} bytes",
            target=target,
            value=engine.hello_bytes,
        ),
        Row(
            "a stranger's hello, service",
            f"{service.hello_bytes:.1f} bytes",
            target=target,
            value=service.hello_bytes,
        ),
        Row(
            "handshakes among strangers",
            f"{service.honest} of {HONEST}",
            f"{service.answered} of {sizes.hellos} hellos answered",
            target=Target("at least", HONEST, " done"),
            value=float(service.honest),
        ),
    ]


def rate_notes(rounds: Sequence[dict[str, Rate]]) -> list[str]:
    """Return a line for each measurement."""
    notes = ["", "each round: wall rate, rate a CPU second of the server, how busy it and the generator were"]
    for number, each in enumerate(rounds, 1):
        for what, rate in each.items():
            notes.append(
                f"  {number} {what:33} {thousands(rate.count / rate.seconds):>11}"
                f" {thousands(rate.per_cpu_second):>11}/cpu"
                f"  server {rate.server_cpu_seconds / rate.seconds:4.0%}  generator {rate.client_share:4.0%}"
            )
    return notes
