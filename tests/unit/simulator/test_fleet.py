"""Fleets over real sockets on loopback, with a small server of our own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import resource
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from overair.protocols import dtls
from overair.protocols.coap import codes
from overair.simulator import Fleet, FleetError, Psk, State, identities
from overair.simulator.fleet import OTHER_FILES, allow_open_files

TIMEOUT_SECONDS = 10


class StubServer(asyncio.DatagramProtocol):
    """The scripted server on a socket; reads three paths of whoever registers."""

    PATHS = (("3", "0"), ("5", "0"), ("1", "0"))

    def __init__(self, scripted) -> None:
        self.scripted = scripted
        self.known = 0
        self.read = asyncio.Event()
        self.reads_wanted = 0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        now = asyncio.get_running_loop().time()
        self.scripted.receive(data, addr, now)
        if len(self.scripted.registers) > self.known:
            self.known = len(self.scripted.registers)
            for path in self.PATHS:
                peer = self.scripted.locations[f"L{self.known}"]
                self.scripted.endpoint.request(peer, codes.GET, path=path, now=now)
        self._send()
        if self.reads_wanted and len(self.scripted.events) >= self.reads_wanted:
            self.read.set()

    def _send(self) -> None:
        for datagram, peer in self.scripted.outbox:
            self.transport.sendto(datagram, peer)
        self.scripted.outbox.clear()


@contextlib.asynccontextmanager
async def on_a_socket(scripted) -> AsyncIterator[StubServer]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: StubServer(scripted), local_addr=("127.0.0.1", 0)
    )
    protocol.address = transport.get_extra_info("sockname")
    yield protocol
    transport.close()


@pytest.fixture
async def stub(scripted_server) -> AsyncIterator[StubServer]:
    async with on_a_socket(scripted_server()) as protocol:
        yield protocol


@pytest.fixture
async def secure(secure_server) -> AsyncIterator[StubServer]:
    async with on_a_socket(secure_server()) as protocol:
        yield protocol


def make_fleet(server: tuple[str, int], count: int, per_second: float = 5000, **options) -> Fleet:
    return Fleet(identities(count), server, random=random.Random(1), per_second=per_second, **options)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until a condition holds."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        for _ in iter(condition, True):
            await asyncio.sleep(0)


async def test_a_fleet_registers_answers_and_leaves(stub) -> None:
    stub.reads_wanted = 25 * len(stub.PATHS)
    fleet = make_fleet(stub.address, 25)
    await fleet.start()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await fleet.all_registered.wait()
        await stub.read.wait()
    standing = fleet.standing()
    assert standing.states == {State.REGISTERED: 25}
    assert standing.registered_once == 25
    assert (standing.tally.registrations, standing.tally.answered) == (25, 75)
    assert fleet.refusals() == fleet.waiting() == []
    assert len(set(stub.scripted.locations.values())) == 25
    await fleet.stop(deregister=True)
    assert stub.scripted.locations == {}
    assert {device.state for device in fleet.devices} == {State.OFF}


async def test_stopping_without_deregistration_only_closes_the_sockets(stub) -> None:
    fleet = make_fleet(stub.address, 3)
    await fleet.start()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await fleet.all_registered.wait()
    await fleet.stop()
    await fleet.stop()
    assert len(stub.scripted.locations) == 3


async def test_refused_devices_say_why(stub) -> None:
    stub.scripted.script = [(codes.FORBIDDEN, ())] * 2
    fleet = make_fleet(stub.address, 5)
    await fleet.start()
    await until(lambda: fleet.standing().states == {State.REGISTERED: 3, State.REFUSED: 2})
    assert {refusal.reason for refusal in fleet.refusals()} == {"4.03 Forbidden"}
    assert not fleet.all_registered.is_set()
    await fleet.stop(deregister=True)
    assert stub.scripted.locations == {}


async def test_the_pace_is_kept_and_stopping_ends_it(stub) -> None:
    fleet = make_fleet(stub.address, 3, per_second=0.1)
    await fleet.start()
    await until(lambda: fleet.standing().registered_once == 1)
    assert fleet.standing().states == {State.REGISTERED: 1, State.OFF: 2}
    await fleet.stop()


async def test_a_closed_port_is_noticed() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
    fleet = make_fleet(address, 1)
    await fleet.start()
    await until(lambda: fleet.port_closed)
    assert fleet.standing().states == {State.REGISTERING: 1}
    await fleet.stop()


async def test_a_server_nobody_knows_is_an_error(monkeypatch) -> None:
    def unknown(*_, **__) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(FleetError, match=r"server nobody\.invalid: Name or service not known"):
        await make_fleet(("nobody.invalid", 5683), 1).start()


async def test_a_system_without_sockets_left_ends_the_start(stub, monkeypatch) -> None:
    opened: list[socket.socket] = []

    class Scarce(socket.socket):
        def connect(self, address) -> None:
            if len(opened) == 2:
                raise OSError(errno.EAGAIN, "No more ports")
            opened.append(self)
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Scarce)
    fleet = make_fleet(stub.address, 3)
    with pytest.raises(FleetError, match="socket 3: No more ports"):
        await fleet.start()
    assert [each.fileno() for each in opened] == [-1, -1]
    await fleet.stop(deregister=True)


async def test_a_fleet_has_devices_and_a_pace() -> None:
    with pytest.raises(FleetError, match="at least one device"):
        await make_fleet(("127.0.0.1", 5683), 0).start()
    with pytest.raises(FleetError, match="per_second: more than 0"):
        make_fleet(("127.0.0.1", 5683), 1, per_second=0)


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(monkeypatch) -> None:
    limits = {"now": (100, 5000)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.update(now=new))
    allow_open_files(50)
    assert limits["now"] == (100, 5000)
    allow_open_files(5000 - OTHER_FILES)
    assert limits["now"] == (5000, 5000)
    with pytest.raises(FleetError, match=r"6000 open files are needed, the limit is 5000"):
        allow_open_files(6000)
    limits["now"] = (100, resource.RLIM_INFINITY)
    allow_open_files(6000)
    assert limits["now"] == (6000, resource.RLIM_INFINITY)


# -- DTLS ------------------------------------------------------------------------------------------


async def test_a_secure_fleet_registers_answers_moves_and_leaves(secure) -> None:
    server, key = secure.scripted, secure.scripted.KEY
    secure.reads_wanted = 8 * len(secure.PATHS)
    fleet = make_fleet(secure.address, 8, keys=lambda device: Psk(device.endpoint.encode(), key))
    await fleet.start()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await fleet.all_registered.wait()
        await secure.read.wait()
    standing = fleet.standing()
    assert standing.states == {State.REGISTERED: 8}
    assert (standing.tally.handshakes, standing.tally.answered) == (8, 24)
    assert set(server.locations.values()) == {device.identity.endpoint.encode() for device in fleet.devices}
    before = {association.address for association in server.associations.values()}
    fleet.move()
    await fleet.stop(deregister=True)
    assert server.locations == {}
    assert before.isdisjoint(old.address for old in server.associations.values())
    assert sum(isinstance(event, dtls.Moved) for event in server.dtls_events) == 8
    assert {device.state for device in fleet.devices} == {State.OFF}
    assert fleet.standing().tally.handshakes == 8


async def test_without_sockets_left_a_fleet_cannot_move(secure, monkeypatch) -> None:
    fleet = make_fleet(secure.address, 1)
    await fleet.start()

    def scarce(*_) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", scarce)
        with pytest.raises(FleetError, match="socket: Too many open files"):
            fleet.move()
    await fleet.stop()
