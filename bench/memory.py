"""What a registered device costs the gateway in memory.

A fresh process takes real Registers of 100 k peers through ``Endpoint.receive`` and ``Gateway.handle``, with
a store behind it that keeps nothing. What its resident memory grows by is the gateway's own: the
registration, the peer's receipts for duplicates, what is still to be asked of the device. First the devices
stay silent; then they answer and the server observes their firmware.
"""

import asyncio
import gc
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import fleet
from bench.processes import CLIENT_CORE, ROOT, pin
from bench.report import Row, Target, render
from overair.devices.changes import Register
from overair.devices.model import Admitted, Change, Observed, Outcome
from overair.devices.service import DeviceService
from overair.devices.store import Done
from overair.doors.lwm2m.gateway import Gateway
from overair.platform.clock import SystemClock
from overair.platform.limits import DEFAULT_LIMITS
from overair.protocols.coap import Endpoint, codes, decode, encode_uint
from overair.protocols.coap.message import encode_fields

DEVICES, WARM_UP = 100_000, 2_000
QUICK_DEVICES = 300
TARGET = Target("at most", 1.5, " kB")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TEXT_PLAIN = 0


class NullStore:
    """A DeviceStore that knows every device, has just read it, and keeps nothing."""

    def __init__(self) -> None:
        self._now_ms = SystemClock().now_ms()

    def admit(self, change: Register, done: Done) -> None:
        """Say that the registration is on the disk."""
        registration = msgspec.structs.replace(change.registration, account_id=1)
        done(Admitted(registration, inventoried_ms=self._now_ms, settled=True))

    async def apply(self, changes: Sequence[Change]) -> list[Outcome]:
        """Forget what was reported."""
        return [Outcome()] * len(changes)

    async def observe(self, observed: Observed) -> None:
        """Forget it."""


class Bench:
    """A gateway, its peers, and the memory of both."""

    def __init__(self) -> None:
        self.endpoint = Endpoint(random=random.Random(1))
        service = DeviceService(NullStore(), SystemClock(), DEFAULT_LIMITS)  # type: ignore[arg-type]
        self.gateway = Gateway(self.endpoint, service, SystemClock(), DEFAULT_LIMITS, lambda: None)
        self._loop = asyncio.get_running_loop()

    def register(self, first: int, last: int) -> None:
        """Register devices, each from an address of its own; nothing is asked of them meanwhile."""
        for index in range(first, last):
            self._receive(fleet.register_datagram(index, index & 0xFFFF), _peer(index))
            self.endpoint.outbox.clear()

    async def answer_all(self) -> None:
        """Let the gateway ask, and answer, until all that it wants to know is known."""
        work = self.gateway.work
        while work._ready or work._running:
            await asyncio.sleep(0.001)
            sent = self.endpoint.outbox[:]
            self.endpoint.outbox.clear()
            for datagram, peer in sent:
                asked = decode(datagram)
                if asked.code == codes.GET:
                    self._receive(_firmware(asked.message_id, asked.token), peer)

    def _receive(self, datagram: bytes, peer: Any) -> None:
        event = self.endpoint.receive(datagram, peer, self._loop.time())
        if event is not None:
            self.gateway.handle(event)


def measure(count: int) -> None:
    """Print the bytes a device: silent ones, and ones whose firmware is observed. In a process of its own."""
    asyncio.run(_measure(count))


async def _measure(count: int) -> None:
    bench = Bench()
    # What is paid once, by the first devices, is nobody's.
    bench.register(0, WARM_UP)
    await bench.answer_all()
    before = _resident_bytes()
    bench.register(WARM_UP, WARM_UP + count)
    silent = _resident_bytes() - before
    await bench.answer_all()
    observed = _resident_bytes() - before
    known = len(bench.gateway.registry)
    if known != WARM_UP + count:
        raise RuntimeError(f"{known} of {WARM_UP + count} devices are registered")
    if bench.gateway.work._due:
        raise RuntimeError(f"{len(bench.gateway.work._due)} devices are still to be asked")
    print(silent / count, observed / count)


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def _peer(index: int) -> tuple[str, int]:
    """Return an address as a socket would: a text and a number that nobody else holds."""
    return f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}", 49152 + index % 16384


def _firmware(message_id: int, token: bytes) -> bytes:
    options = ((codes.OBSERVE, encode_uint(1)), (codes.CONTENT_FORMAT, encode_uint(TEXT_PLAIN)))
    return encode_fields(codes.ACK, codes.CONTENT, message_id, token, options, b"AT410-1.4.2")


def run(*, quick: bool) -> str:
    """Measure, and return the table."""
    pin(CLIENT_CORE)
    count = QUICK_DEVICES if quick else DEVICES
    code = f"from bench.memory import measure; measure({count})"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    silent, observed = (float(word) / 1000 for word in output.split())
    rows = [
        _row("registered, silent so far", silent, TARGET),
        _row("registered, asked, firmware observed", observed, TARGET),
    ]
    return render(f"Gateway memory: {count} devices", rows)


def _row(figure: str, kilobytes: float, target: Target) -> Row:
    return Row(figure, f"{kilobytes:.2f} kB", target=target, value=kilobytes)
