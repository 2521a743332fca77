"""What the server engine of DTLS takes by itself: a fresh process without sockets, service and database."""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.dtls_load import KEY, PARAMETERS, hello, identity
from bench.memory import _peer, _resident_bytes
from bench.processes import ROOT
from overair.protocols.dtls import Client, Server

ARRIVAL_SECONDS = 0.25  # between sessions of a fleet that comes as fleets do, not all at once


@dataclass(frozen=True)
class EngineFigures:
    """What the server engine takes without sockets, service and database."""

    idle_bytes: float
    hello_bytes: float
    """Of a stranger's ClientHello."""
    handshake_seconds: float
    burst_bytes: float


def measured(warm_up: int, count: int, hellos: int) -> EngineFigures:
    """Measure with *count* sessions after *warm_up* others, and *hellos* strangers."""
    idle, hello_bytes, handshake = _measured_apart(warm_up, count, hellos, ARRIVAL_SECONDS)
    burst, _, _ = _measured_apart(warm_up, count, hellos, 0.0)
    return EngineFigures(idle, hello_bytes, handshake, burst)


def _measured_apart(*amounts: float) -> list[float]:
    code = f"from bench.dtls_engine import measure; measure{amounts}"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return [float(word) for word in output.split()]


class _OneKey:
    def find(self, _identity: bytes, /) -> Sequence[bytes]:
        return (KEY,)


def measure(warm_up: int, count: int, hellos: int, arrival_seconds: float) -> None:
    """Print the bytes of an idle session and of a stranger's hello, and the seconds of a handshake.

    A session is idle when its handshake is long over: until then the last flight is kept for a peer that
    may have lost it, so sessions that all come at once leave the room of all those flights behind them.
    """
    gc.set_threshold(50_000, 20, 100)  # as `overair serve` has it
    server = Server(keys=_OneKey(), random=os.urandom)
    linger, now = server.parameters.linger_seconds + 1, 0.0
    now, _ = _arrive(server, range(warm_up), now, arrival_seconds)
    server.advance(now := now + linger)
    before = _resident_bytes()
    now, busy_seconds = _arrive(server, range(warm_up, warm_up + count), now, arrival_seconds)
    server.advance(now := now + linger)
    idle = _resident_bytes() - before
    if len(server) != warm_up + count:
        raise RuntimeError(f"{len(server)} of {warm_up + count} sessions are there")
    strangers = [hello(index) for index in range(100)]
    before = _resident_bytes()
    for index in range(hellos):
        server.receive(strangers[index % 100], _peer(100_000 + index), now)
        server.outbox.clear()
    print(idle / count, (_resident_bytes() - before) / hellos, busy_seconds / count)


def _arrive(server: Server, indexes: range, now: float, apart: float) -> tuple[float, float]:
    """Have sessions begin *apart* seconds one after the other; returns the time, and how long it took."""
    busy_seconds = 0.0
    for index in indexes:
        busy_seconds += _shake_hands(server, index, now)
        now += apart
        server.advance(now)
    return now, busy_seconds


def _shake_hands(server: Server, index: int, now: float) -> float:
    """Have a client connect that is gone afterwards; returns the seconds that the server took."""
    busy_seconds, peer = 0.0, _peer(index)
    client = Client(identity=identity(index), key=KEY, random=os.urandom, parameters=PARAMETERS)
    client.start(now)
    while client.outbox:
        started = time.process_time()
        for datagram in client.outbox:
            server.receive(datagram, peer, now)
        busy_seconds += time.process_time() - started
        client.outbox.clear()
        for datagram, _ in server.outbox:
            client.receive(datagram, now)
        server.outbox.clear()
    return busy_seconds
