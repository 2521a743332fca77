"""The DTLS engine alone, over real sockets, against what nobody here wrote: OpenSSL, libcoap, Leshan."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from overair.protocols.coap import codes as coap_codes
from overair.protocols.coap import decode
from overair.protocols.coap.message import encode_fields
from overair.protocols.dtls import (
    Association,
    Client,
    Closed,
    CloseReason,
    Data,
    DtlsParameters,
    Established,
    Event,
    HandshakeFailed,
    Server,
    suites,
)
from overair.protocols.dtls.errors import FailureReason

from .coap import CoapFailedError, coap_client
from .conftest import Launch
from .devices import Psk, leshan

IDENTITY = b"device"
KEY = bytes(range(1, 17))
KEY_TEXT = "a key in letters"
DEADLINE_SECONDS = 10.0
PATIENT = DtlsParameters(retransmit_seconds=0.5)

OPENSSL_SUITES = {
    "PSK-AES128-CCM8": suites.PSK_AES_128_CCM_8,
    "PSK-AES128-CCM": suites.PSK_AES_128_CCM,
    "PSK-AES128-GCM-SHA256": suites.PSK_AES_128_GCM_SHA256,
    "PSK-AES128-CBC-SHA256": suites.PSK_AES_128_CBC_SHA256,
    "ECDHE-PSK-AES128-CBC-SHA256": suites.ECDHE_PSK_AES_128_CBC_SHA256,
}


class OneKey:
    def find(self, identity: bytes) -> Sequence[bytes]:
        return [KEY] if identity in (IDENTITY, b"urn:imei:490154203237518") else []


def capitals(data: bytes) -> bytes:
    return data.upper()


class Socket(asyncio.DatagramProtocol):
    """Carries an engine: `events` holds what it told."""

    def __init__(self, engine: Server | Client, answer: Callable[[bytes], bytes] | None = None) -> None:
        self.engine = engine
        self.answer = answer
        self.events: list[Event] = []
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.DatagramTransport

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple) -> None:
        if isinstance(self.engine, Server):
            events = self.engine.receive(data, address[:2], self.now)
        else:
            events = self.engine.receive(data, self.now)
        self._take(events)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Data) and self.answer is not None and isinstance(self.engine, Server):
                self.engine.send(event.association, self.answer(event.data))
        self.events += events
        self._changed.set()
        self.flush()

    def flush(self) -> None:
        for item in self.engine.outbox:
            self.transport.sendto(*(item if isinstance(item, tuple) else (item,)))
        self.engine.outbox.clear()
        if self._timer is not None:
            self._timer.cancel()
        due = self.engine.next_due()
        if due is not None:
            # The engine's idle timers are days away, which is more than some event loops take.
            self._timer = asyncio.get_running_loop().call_at(min(due, self.now + 3600), self._tick)

    def _tick(self) -> None:
        self._take(self.engine.advance(self.now))

    async def expect(self, kind: type, **fields: object) -> Event:
        """The next event of this kind, with these fields, that was not asked for yet."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and all(getattr(event, k) == v for k, v in fields.items()):
                        self.events.remove(event)
                        return event
                self._changed.clear()
                await self._changed.wait()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.transport.close()


@asynccontextmanager
async def serving(
    parameters: DtlsParameters = PATIENT, answer: Callable[[bytes], bytes] | None = capitals
) -> AsyncIterator[tuple[Socket, int]]:
    """Our server on a port of its own."""
    server = Server(keys=OneKey(), random=random.Random(1).randbytes, parameters=parameters)
    loop = asyncio.get_running_loop()
    _, carrier = await loop.create_datagram_endpoint(
        lambda: Socket(server, answer), local_addr=("127.0.0.1", 0)
    )
    try:
        yield carrier, carrier.transport.get_extra_info("sockname")[1]
    finally:
        carrier.close()


@asynccontextmanager
async def asking(
    port: int, parameters: DtlsParameters = PATIENT, *, identity: bytes = IDENTITY, key: bytes = KEY
) -> AsyncIterator[Socket]:
    """Our client of a port; nothing is sent yet."""
    client = Client(identity=identity, key=key, random=random.Random(2).randbytes, parameters=parameters)
    loop = asyncio.get_running_loop()
    _, carrier = await loop.create_datagram_endpoint(lambda: Socket(client), remote_addr=("127.0.0.1", port))
    try:
        yield carrier
    finally:
        carrier.close()


class Program:
    """Somebody else's command, a line at a time."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self.printed = ""

    async def __aenter__(self) -> Program:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        output, _ = await self._process.communicate()
        print(" ".join(self._command), self.printed + output.decode(errors="replace"), sep="\n")

    async def until(self, text: str) -> None:
        """Read until it prints this."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            while text not in self.printed:
                chunk = await self._process.stdout.read(4096)
                assert chunk, f"it ended without {text!r}:\n{self.printed}"
                self.printed += chunk.decode(errors="replace")

    async def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def end(self) -> None:
        """Close its input and wait: it says close_notify and writes its session file."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()


def openssl_client(port: int, cipher: str, *arguments: str, version: str = "-dtls1_2") -> Program:
    return Program(
        *(
            "openssl",
            "s_client",
            version,
            "-psk",
            KEY.hex(),
            "-psk_identity",
            IDENTITY.decode(),
            "-cipher",
            f"{cipher}:@SECLEVEL=0",
        ),
        *("-connect", f"127.0.0.1:{port}", *arguments),
    )


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def openssl_server(cipher: str, *arguments: str) -> AsyncIterator[tuple[Program, int]]:
    port = free_port()
    server = Program(
        *(
            "openssl",
            "s_server",
            "-dtls1_2",
            "-psk",
            KEY.hex(),
            "-psk_identity",
            IDENTITY.decode(),
            "-nocert",
            "-cipher",
            f"{cipher}:@SECLEVEL=0",
        ),
        *("-accept", f"127.0.0.1:{port}", *arguments),
    )
    async with server:
        await server.until("ACCEPT")
        yield server, port


# --- our server


@pytest.mark.parametrize("cipher", OPENSSL_SUITES)
@pytest.mark.real_client("openssl")
async def test_openssl_client_with_each_suite(cipher: str) -> None:
    async with serving() as (ours, port), openssl_client(port, cipher) as theirs:
        established = await ours.expect(Established, resumed=False)
        assert isinstance(established, Established)
        assert established.association.identity == IDENTITY
        assert established.association.suite.number == OPENSSL_SUITES[cipher]
        await theirs.until("Extended master secret: yes")
        await theirs.say("to server")
        await ours.expect(Data, data=b"to server\n")
        await theirs.until("TO SERVER")
        await theirs.end()
        await ours.expect(Closed, reason=CloseReason.CLOSE_NOTIFY)
        assert ours.engine.counters.verify_requests == 1
        assert len(ours.engine) == 0


@pytest.mark.real_client("openssl")
async def test_openssl_client_without_encrypt_then_mac() -> None:
    async with serving() as (ours, port):
        async with openssl_client(port, "PSK-AES128-CBC-SHA256", "-no_etm") as theirs:
            established = await ours.expect(Established)
            assert not established.association.encrypt_then_mac
            await theirs.say("to server")
            await theirs.until("TO SERVER")
        async with openssl_client(port, "PSK-AES128-CBC-SHA256") as theirs:
            established = await ours.expect(Established)
            assert established.association.encrypt_then_mac
            await theirs.say("to server")
            await theirs.until("TO SERVER")


@pytest.mark.parametrize("ticket", [True, False], ids=["ticket", "session id"])
@pytest.mark.parametrize("cipher", OPENSSL_SUITES)
@pytest.mark.real_client("openssl")
async def test_openssl_client_resumes(cipher: str, ticket: bool, tmp_path: Path) -> None:
    kind = [] if ticket else ["-no_ticket"]
    session = str(tmp_path / "session")
    async with serving() as (ours, port):
        async with openssl_client(port, cipher, "-sess_out", session, *kind) as theirs:
            await ours.expect(Established, resumed=False)
            await theirs.say("one")
            await theirs.until("ONE")
            await theirs.end()
        async with openssl_client(port, cipher, "-sess_in", session, *kind) as theirs:
            resumed = await ours.expect(Established, resumed=True)
            assert resumed.association.identity == IDENTITY
            await theirs.until("Reused")
            await theirs.say("two")
            await theirs.until("TWO")


@pytest.mark.real_client("openssl")
async def test_openssl_client_with_small_fragments() -> None:
    small = ("-maxfraglen", "512")
    async with serving() as (ours, port), openssl_client(port, "PSK-AES128-CCM8", *small) as theirs:
        established = await ours.expect(Established)
        assert established.association.content_bytes == 512
        await theirs.say("x" * 500)
        await theirs.until("X" * 500)


@pytest.mark.real_client("openssl")
async def test_openssl_client_may_not_renegotiate() -> None:
    async with serving() as (ours, port), openssl_client(port, "PSK-AES128-CCM8") as theirs:
        await ours.expect(Established)
        await theirs.say("R")
        await theirs.until("RENEGOTIATING")
        await theirs.until("no renegotiation")
        assert ours.engine.counters.renegotiations_refused == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-psk", "00" * 16), FailureReason.WRONG_KEY),
        (("-psk_identity", "nobody"), FailureReason.UNKNOWN_IDENTITY),
    ],
)
@pytest.mark.real_client("openssl")
async def test_openssl_client_with_another_key_or_name(
    arguments: tuple[str, str], reason: FailureReason
) -> None:
    async with serving() as (ours, port), openssl_client(port, "PSK-AES128-CCM8", *arguments) as theirs:
        failed = await ours.expect(HandshakeFailed)
        assert failed.reason is reason
        await theirs.until("decrypt error")


@pytest.mark.real_client("openssl")
async def test_openssl_client_of_dtls_1_0() -> None:
    async with serving() as (ours, port), openssl_client(port, "PSK", version="-dtls1") as theirs:
        failed = await ours.expect(HandshakeFailed)
        assert failed.reason is FailureReason.VERSION
        await theirs.until("protocol version")


# --- our client


@pytest.mark.parametrize("listen", [(), ("-listen",)], ids=["", "cookie"])
@pytest.mark.parametrize("cipher", OPENSSL_SUITES)
@pytest.mark.real_client("openssl")
async def test_openssl_server_with_each_suite(cipher: str, listen: tuple[str, ...]) -> None:
    async with openssl_server(cipher, *listen) as (theirs, port), asking(port) as ours:
        ours.engine.start(ours.now)
        ours.flush()
        established = await ours.expect(Established, resumed=False)
        assert established.association.suite.number == OPENSSL_SUITES[cipher]
        assert established.association.peer_cid == b""
        ours.engine.send(b"to server\n")
        ours.flush()
        await theirs.until("to server")
        await theirs.say("to client")
        await ours.expect(Data, data=b"to client\n")
        ours.engine.close()
        ours.flush()
        await theirs.until("DONE")


@pytest.mark.real_client("openssl")
async def test_openssl_server_with_another_key() -> None:
    """OpenSSL says nothing about a record that it can't open, so nobody ever hears why."""
    brief = DtlsParameters(retransmit_seconds=0.2, handshake_seconds=1.0)
    async with openssl_server("PSK-AES128-CCM8") as (_, port), asking(port, brief, key=b"wrong") as ours:
        ours.engine.start(ours.now)
        ours.flush()
        failed = await ours.expect(HandshakeFailed)
        assert failed.reason is FailureReason.TIMEOUT


# --- CoAP on top


def coap_answer(datagram: bytes) -> bytes:
    """2.01 with a location for what registers, 2.05 with the path for all else."""
    request = decode(datagram)
    head = (request.message_id, request.token)
    if request.code == coap_codes.POST:
        location = ((coap_codes.LOCATION_PATH, b"rd"), (coap_codes.LOCATION_PATH, b"1"))
        return encode_fields(coap_codes.ACK, coap_codes.CREATED, *head, location)
    return encode_fields(coap_codes.ACK, coap_codes.CONTENT, *head, (), "/".join(request.uri_path).encode())


@pytest.mark.parametrize("backend", ["openssl", "gnutls"])
@pytest.mark.real_client("libcoap")
async def test_libcoap(backend: str) -> None:
    async with serving(answer=coap_answer) as (ours, port):
        psk = Psk(IDENTITY.decode(), KEY)
        answer = await coap_client(f"coaps://127.0.0.1:{port}/some/path", psk=psk, backend=backend)
        assert answer.output == b"some/path"
        established = await ours.expect(Established)
        assert established.association.identity == IDENTITY
        with pytest.raises(CoapFailedError):
            await coap_client(
                f"coaps://127.0.0.1:{port}/",
                psk=Psk(IDENTITY.decode(), b"another key"),
                backend=backend,
                timeout_seconds=2,
            )
        failed = await ours.expect(HandshakeFailed)
        assert failed.reason is FailureReason.WRONG_KEY


@pytest.mark.parametrize(("backend", "resumes"), [("openssl", True), ("gnutls", False)])
@pytest.mark.real_client("libcoap")
async def test_libcoap_server(backend: str, resumes: bool) -> None:
    """Its server with GnuTLS keeps no sessions, and answers with a full handshake."""
    port = free_port()
    command = ("-A", "127.0.0.1", "-p", str(port - 1), "-k", KEY_TEXT, "-v", "7")
    async with Program(f"coap-server-{backend}", *command) as theirs:
        await theirs.until(f"created DTLS endpoint 127.0.0.1:{port}")
        async with asking(port, key=KEY_TEXT.encode()) as ours:
            for begin, resumed in ((ours.engine.start, False), (ours.engine.resume, resumes)):
                begin(ours.now)
                ours.flush()
                await ours.expect(Established, resumed=resumed)
                ours.engine.send(encode_fields(coap_codes.CON, coap_codes.GET, 1 + resumed, b"t"))
                ours.flush()
                answer = await ours.expect(Data)
                assert decode(answer.data).code == coap_codes.CONTENT
                ours.engine.close()
                ours.flush()


@pytest.mark.parametrize("connection_id", [False, True], ids=["own id", "empty id"])
@pytest.mark.real_client("leshan")
async def test_leshan(connection_id: bool, launch: Launch) -> None:
    async with serving(answer=coap_answer) as (ours, port):
        endpoint = "urn:imei:490154203237518"
        uri = f"coaps://127.0.0.1:{port}"
        device = await launch(leshan(uri, endpoint, psk=Psk(endpoint, KEY), connection_id=connection_id))
        established = await ours.expect(Established)
        association = established.association
        assert isinstance(association, Association)
        assert association.identity == endpoint.encode()
        # It always offers the extension; with the option it wants no Connection ID in its own records.
        assert association.own_cid
        assert bool(association.peer_cid) is not connection_id
        await device.expect("registered", location="/rd/1")
