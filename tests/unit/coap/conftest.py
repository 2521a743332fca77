"""Shared pieces: endpoints from a seed, and two of them joined by a wire."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from overair.protocols.coap import CoapLimits, Endpoint, Event, Message, Parameters, Request, decode

SERVER = "server"
DEVICE = "device"


@dataclass
class Wire:
    """A server and a device; `step` carries what both outboxes hold, once, both ways, without loss."""

    server: Endpoint
    device: Endpoint
    now: float = 1000.0
    at_server: list[Event] = field(default_factory=list)
    at_device: list[Event] = field(default_factory=list)
    seen: list[Message] = field(default_factory=list)

    def step(self) -> None:
        to_device, self.server.outbox[:] = list(self.server.outbox), []
        to_server, self.device.outbox[:] = list(self.device.outbox), []
        for datagram, _ in to_device:
            self.seen.append(decode(datagram))
            self._note(self.at_device, self.device.receive(datagram, SERVER, self.now))
        for datagram, _ in to_server:
            self.seen.append(decode(datagram))
            self._note(self.at_server, self.server.receive(datagram, DEVICE, self.now))

    def run(self, *, server: Callable[[Request], None] | None = None, device=None) -> None:
        """Carry and answer until both outboxes are empty."""
        while self.server.outbox or self.device.outbox:
            self.step()
            for events, answer in ((self.at_server, server), (self.at_device, device)):
                for event in [event for event in events if isinstance(event, Request)]:
                    if answer is not None and not event.answered:
                        answer(event)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.at_server += self.server.advance(self.now)
        self.at_device += self.device.advance(self.now)

    def _note(self, events: list[Event], event: Event | None) -> None:
        if event is not None:
            events.append(event)


@pytest.fixture
def make_endpoint() -> Callable[..., Endpoint]:
    def make(seed: int = 1, *, limits: CoapLimits | None = None, **parameters) -> Endpoint:
        return Endpoint(random=random.Random(seed), parameters=Parameters(**parameters), limits=limits)

    return make


@pytest.fixture
def make_wire(make_endpoint) -> Callable[..., Wire]:
    def make(*, server: dict | None = None, device: dict | None = None) -> Wire:
        return Wire(make_endpoint(1, **(server or {})), make_endpoint(2, **(device or {})))

    return make


@pytest.fixture
def sent() -> Callable[[Endpoint], list[Message]]:
    """Take and decode what an endpoint wants to send."""

    def take(endpoint: Endpoint) -> list[Message]:
        messages = [decode(datagram) for datagram, _ in endpoint.outbox]
        endpoint.outbox.clear()
        return messages

    return take
