"""Callback requests to real receivers on loopback, good and bad ones (spec callbacks.md, section 2)."""

import asyncio
import datetime
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from overair.callbacks.model import Answer
from overair.doors.callbacks.http import HttpSender, tls_context
from overair.doors.callbacks.targets import SystemResolver, TargetRefused, checked_address
from overair.platform.limits import DEFAULT_LIMITS

NAME = "hook.example"
HEADERS = {"Content-Type": "application/json", "Overair-Id": "0f8b"}
BODY = b'{"type":"upgradeProgress"}'

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Receiver:
    """A receiver that remembers heads and bodies, and replies as a test wants."""

    reply: Reply
    port: int = 0
    connections: int = 0
    requests: list[tuple[list[str], bytes]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            length = next(
                int(line.split(":")[1]) for line in head if line.lower().startswith("content-length")
            )
            self.requests.append((head, await reader.readexactly(length)))
            await self.reply(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.ended.set()
            writer.close()

    def header(self, name: str) -> str:
        head, _ = self.requests[-1]
        return next(line.partition(": ")[2] for line in head if line.lower().startswith(f"{name.lower()}:"))


def saying(text: str) -> Reply:
    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())
        await writer.drain()

    return reply


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def receiving(reply: Reply, context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(reply)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


class Resolver:
    """Answers as told, one list of addresses after the other; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


TRUSTED = tls_context()


def sender(
    resolver: Resolver | None = None,
    *,
    context: ssl.SSLContext = TRUSTED,
    allow_private: bool = True,
    timeout_seconds: float = 5.0,
) -> HttpSender:
    limits = replace(DEFAULT_LIMITS, callback_timeout_seconds=timeout_seconds)
    resolve = resolver or Resolver(["127.0.0.1"])
    return HttpSender(resolve, context, limits, allow_private=allow_private)


async def post(receiver: Receiver, send: HttpSender | None = None, scheme: str = "http") -> Answer:
    url = f"{scheme}://{NAME}:{receiver.port}/fota/call%20back?x=1"
    return await (send or sender())(url, HEADERS, BODY)


async def test_a_request_arrives_whole_in_the_name_of_the_url() -> None:
    async with receiving(saying(OK)) as receiver:
        assert await post(receiver) == Answer(200)
    head, body = receiver.requests[0]
    assert head[0] == "POST /fota/call%20back?x=1 HTTP/1.1"
    assert receiver.header("host") == f"{NAME}:{receiver.port}"
    assert receiver.header("content-type") == "application/json"
    assert receiver.header("overair-id") == "0f8b"
    assert body == BODY


@pytest.mark.parametrize(
    "status", [200, 201, 204, 299, 301, 302, 303, 307, 308, 400, 401, 404, 410, 429, 500, 503]
)
async def test_only_2xx_is_delivered_and_nothing_is_followed(status: int) -> None:
    async with receiving(saying(OK)) as other:
        there = f"http://127.0.0.1:{other.port}/"
        moved = f"HTTP/1.1 {status} x\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n"
        async with receiving(saying(moved)) as receiver:
            answer = await post(receiver)
    assert (answer.status, answer.delivered) == (status, status < 300)
    assert other.connections == 0


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (hang, "no answer in 0.3 s"),
        (saying("HTTP/1.1 100 Continue\r\n\r\n"), "disconnected"),
        (saying(""), "disconnected"),
        (saying("SSH-2.0-OpenSSH\r\n"), ""),
        (saying("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n"), ""),
        (saying("HTTP/1.1 200 OK\r\n" + "X: " + "y" * 200_000 + "\r\n\r\n"), ""),
    ],
)
async def test_what_is_no_answer_is_an_error(reply: Reply, error: str) -> None:
    async with receiving(reply) as receiver:
        answer = await post(receiver, sender(timeout_seconds=0.3))
    assert answer.status is None
    assert not answer.delivered
    assert error in (answer.error or "")
    assert 0 < len(answer.error or "") <= 255


async def test_a_status_counts_even_if_its_body_never_ends() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await hang(writer)

    async with receiving(endless) as receiver:
        assert await post(receiver, sender(timeout_seconds=0.3)) == Answer(200)


async def test_of_a_huge_body_hardly_anything_is_read() -> None:
    written = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while written < 1_000_000_000:
            writer.write(bytes(100_000))
            await writer.drain()
            written += 100_000

    async with receiving(flood) as receiver:
        assert await post(receiver) == Answer(200)
        await asyncio.sleep(0)
    assert written < 20_000_000  # the kernel's buffers


async def test_nobody_listens() -> None:
    async with receiving(saying(OK)) as receiver:
        pass
    answer = await post(receiver)
    assert answer.status is None
    assert "refused" in (answer.error or "").lower() or "failed" in (answer.error or "")


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(saying(OK)) as proxy, receiving(saying(OK)) as receiver:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert await post(receiver) == Answer(200)
    assert (proxy.connections, receiver.connections) == (0, 1)


# Targets.


CLOSED = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.168.0.1", "198.18.0.1", "203.0.113.9", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:8.8.8.8", "::ffff:10.0.0.1", "fe80::1", "fe80::1%lo", "fec0::1",
    "fc00::1", "fd12:3456::1", "ff02::1", "ff0e::1", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "100::1",
    "2001::1", "2001:db8::1", "2002:7f00:1::", "5f00::1",
]  # fmt: skip
OPEN = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.255.255",
    "198.20.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001:80b::200e", "64:ff9b::8.8.8.8",
]  # fmt: skip


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(TargetRefused, match="public addresses only"):
        checked_address(address)


@pytest.mark.parametrize("address", OPEN)
def test_a_public_address_is_taken(address: str) -> None:
    assert checked_address(address) == address
    assert ipaddress.ip_address(address)


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["::1"]])
async def test_a_name_of_a_private_address_is_not_connected_to(answers: list[str]) -> None:
    resolver = Resolver(answers)
    async with receiving(saying(OK)) as receiver:
        answer = await post(receiver, sender(resolver, allow_private=False))
    assert answer.status is None
    assert "public addresses only" in (answer.error or "")
    assert resolver.asked == [(NAME, receiver.port)]
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0", "localhost", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_however_loopback_is_spelt_the_system_resolver_knows_it(host: str) -> None:
    resolver = SystemResolver()
    async with receiving(saying(OK)) as receiver:
        send = HttpSender(resolver, TRUSTED, DEFAULT_LIMITS, allow_private=False)
        answer = await send(f"http://{host}:{receiver.port}/", HEADERS, BODY)
    resolver.close()
    assert (answer.status, receiver.connections) == (None, 0)
    assert "public addresses only" in (answer.error or "")


async def test_a_name_that_changes_its_mind_is_asked_once_an_attempt() -> None:
    """What was checked is what is connected to: the second answer, of a rebinding attack, is never seen."""
    async with receiving(saying(OK)) as receiver:
        resolver = Resolver(["127.0.0.1"], ["10.255.255.1"])
        assert await post(receiver, sender(resolver)) == Answer(200)
    assert len(resolver.asked) == 1


async def test_the_next_address_is_tried_where_one_does_not_listen() -> None:
    async with receiving(saying(OK)) as receiver:
        resolver = Resolver(["127.0.0.2", "127.0.0.1"])
        assert await post(receiver, sender(resolver)) == Answer(200)
    assert receiver.connections == 1


async def test_a_name_that_does_not_exist() -> None:
    resolver = SystemResolver()
    send = HttpSender(resolver, TRUSTED, DEFAULT_LIMITS, allow_private=False)
    answer = await send("https://nothing.invalid/", HEADERS, BODY)
    resolver.close()
    assert answer.status is None
    assert answer.error


async def test_a_resolver_that_hangs_takes_no_longer_than_an_attempt() -> None:
    async def never(_: str, __: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    limits = replace(DEFAULT_LIMITS, callback_timeout_seconds=0.1)
    send = HttpSender(never, TRUSTED, limits, allow_private=False)
    assert await send("https://fleet.example/", HEADERS, BODY) == Answer(None, "no answer in 0.1 s")


# TLS.


@dataclass
class Certificates:
    """A private CA, and servers with certificates of it."""

    ca_file: Path
    folder: Path
    _key: ec.EllipticCurvePrivateKey
    _certificate: x509.Certificate

    def server(self, name: x509.GeneralName, *, expired: bool = False) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        days = (-20, -10) if expired else (-1, 10)
        certificate = _signed(key, self._key, self._certificate.subject, days, name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        file = self.folder / "server.pem"
        file.write_bytes(_pem(certificate, key))
        context.load_cert_chain(file)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, issuer: x509.Name,
    days: tuple[int, int], name: x509.GeneralName | None,
) -> x509.Certificate:  # fmt: skip
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    extension: x509.ExtensionType = x509.BasicConstraints(ca=True, path_length=None)
    if name is not None:
        extension = x509.SubjectAlternativeName([name])
    return (
        x509.CertificateBuilder()
        .subject_name(issuer if name is None else _name("server"))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(extension, critical=name is None)
        .sign(signer, hashes.SHA256())
    )


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    key = ec.generate_private_key(ec.SECP256R1())
    ca = _signed(key, key, _name("Fleet CA"), (-1, 10), None)
    file = tmp_path / "ca.pem"
    file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    return Certificates(file, tmp_path, key, ca)


async def test_a_receiver_of_an_unknown_ca_is_refused_and_taken_with_the_ca(
    certificates: Certificates,
) -> None:
    context = certificates.server(x509.DNSName(NAME))
    async with receiving(saying(OK), context) as receiver:
        answer = await post(receiver, scheme="https")
        assert answer.status is None
        assert "certificate is not trusted" in (answer.error or "")
        assert receiver.requests == []
        trusting = sender(context=await asyncio.to_thread(tls_context, certificates.ca_file))
        assert await post(receiver, trusting, scheme="https") == Answer(200)
        assert receiver.header("host") == f"{NAME}:{receiver.port}"


async def test_the_name_that_the_client_asks_for_is_that_of_the_url(certificates: Certificates) -> None:
    asked: list[str | None] = []
    context = certificates.server(x509.DNSName(NAME))
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with receiving(saying(OK), context) as receiver:
        await post(receiver, sender(context=tls_context(certificates.ca_file)), scheme="https")
    assert asked == [NAME]


async def test_an_address_in_the_url_must_stand_in_the_certificate(certificates: Certificates) -> None:
    context = certificates.server(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    send = sender(context=tls_context(certificates.ca_file))
    async with receiving(saying(OK), context) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/"
        assert await send(url, HEADERS, BODY) == Answer(200)
        answer = await post(receiver, send, scheme="https")
        assert "certificate is not trusted" in (answer.error or "")


@pytest.mark.parametrize(("name", "expired"), [("other.example", False), (NAME, True)])
async def test_a_certificate_of_another_name_or_time_is_refused(
    certificates: Certificates, name: str, expired: bool
) -> None:
    context = certificates.server(x509.DNSName(name), expired=expired)
    async with receiving(saying(OK), context) as receiver:
        answer = await post(receiver, sender(context=tls_context(certificates.ca_file)), scheme="https")
    assert answer.status is None
    assert "certificate is not trusted" in (answer.error or "")
    assert receiver.requests == []


async def test_a_receiver_that_speaks_no_tls(certificates: Certificates) -> None:
    async with receiving(saying(OK)) as receiver:
        answer = await post(receiver, sender(timeout_seconds=0.3), scheme="https")
        assert answer.status is None
        async with asyncio.timeout(5):
            await receiver.ended.wait()  # the connection is closed, and not forgotten in its handshake
    assert receiver.requests == []


def test_a_file_of_cas_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for file in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(OSError):  # noqa: PT011 - whatever OpenSSL says of it
            tls_context(file)
