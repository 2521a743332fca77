"""Requests and answers of this door, without a framework: a poll should cost little more than its bytes.

The wire contract is spec ddi.md, sections 1, 2 and 7: a length always, status exactly 200, empty bodies for
what was taken, HAL for errors.
"""

import asyncio
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cbor2
import msgspec
from starlette.types import Receive, Scope, Send

from overair.platform.limits import Limits
from overair.protocols.ddi import bodies, records
from overair.protocols.ddi.clients import Client, client_of
from overair.protocols.ddi.paths import Place
from overair.protocols.ddi.records import CBOR, HAL, JSON

T = TypeVar("T", bound=msgspec.Struct)

Headers = list[tuple[bytes, bytes]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_encode = msgspec.json.Encoder().encode
# What may stand in the authority of a URL; links repeat it.
_HOST = re.compile(rb"[A-Za-z0-9._~-]{1,255}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")
_ISSUER = re.compile(rb"x-(?:authority(?:-\d{1,3})?|ssl-issuer-hash-\d{1,3})")
_TYPES = (HAL, JSON, CBOR)
RETRY_SECONDS = b"60"


@dataclass(frozen=True, slots=True)
class Trust:
    """Which proxies are believed, and the header in which they name the certificate that they saw."""

    proxies: tuple[Network, ...] = ()
    certificate_header: str | None = None

    def includes(self, address: str) -> bool:
        """Whether an address is a proxy's; IPv4 in the clothes of IPv6 counts as what it is."""
        if not self.proxies:
            return False
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = peer.ipv4_mapped if isinstance(peer, ipaddress.IPv6Address) else None
        return any((mapped or peer) in network for network in self.proxies)


NO_TRUST = Trust()


class Refusal(Exception):
    """A request that is answered with an error; *kind* and *code* are hawkBit's words for it."""

    def __init__(
        self, status: int, code: str, message: str, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


def unauthorized() -> Refusal:
    """Return the answer to whoever is not proved; the same, whatever is wrong."""
    return Refusal(
        401, "unauthorized", "credentials are missing or wrong", [(b"www-authenticate", b"TargetToken")]
    )


def not_found(what: str) -> Refusal:
    """Return the answer for what the device does not have."""
    return Refusal(404, "repo.entitiyNotFound", f"{what} is not there")


@dataclass(slots=True)
class Request:
    """One request of a device."""

    method: str
    place: Place
    headers: Mapping[bytes, bytes]
    query: bytes
    origin: str
    """Scheme and authority, as the device wrote them."""
    now_ms: int
    receive: Receive
    client: Client
    body_is_read: bool = False

    @property
    def base(self) -> str:
        """The URL of the device's own base; every link begins with it."""
        return self.origin + self.place.base

    def header(self, name: str) -> str | None:
        """Return a header, named in lower case."""
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def parameter(self, name: str) -> str:
        """Return a query parameter; the empty text if it is not there."""
        wanted = name.encode() + b"="
        found = (each[len(wanted) :] for each in self.query.split(b"&") if each.startswith(wanted))
        return next(found, b"").decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is whole."""

    status: int
    headers: Headers
    body: bytes = b""


EMPTY = Reply(200, [(b"content-length", b"0")])
"""What was taken; any other status makes clients try again (spec ddi.md, section 9.1)."""


def request_of(scope: Scope, place: Place, receive: Receive, trust: Trust, now_ms: int) -> Request:
    """Return the request of a scope; Refusal for a host that no link can repeat."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    peer = scope.get("client")
    trusted = peer is not None and trust.includes(peer[0])
    if not trusted:
        for name in (b"x-forwarded-proto", b"x-forwarded-host"):
            headers.pop(name, None)
    return Request(
        scope["method"],
        place,
        headers,
        scope["query_string"],
        _origin(headers, scope),
        now_ms,
        receive,
        client_of(headers.get(b"user-agent", b"")),
    )


def certificate(scope: Scope, headers: Mapping[bytes, bytes], trust: Trust) -> tuple[str | None, list[str]]:
    """Return the name in the client's certificate and who issued it, as a trusted proxy says."""
    peer = scope.get("client")
    if trust.certificate_header is None or peer is None or not trust.includes(peer[0]):
        return None, []
    name = headers.get(trust.certificate_header.lower().encode())
    issuers = [
        value.decode("latin-1").strip().lower() for key, value in headers.items() if _ISSUER.fullmatch(key)
    ]
    return (None if name is None else name.decode("latin-1").strip()), issuers


async def body_of(request: Request, shape: type[T], limits: Limits, *, optional: bool = False) -> T:
    """Return what the body says; Refusal for one that is too large, slow, or of a wrong type.

    No body is the same as an empty object if it is *optional*.
    Raises :class:`overair.protocols.ddi.errors.Malformed` for one that breaks a rule.
    """
    media_type = (request.header("content-type") or JSON).partition(";")[0].strip().lower()
    if media_type not in _TYPES:
        raise Refusal(415, "rest.mediaTypeNotSupported", f"must be one of {', '.join(_TYPES)}")
    body = await _read(request, limits)
    if optional and not body:
        return shape()
    return records.decode(body, media_type, shape)


def reply(request: Request, body: bodies.Body | list[bodies.Body], status: int = 200) -> Reply:
    """Return a body in the type that the device asks for."""
    media_type = _accepted(request.header("accept") or "")
    encoded = cbor2.dumps(body) if media_type == CBOR else _encode(body)
    return Reply(status, _typed(media_type, encoded), encoded)


def problem(request: Request | None, refusal: Refusal) -> Reply:
    """Return the answer to what is refused."""
    encoded = _encode(bodies.problem("HawkbitException", refusal.code, str(refusal)))
    headers = [*_typed(HAL, encoded), *refusal.headers]
    if request is not None and not request.body_is_read and b"content-length" in request.headers:
        headers.append((b"connection", b"close"))  # what is left of the body is not waited for
    return Reply(refusal.status, headers, encoded)


async def send_reply(answer: Reply, send: Send, *, head: bool = False) -> None:
    """Send an answer; *head* without its body."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})


def _origin(headers: Mapping[bytes, bytes], scope: Scope) -> str:
    forwarded = headers.get(b"x-forwarded-host", b"").split(b",")[0].strip()
    host = forwarded or headers.get(b"host", b"")
    if not host:
        address, port = scope.get("server") or ("localhost", 80)
        host = (f"[{address}]:{port}" if ":" in address else f"{address}:{port}").encode()
    if not _HOST.fullmatch(host):
        raise Refusal(400, "rest.body.notReadable", "Host: is no host and port")
    scheme = headers.get(b"x-forwarded-proto", b"").split(b",")[0].strip().lower().decode("latin-1")
    return f"{scheme if scheme in ('http', 'https') else scope['scheme']}://{host.decode()}"


def _accepted(accept: str) -> str:
    """Return the first type that the device takes and we have; Refusal if there is none."""
    ranges = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    for wanted in ranges:
        if wanted in ("", "*/*", "application/*"):
            return HAL
        if wanted in _TYPES:
            return wanted
    raise Refusal(406, "rest.mediaTypeNotAcceptable", f"only {', '.join(_TYPES)}")


def _typed(media_type: str, encoded: bytes) -> Headers:
    shown = media_type if media_type == CBOR else f"{media_type};charset=utf-8"
    return [(b"content-type", shown.encode()), (b"content-length", b"%d" % len(encoded))]


async def _read(request: Request, limits: Limits) -> bytes:
    too_large = Refusal(413, "rest.body.tooLarge", f"at most {limits.ddi_body_bytes} bytes")
    length = request.headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 12 or int(length) > limits.ddi_body_bytes:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.request_timeout_seconds):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "rest.body.notReadable", "the body is not whole")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limits.ddi_body_bytes:
                    raise too_large
                if not message.get("more_body", False):
                    request.body_is_read = True
                    return b"".join(parts)
    except TimeoutError:
        raise Refusal(408, "rest.body.notReadable", "the body did not come in time") from None
