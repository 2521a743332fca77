"""What lies between devices and service: datagrams are lost, late, doubled and out of order, by one seed.

Each direction has its own faults, and a host can be cut off. Whoever is bound to an address gets what is
sent there at the time when it arrives: who has moved does not get what was still under way.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import random as random_module
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from overair.simulator import Faults

Address = tuple[str, int]
Take = Callable[[bytes, Address], None]

SERVICE_HOST = "192.0.2.1"
PLAIN: Address = (SERVICE_HOST, 5683)
SECURE: Address = (SERVICE_HOST, 5684)


class Station(Struct, frozen=True):
    """Who is at an address, and in which process."""

    take: Take
    context: contextvars.Context | None = None


class Counters(Struct):
    """What became of datagrams."""

    carried: int = 0
    lost: int = 0
    nobody: int = 0


class Ether:
    """Carries datagrams. `up` are the faults on the way to the service, `down` those on the way back."""

    def __init__(self, random: random_module.Random) -> None:
        self.up = self.down = Faults()
        self.cut_off: set[str] = set()
        """Hosts of devices that nothing reaches or leaves."""
        self.counters = Counters()
        self.tap: Callable[[float, bytes, Address, Address], None] = lambda *_: None
        """Sees every datagram that arrives."""
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._stations: dict[Address, Station] = {}
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """What was carried when and where, in one text; under DTLS the length stands in for the bytes."""
        return self._digest.hexdigest()

    def bind(self, address: Address, take: Take, context: contextvars.Context | None = None) -> None:
        """Be at an address, from which somebody else may have gone."""
        assert address not in self._stations, f"{address} is taken"
        self._stations[address] = Station(take, context)

    def release(self, address: Address) -> None:
        """Be there no more."""
        self._stations.pop(address, None)

    def is_free(self, address: Address) -> bool:
        return address not in self._stations

    def send(self, datagram: bytes, source: Address, target: Address) -> None:
        """Send a datagram on its way."""
        faults = self.down if source[0] == SERVICE_HOST else self.up
        chance = self._random.random
        for _ in range(2 if chance() < faults.duplication else 1):
            if chance() < faults.loss or self._is_cut(source, target):
                self.counters.lost += 1
                continue
            delay = faults.latency_seconds + faults.jitter_seconds * chance()
            if chance() < faults.reordering:
                delay += faults.late_seconds * chance()
            self._loop.call_later(delay, self._arrive, datagram, source, target, context=_NOBODYS)

    def _is_cut(self, source: Address, target: Address) -> bool:
        return source[0] in self.cut_off or target[0] in self.cut_off

    def _arrive(self, datagram: bytes, source: Address, target: Address) -> None:
        station = self._stations.get(target)
        if station is None:
            self.counters.nobody += 1
            return
        self.counters.carried += 1
        self._note(datagram, source, target)
        self._loop.call_soon(station.take, datagram, source, context=station.context)

    def _note(self, datagram: bytes, source: Address, target: Address) -> None:
        now = self._loop.time()
        shown = b"%d" % len(datagram) if SECURE in (source, target) else datagram
        self._digest.update(f"{now!r} {source} {target} ".encode() + shown)
        self.tap(now, datagram, source, target)


_NOBODYS = contextvars.Context()
"""A datagram under way belongs to no process: it arrives though its sender has died."""


class EtherSocket:
    """What a face takes for its UDP socket."""

    def __init__(
        self,
        ether: Ether,
        take: Callable[[bytes, Address, float], None],
        drained: Callable[[], None],
        _busy: Any,
    ) -> None:
        self._ether = ether
        self._take = take
        self._drained = drained
        self._loop = asyncio.get_running_loop()
        self._address: Address | None = None

    def open(self, host: str, port: int) -> Address:
        self._address = (host, port)
        self._ether.bind(self._address, self._arrived, contextvars.copy_context())
        return self._address

    def close(self) -> None:
        if self._address is not None:
            self._ether.release(self._address)
            self._address = None

    def send(self, datagrams: Iterable[tuple[bytes, object]]) -> None:
        if self._address is not None:
            for datagram, address in datagrams:
                self._ether.send(datagram, self._address, address)  # type: ignore[arg-type]

    def resume(self) -> None:
        """Nothing was put off."""

    def _arrived(self, datagram: bytes, source: Address) -> None:
        if self._address is not None:
            self._take(datagram, source, self._loop.time())
            self._drained()
