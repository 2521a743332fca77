"""A server that does as it is told, and a device joined to it by a network on a virtual clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from overair.protocols import dtls
from overair.protocols.coap import (
    Endpoint,
    Event,
    Exchange,
    Failure,
    Message,
    Notification,
    Peer,
    Request,
    Response,
    codes,
    encode_uint,
)
from overair.protocols.lwm2m import content
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.registration import RegisterRequest, parse_register
from overair.protocols.lwm2m.values import Value
from overair.simulator import (
    MISBEHAVIOURS,
    Faults,
    Network,
    Profile,
    Psk,
    SecureDevice,
    SimulatedDevice,
    UpdateState,
    identities,
    make_image,
)
from overair.simulator.misbehaviour import NONE, Misbehaviour

SERVER = "server"
DEVICE = "device"


class ScriptedServer:
    """Registers everybody, unless `silent`, or told by `script` what to answer next: (code, options)."""

    def __init__(self, seed: int = 1) -> None:
        self.endpoint = Endpoint(random=random.Random(seed))
        self.script: list[tuple[int, tuple[tuple[int, bytes], ...]]] = []
        self.silent = False
        self.heard: list[tuple[float, int, tuple[str, ...], tuple[str, ...]]] = []
        """(when, code, path, queries) of each request."""
        self.registers: list[RegisterRequest] = []
        self.locations: dict[str, Peer] = {}
        self.events: list[Event] = []
        self.files: dict[str, bytes] = {}
        """What is under /f/."""
        self.asked: list[tuple[float, Peer, int, int]] = []
        """(when, who, number, bytes) of each block of a file that was asked for."""
        self.sent: list[dict[Path, Value]] = []
        """What came by Send."""

    @property
    def outbox(self) -> list[tuple[bytes, Peer]]:
        return self.endpoint.outbox

    def next_due(self) -> float | None:
        return self.endpoint.next_due()

    def advance(self, now: float) -> None:
        self.events += self.endpoint.advance(now)

    def receive(self, datagram: bytes, peer: Peer, now: float) -> None:
        if self.silent:
            return
        event = self.endpoint.receive(datagram, peer, now)
        if isinstance(event, Request):
            self._answer(event, now)
        elif event is not None:
            self.events.append(event)

    def _answer(self, request: Request, now: float) -> None:
        message = request.message
        self.heard.append((now, message.code, message.uri_path, message.uri_queries))
        if message.code == codes.GET and not self.script:
            self.endpoint.respond(request, *self._serve(request, now), now=now)
            return
        reply = self.script.pop(0) if self.script else self._usual(message, request.peer)
        self.endpoint.respond(request, *reply, now=now)

    def _serve(self, request: Request, now: float) -> tuple[int, tuple[tuple[int, bytes], ...], bytes]:
        block = request.wanted_block
        if block is not None:
            self.asked.append((now, request.peer, block.number, block.size_bytes))
        file = self.files.get(request.message.uri_path[1])
        if file is None:
            return codes.NOT_FOUND, (), b""
        return codes.CONTENT, ((codes.CONTENT_FORMAT, encode_uint(42)),), file

    def _usual(self, message: Message, peer: Peer) -> tuple[int, tuple[tuple[int, bytes], ...]]:
        path = message.uri_path
        if path == ("dp",):
            self.sent.append(content.decode(message.content_format, message.payload, ()))
            return codes.CHANGED, ()
        if path == ("rd",) and message.code == codes.POST:
            asked = parse_register(message.uri_queries, message.payload, message.content_format)
            self.registers.append(asked)
            location = f"L{len(self.registers)}"
            self.locations[location] = peer
            return codes.CREATED, ((codes.LOCATION_PATH, b"rd"), (codes.LOCATION_PATH, location.encode()))
        if path[1] not in self.locations:
            return codes.NOT_FOUND, ()
        if message.code == codes.DELETE:
            del self.locations[path[1]]
            return codes.DELETED, ()
        self.locations[path[1]] = peer
        return codes.CHANGED, ()


class SecureServer(ScriptedServer):
    """A scripted server behind DTLS, with one key for everybody; its peers of CoAP are PSK identities."""

    KEY = b"sixteen byte key"

    def __init__(self, seed: int = 1, **parameters: Any) -> None:
        super().__init__(seed)
        self.parameters = dtls.DtlsParameters(**parameters)
        self.wrong_keys = 0
        """So many look-ups give another key."""
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Forget all associations and sessions to resume; registrations are kept."""
        self.dtls = dtls.Server(keys=self, random=random.Random(seed).randbytes, parameters=self.parameters)
        self.associations: dict[bytes, dtls.Association] = {}
        self.dtls_events: list[dtls.Event] = []

    def find(self, identity: bytes) -> tuple[bytes, ...]:
        if self.wrong_keys:
            self.wrong_keys -= 1
            return (b"another",)
        return (self.KEY,)

    @property
    def outbox(self) -> list[tuple[bytes, Peer]]:
        for datagram, peer in self.endpoint.outbox:
            association = self.associations.get(peer)
            if association is not None and association.established:
                self.dtls.send(association, datagram)
        self.endpoint.outbox.clear()
        return self.dtls.outbox

    def next_due(self) -> float | None:
        times = (self.endpoint.next_due(), self.dtls.next_due())
        return min((time for time in times if time is not None), default=None)

    def advance(self, now: float) -> None:
        super().advance(now)
        self.dtls_events += self.dtls.advance(now)

    def receive(self, datagram: bytes, peer: Peer, now: float) -> None:
        if self.silent:
            return
        for event in self.dtls.receive(datagram, peer, now):
            self.dtls_events.append(event)
            if isinstance(event, dtls.Data):
                self.associations[event.association.identity] = event.association
                super().receive(event.data, event.association.identity, now)


@dataclass
class Bench:
    """One device, one server, no faults and no delay."""

    device: SimulatedDevice
    server: ScriptedServer = field(default_factory=ScriptedServer)
    network: Network = field(
        default_factory=lambda: Network(random=random.Random(3), faults=Faults(latency_seconds=0))
    )

    address: str = DEVICE

    @property
    def now(self) -> float:
        return self.network.now

    @property
    def peer(self) -> Peer:
        """What the server calls the device."""
        secure = isinstance(self.server, SecureServer)
        return self.device.identity.endpoint.encode() if secure else self.address

    def move(self, address: str) -> None:
        self.network.move(self.address, address)
        self.address = address

    def start(self) -> None:
        self.network.add_server(SERVER, self.server)
        self.network.add_device(self.address, self.device)
        self.tell(self.device.start)

    def tell(self, do: Callable[..., None], *arguments: Any) -> None:
        """Call the device with the time, and let happen what follows at once."""
        do(*arguments, self.now)
        self.network.touched(self.address)
        self.network.run_until(self.now)

    def wait(self, seconds: float) -> None:
        self.network.run_until(self.now + seconds)

    def ask(self, code: int, path: str, **request: Any) -> Message:
        """Send a request, return the answer."""
        exchange = self.send(code, path, **request)
        answers = [
            e.message for e in self.server.events if isinstance(e, Response) and e.exchange is exchange
        ]
        assert len(answers) == 1, self.server.events
        return answers[0]

    def send(
        self,
        code: int,
        path: str,
        *,
        payload: bytes = b"",
        content_format: int | None = None,
        accept: int | None = None,
        observe: bool = False,
        queries: tuple[str, ...] = (),
    ) -> Exchange:
        options = []
        if content_format is not None:
            options.append((codes.CONTENT_FORMAT, encode_uint(content_format)))
        if accept is not None:
            options.append((codes.ACCEPT, encode_uint(accept)))
        ask = self.server.endpoint.observe if observe else self.server.endpoint.request
        segments = tuple(path.strip("/").split("/")) if path != "/" else ()
        exchange = ask(
            self.peer,
            code,
            path=segments,
            queries=queries,
            options=tuple(options),
            payload=payload,
            now=self.now,
        )
        self.network.touched(SERVER)
        self.network.run_until(self.now)
        return exchange

    def put(self, path: str, payload: bytes = b"", content_format: int = 0) -> int:
        return self.ask(codes.PUT, path, payload=payload, content_format=content_format).code

    def read(self, path: str) -> str:
        return self.ask(codes.GET, path, accept=0).payload.decode()

    @property
    def shown(self) -> tuple[int, int]:
        """State and result of object 5, as the device has them."""
        tree = self.device.tree
        return tree.value((5, 0, 3)), tree.value((5, 0, 5))

    def happened(self, what: str) -> list[tuple[float, str]]:
        return [(each.at, each.detail) for each in self.device.history if each.what == what]

    def host(self, image: bytes, name: str = "fw") -> str:
        """Put an image on the server; returns its URI."""
        self.server.files[name] = image
        scheme = "coaps" if isinstance(self.server, SecureServer) else "coap"
        return f"{scheme}://{SERVER}/f/{name}"

    def until(self, state: UpdateState, seconds: float = 600) -> bool:
        return self.network.run_until(self.now + seconds, done=lambda: self.device.update_state is state)

    def download(self, image: bytes) -> None:
        """Have an image pulled."""
        assert self.put("/5/0/1", self.host(image).encode()) == codes.CHANGED
        assert self.until(UpdateState.DOWNLOADED)

    def notifications(self) -> list[Notification]:
        return [event for event in self.server.events if isinstance(event, Notification)]

    def failures(self) -> list[Failure]:
        return [event for event in self.server.events if isinstance(event, Failure)]

    def updates(self) -> list[tuple[float, tuple[str, ...]]]:
        """(when, queries) of each Update."""
        return [
            (when, queries)
            for when, code, path, queries in self.server.heard
            if code == codes.POST and len(path) == 2
        ]


PLAIN = Profile(
    make="Acme",
    model="One",
    firmware="1.0.0",
    formats=(0, 42, 11542, 110, 112),
    lifetime_seconds=100,
)


@pytest.fixture(scope="session")
def make_bench() -> Callable[..., Bench]:
    """Make a bench with a device of a profile, or of a plain one with some fields changed; started."""

    def make(
        profile: Profile = PLAIN, *, start: bool = True, fault: str | Misbehaviour = NONE, **changes: Any
    ) -> Bench:
        identity = msgspec.structs.replace(
            next(identities(1)), profile=msgspec.structs.replace(profile, **changes)
        )
        misbehaviour = MISBEHAVIOURS[fault] if isinstance(fault, str) else fault
        bench = Bench(SimulatedDevice(identity, SERVER, random=random.Random(2), misbehaviour=misbehaviour))
        if start:
            bench.start()
        return bench

    return make


@pytest.fixture
def make_secure_bench() -> Callable[..., Bench]:
    """Make a bench with a device and a server that speak DTLS; not started."""

    def make(*, key: bytes = SecureServer.KEY, parameters: Any = None, **changes: Any) -> Bench:
        profile = msgspec.structs.replace(PLAIN, **changes)
        identity = msgspec.structs.replace(next(identities(1)), profile=profile)
        psk = Psk(identity.endpoint.encode(), key)
        chosen = {} if parameters is None else {"parameters": parameters}
        device = SecureDevice(identity, SERVER, psk, random=random.Random(2), **chosen)
        return Bench(device, SecureServer())

    return make


@pytest.fixture
def secure_server() -> type[SecureServer]:
    return SecureServer


@pytest.fixture
def scripted_server() -> type[ScriptedServer]:
    return ScriptedServer


@pytest.fixture(scope="session")
def image() -> bytes:
    """Firmware 2.0.0 for the plain profile, 40 blocks long."""
    return make_image("Acme", "One", "2.0.0", 20_000, seed=1)


@pytest.fixture
def plain() -> Profile:
    return PLAIN
