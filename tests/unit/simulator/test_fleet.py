"""Fleets over real sockets on loopback, with a small server of our own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import ipaddress
import random
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from overair.protocols import dtls
from overair.protocols.coap import codes
from overair.simulator import (
    MISBEHAVIOURS,
    Fleet,
    FleetError,
    Identity,
    Psk,
    Result,
    SimulatedDevice,
    State,
    UpdateState,
    delivery,
    identities,
    make_image,
)
from overair.simulator.fetching import AnswerError, parse_head
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

    def location_of(self, device: SimulatedDevice) -> str:
        names = [asked.endpoint for asked in self.scripted.registers]
        return f"L{names.index(device.identity.endpoint) + 1}"

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


# -- updates ---------------------------------------------------------------------------------------

SEQUANS = ("SEQUANS COMMUNICATIONS", "GM01Q")
TEXT = ((codes.CONTENT_FORMAT, b""),)
QUICK = {"flash_seconds": 0.01, "reboot_seconds": 0.01}


def quick(count: int, **changes) -> list[Identity]:
    """Devices of the first model that take no time over anything."""
    fleet = list(identities(count))
    profile = msgspec.structs.replace(fleet[0].profile, **QUICK, **changes)
    return [msgspec.structs.replace(each, profile=profile) for each in fleet]


def tell(stub: StubServer, location: str, code: int, path: str, payload: bytes = b"") -> None:
    scripted = stub.scripted
    scripted.endpoint.request(
        scripted.locations[location],
        code,
        path=path.split("/"),
        options=TEXT if payload else (),
        payload=payload,
        now=asyncio.get_running_loop().time(),
    )
    stub._send()


@contextlib.asynccontextmanager
async def running(stub: StubServer, devices: list[Identity], **options) -> AsyncIterator[Fleet]:
    fleet = Fleet(devices, stub.address, random=random.Random(1), per_second=5000, **options)
    await fleet.start()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await fleet.all_registered.wait()
    try:
        yield fleet
    finally:
        await fleet.stop()


def states_are(fleet: Fleet, state: UpdateState, count: int) -> Callable[[], bool]:
    return lambda: fleet.standing().update_states.get(state) == count


async def test_a_fleet_is_updated_and_counts_what_became_of_it(stub) -> None:
    stub.scripted.files["fw"] = make_image(*SEQUANS, "SR2", 3000)
    devices = quick(4)
    faults = {devices[1].imei: MISBEHAVIOURS["rolls-back"], devices[2].imei: MISBEHAVIOURS["moves"]}
    uri = "coap://{}:{}/f/fw".format(*stub.address).encode()
    async with running(stub, devices, misbehaviours=faults) as fleet:
        assert fleet.standing().firmware == {"SR1.2.0.0-10657": 4}
        for each in range(1, 5):
            tell(stub, f"L{each}", codes.PUT, "5/0/1", uri)
        await until(states_are(fleet, UpdateState.DOWNLOADED, 4))
        # One has another port now, from which it asked for the rest.
        assert len({peer for _, peer, _, _ in stub.scripted.asked}) == 5
        for index, device in enumerate(fleet.devices):
            if index != 2:
                tell(stub, stub.location_of(device), codes.POST, "5/0/2")
        await until(lambda: fleet.standing().update_tally.booted == 2)
        await until(states_are(fleet, UpdateState.IDLE, 3))
        standing = fleet.standing()
        assert standing.firmware == {"SR1.2.0.0-10657": 2, "SR2": 2}
        assert standing.update_states == {UpdateState.IDLE: 3, UpdateState.DOWNLOADED: 1}
        assert (standing.update_tally.downloads, standing.update_tally.flashed) == (4, 2)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_package_from_another_host(stub, scripted_server, host: str) -> None:
    async with on_a_socket(scripted_server(5)) as files:
        files.scripted.files["fw"] = make_image(*SEQUANS, "SR2", 3000)
        async with running(stub, quick(1)) as fleet:
            tell(stub, "L1", codes.PUT, "5/0/1", f"coap://{host}:{files.address[1]}/f/fw".encode())
            await until(states_are(fleet, UpdateState.DOWNLOADED, 1))
            assert len(files.scripted.asked) == 6
            assert stub.scripted.asked == []


class Files:
    """An HTTP server with one file, that loses the connection as often as it is told to."""

    def __init__(self, file: bytes) -> None:
        self.file = file
        self.breaks = 0
        self.requests: list[dict[str, str]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.requests.append({**fields, "": first})
        begin = int(fields["Range"].removeprefix("bytes=").rstrip("-"))
        rest = self.file[begin:]
        span = f"bytes {begin}-{len(self.file) - 1}/{len(self.file)}"
        status = "206 Partial Content" if "/f/fw" in first else "404 Not Found"
        head = (
            f'HTTP/1.1 {status}\r\nContent-Length: {len(rest)}\r\nContent-Range: {span}\r\nETag: "e"\r\n\r\n'
        )
        if self.breaks:
            self.breaks -= 1
            rest = rest[:4500]
        writer.write(head.encode() + rest)
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def files_at(files: Files, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = await asyncio.start_server(files, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def test_a_package_over_http_goes_on_where_it_broke(stub, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.01)
    files = Files(make_image(*SEQUANS, "SR2", 20_000))
    files.breaks = 1
    http = quick(1, protocols=(2,), download_bytes_per_second=1e9)
    async with files_at(files) as base, running(stub, http) as fleet:
        tell(stub, "L1", codes.PUT, "5/0/1", f"{base}/f/fw?a=b".encode())
        await until(states_are(fleet, UpdateState.DOWNLOADED, 1))
        assert [each["Range"] for each in files.requests] == ["bytes=0-", "bytes=4096-"]
        assert [each.get("If-Range") for each in files.requests] == [None, '"e"']
        assert files.requests[0][""] == "GET /f/fw?a=b HTTP/1.1"


async def test_a_package_that_http_does_not_have(stub, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.01)
    http = quick(1, protocols=(2,))
    async with files_at(Files(b"")) as base, running(stub, http) as fleet:
        (device,) = fleet.devices
        tell(stub, "L1", codes.PUT, "5/0/1", f"{base}/other".encode())
        await until(lambda: device.tree.value((5, 0, 5)) == Result.INVALID_URI)
    async with running(stub, http) as fleet:
        (device,) = fleet.devices
        tell(stub, f"L{len(stub.scripted.registers)}", codes.PUT, "5/0/1", f"{base}/f/fw".encode())
        await until(lambda: device.tree.value((5, 0, 5)) == Result.CONNECTION_LOST)


async def test_a_fetch_ends_with_the_fleet(stub) -> None:
    files = Files(bytes(100_000))
    slow = quick(1, protocols=(2,), download_bytes_per_second=10.0)
    async with files_at(files) as base:
        async with running(stub, slow) as fleet:
            tell(stub, "L1", codes.PUT, "5/0/1", f"{base}/f/fw".encode())
            await until(lambda: bool(files.requests))
        assert not fleet._fetches


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", (0, 5, 5, b"")),
        (b'HTTP/1.1 200 OK\r\ncontent-length:5\r\netag: "x"\r\n\r\n', (0, 5, 5, b'"x"')),
        (b"HTTP/1.1 206 P\r\nContent-Length: 5\r\nContent-Range: bytes 5-9/10\r\n\r\n", (5, 5, 10, b"")),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", Result.INVALID_URI),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", Result.CONNECTION_LOST),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Result.CONNECTION_LOST),
        (b"HTTP/1.1 206 P\r\nContent-Length: 5\r\nContent-Range: bytes */9\r\n\r\n", Result.CONNECTION_LOST),
        (b"garbage", Result.CONNECTION_LOST),
    ],
)
def test_heads_of_answers(head: bytes, expected: object) -> None:
    if isinstance(expected, tuple):
        assert parse_head(head) == expected
        return
    with pytest.raises(AnswerError) as refused:
        parse_head(head)
    assert refused.value.result == expected


def certificate(folder: Path) -> Path:
    """Write key and certificate of 127.0.0.1, which only those trust who are told to."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "files")])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + datetime.timedelta(days=9))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = made.add_extension(x509.SubjectAlternativeName([address]), critical=False).sign(
        key, hashes.SHA256()
    )
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "files.pem"
    file.write_bytes(encoded + signed.public_bytes(serialization.Encoding.PEM))
    return file


async def test_a_package_over_https_comes_from_whom_the_device_trusts(stub, tmp_path) -> None:
    pem = certificate(tmp_path)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(pem)
    devices = quick(1, protocols=(3,), download_bytes_per_second=1e9)
    files = Files(make_image(*SEQUANS, "SR2", 20_000))
    async with files_at(files, tls=ours) as base:
        trusting = ssl.create_default_context(cafile=str(pem))
        async with running(stub, devices, tls=trusting) as fleet:
            tell(stub, "L1", codes.PUT, "5/0/1", f"{base}/f/fw".encode())
            await until(states_are(fleet, UpdateState.DOWNLOADED, 1))
        async with running(stub, devices) as fleet:
            tell(stub, "L2", codes.PUT, "5/0/1", f"{base}/f/fw".encode())
            await until(lambda: fleet.devices[0].update_tally.downloads == 1)
            await until(lambda: not fleet._fetches)
            assert fleet.standing().update_states == {UpdateState.DOWNLOADING: 1}
    assert len(files.requests) == 1
