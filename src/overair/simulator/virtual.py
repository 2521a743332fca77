"""A network on a virtual clock: datagrams are lost, late, doubled and out of order, all from one seed.

The same seed and the same participants give the same run, however often. Nothing waits in real time.
"""

from __future__ import annotations

import heapq
import random as random_module
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from overair.protocols.coap import Peer
from overair.simulator.device import SimulatedDevice

STEPS_WITHOUT_TIME_MAX: Final = 1_000_000


class NetworkError(Exception):
    """A participant that never comes to rest, or an address that is taken or nobody's."""


class Participant(Protocol):
    """What both a server and a device have. `next_due` and `now` are seconds of the virtual clock."""

    @property
    def outbox(self) -> list[tuple[bytes, Peer]]:
        """Datagrams to send now, and to whom; the network takes and clears them."""

    def advance(self, now: float) -> object:
        """Do what is due."""

    def next_due(self) -> float | None:
        """When `advance` must be called next."""


class Server(Participant, Protocol):
    """Somebody with many peers, such as a `coap.Endpoint` and what answers its events."""

    def receive(self, datagram: bytes, peer: Peer, now: float) -> object:
        """Take a datagram."""


class Faults(Struct, frozen=True, kw_only=True):
    """How bad a network is. Chances are 0 to 1 a datagram, times are seconds.

    A datagram takes `latency_seconds` and up to `jitter_seconds` more; one that falls behind, `late_seconds`
    more still, so that later ones overtake it.
    """

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    latency_seconds: float = 0.05
    jitter_seconds: float = 0.0
    late_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name in ("loss", "duplication", "reordering"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: 0 to 1")
        for name in ("latency_seconds", "jitter_seconds", "late_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: not negative")


class _Station:
    """A participant at its address; `wake_at` is the earliest time at which it is in the queue."""

    __slots__ = ("participant", "receive", "wake_at")

    def __init__(self, participant: Participant, receive: Callable[[bytes, Peer, float], object]) -> None:
        self.participant = participant
        self.receive = receive
        self.wake_at: float | None = None


class Network:
    """Carries datagrams between the addresses that were added. `faults` may change at any time.

    After a call to a participant from outside (`device.start(network.now)`), tell it by `touched`.
    """

    def __init__(self, *, random: random_module.Random, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.now = 0.0
        self.carried = 0
        self.lost = 0
        self._random = random
        self._stations: dict[Peer, _Station] = {}
        self._tickets = 0
        self._moves = 0
        self._queue: list[tuple[float, int, Peer, tuple[bytes, Peer] | None]] = []
        """(when, ticket, to whom, (datagram, from whom) or None for what is due by itself)."""

    def add_server(self, address: Peer, server: Server) -> None:
        """Put a server on the network. NetworkError if the address is taken."""
        self._add(address, _Station(server, server.receive))

    def add_device(self, address: Peer, device: SimulatedDevice) -> None:
        """Put a device on the network. NetworkError if the address is taken."""
        station = _Station(device, lambda datagram, source, now: device.receive(datagram, now, source))
        self._add(address, station)

    def remove(self, address: Peer) -> None:
        """Take a participant off: nothing reaches it, or wakes it. NetworkError if nobody is there."""
        if self._stations.pop(address, None) is None:
            raise NetworkError(f"address {address!r}: nobody is there")

    def move(self, address: Peer, new_address: Peer) -> None:
        """Give a participant another address, as a NAT does that forgot it; what is under way is lost.

        NetworkError if nobody is at the old address, or somebody at the new one.
        """
        if new_address in self._stations:
            raise NetworkError(f"address {new_address!r}: taken")
        station = self._stations.get(address)
        self.remove(address)
        if station is not None:
            station.wake_at = None
            self._add(new_address, station)

    def address_of(self, participant: Participant) -> Peer:
        """Return where a participant is now. NetworkError if it is not on the network."""
        for address, station in self._stations.items():
            if station.participant is participant:
                return address
        raise NetworkError("participant: not on the network")

    def touched(self, address: Peer) -> None:
        """Take what a participant has to send now. NetworkError if nobody is there."""
        station = self._stations.get(address)
        if station is None:
            raise NetworkError(f"address {address!r}: nobody is there")
        self._settle(address, station)

    def run_until(self, time: float, *, done: Callable[[], bool] = lambda: False) -> bool:
        """Let happen what happens up to and at a time, or until `done`; returns whether it was done.

        NetworkError if a participant is due again and again without time going on.
        """
        steps_now = 0
        while not done():
            if not self._queue or self._queue[0][0] > time:
                self.now = max(self.now, time)
                return done()
            steps_now = steps_now + 1 if self._queue[0][0] <= self.now else 0
            if steps_now > STEPS_WITHOUT_TIME_MAX:
                raise NetworkError(f"address {self._queue[0][2]!r}: does not come to rest")
            self._step()
        return True

    def _add(self, address: Peer, station: _Station) -> None:
        if address in self._stations:
            raise NetworkError(f"address {address!r}: taken")
        self._stations[address] = station
        self._settle(address, station)

    def _step(self) -> None:
        """The next thing: a datagram arrives, or somebody's time has come."""
        when, _, address, arrived = heapq.heappop(self._queue)
        self.now = max(self.now, when)
        station = self._stations.get(address)
        if station is None:
            return
        if arrived is not None:
            self.carried += 1
            station.receive(*arrived, self.now)
        elif station.wake_at == when:
            station.wake_at = None
            station.participant.advance(self.now)
        else:
            # It was to wake here, and then wanted to wake earlier.
            return
        self._settle(address, station)

    def _settle(self, address: Peer, station: _Station) -> None:
        outbox = station.participant.outbox
        for datagram, peer in outbox:
            self._send(datagram, address, peer)
        outbox.clear()
        device = station.participant
        if isinstance(device, SimulatedDevice) and device.wants_new_address:
            device.wants_new_address = False
            self._moves += 1
            self.move(address, _another(address, self._moves))
            return
        due = station.participant.next_due()
        if due is not None and (station.wake_at is None or due < station.wake_at):
            # A time that is put off is left in the queue: `advance` then finds nothing to do.
            station.wake_at = max(due, self.now)
            self._push(station.wake_at, address, None)

    def _send(self, datagram: bytes, source: Peer, target: Peer) -> None:
        faults, chance = self.faults, self._random.random
        copies = 2 if chance() < faults.duplication else 1
        for _ in range(copies):
            if chance() < faults.loss:
                self.lost += 1
                continue
            delay = faults.latency_seconds + faults.jitter_seconds * chance()
            if chance() < faults.reordering:
                delay += faults.late_seconds
            self._push(self.now + delay, target, (datagram, source))

    def _push(self, when: float, target: Peer, arrived: tuple[bytes, Peer] | None) -> None:
        self._tickets += 1
        heapq.heappush(self._queue, (when, self._tickets, target, arrived))


def _another(address: Peer, number: int) -> Peer:
    """Return an address that nobody had yet, of the same kind."""
    if isinstance(address, tuple):
        return (*address[:-1], 65_535 + number)
    return f"{address}~{number}"
