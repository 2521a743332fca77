"""Structures on the wire: record headers, handshake fragments, and the bodies of messages.

Sources: RFC 6347 section 4 (records, fragments, cookies), RFC 5246 section 7.4 (messages), RFC 4279 and
RFC 5489 (key exchanges with PSK), RFC 5077 (tickets), RFC 9146 (Connection ID).

Parsers take whole bodies and raise WireError, never anything else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from overair.protocols.dtls import codes
from overair.protocols.dtls.errors import WireError

RECORD: Final = struct.Struct(">BHQH")
"""Content type, version, epoch and sequence number as one, length of the fragment."""
RECORD_START: Final = struct.Struct(">BHQ")
"""What comes before the Connection ID, if the record has one, and the length."""
RECORD_BYTES: Final = RECORD.size
MESSAGE_HEADER_BYTES: Final = 12
_MESSAGE_HEADER: Final = struct.Struct(">IHHI")
"""Type and size, message sequence, and six bytes of offset and length: 24 bits each but the sequence."""
_EXTENSION: Final = struct.Struct(">HH")
_SERVER_HELLO_START: Final = struct.Struct(">H32sB")
_SERVER_HELLO_END: Final = struct.Struct(">HB")
_VERSION_AND_RANDOM_BYTES: Final = 34
_MAX_SESSION_ID_BYTES: Final = 32
_UINT24: Final = 0xFFFFFF


class Reader:
    """Takes fields off the front of a structure."""

    __slots__ = ("_at", "_data", "_name")

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._data = data
        self._at = 0

    @property
    def at(self) -> int:
        """How many bytes are taken."""
        return self._at

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start, end = self._at, self._at + size
        if end > len(self._data):
            raise WireError(f"{self._name}: {size} bytes wanted at {start} of {len(self._data)}")
        self._at = end
        return self._data[start:end]

    def number(self, size: int) -> int:
        """A number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, width: int, least: int = 0, most: int = 0xFFFF) -> bytes:
        """Bytes behind their length, which has `width` bytes itself."""
        start = self._at + width
        size = int.from_bytes(self._data[self._at : start], "big")
        end = start + size
        if end > len(self._data):
            raise WireError(f"{self._name}: {size} bytes wanted at {start} of {len(self._data)}")
        if not least <= size <= most:
            raise WireError(f"{self._name}: {least} to {most} bytes, not {size}")
        self._at = end
        return self._data[start:end]

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise WireError(f"{self._name}: {len(self._data) - self._at} bytes too many")


def vector(width: int, data: bytes) -> bytes:
    """Put the length in front; OverflowError if it does not fit, which no caller lets happen."""
    return len(data).to_bytes(width, "big") + data


# --- records and fragments


def plain_record(kind: int, sequence: int, fragment: bytes, version: int = codes.DTLS_1_2) -> bytes:
    """A record of epoch 0."""
    return RECORD.pack(kind, version, sequence, len(fragment)) + fragment


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record; `cid` is empty unless the content type says that there is one."""

    kind: int
    version: int
    number: int
    """Epoch and sequence number in one."""
    cid: bytes
    fragment: bytes


def read_records(datagram: bytes, cid_bytes: int) -> Iterator[Record]:
    """The records of a datagram; `cid_bytes` is the length of our own Connection IDs."""
    size, start = len(datagram), 0
    while start < size:
        head = start + RECORD_START.size
        at = head + 2
        if datagram[start] == codes.TLS12_CID:
            if not cid_bytes:
                raise WireError("record: a Connection ID that nobody asked for")
            at += cid_bytes
        if at > size:
            raise WireError("record: shorter than its header")
        end = at + (datagram[at - 2] << 8 | datagram[at - 1])
        if end > size:
            raise WireError("record: longer than its datagram")
        kind, version, number = RECORD_START.unpack_from(datagram, start)
        yield Record(kind, version, number, datagram[head : at - 2], datagram[at:end])
        start = end


class Fragment(msgspec.Struct, frozen=True, gc=False):
    """Part of a handshake message; offsets and sizes in bytes."""

    kind: int
    size: int
    """Of the whole message."""
    sequence: int
    offset: int
    body: bytes

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the message."""
        return len(self.body) == self.size

    @property
    def is_last(self) -> bool:
        """Whether the message ends with it."""
        return self.offset + len(self.body) == self.size


def read_fragments(content: bytes) -> list[Fragment]:
    """The fragments in a handshake record, of which there can be several."""
    fragments: list[Fragment] = []
    at, end = 0, len(content)
    while at < end:
        body_at = at + MESSAGE_HEADER_BYTES
        if body_at > end:
            raise WireError("fragment: a header has 12 bytes")
        kind_size, sequence, offset_high, offset_length = _MESSAGE_HEADER.unpack_from(content, at)
        size, length = kind_size & _UINT24, offset_length & _UINT24
        offset = offset_high << 8 | offset_length >> 24
        at = body_at + length
        if at > end or offset + length > size:
            raise WireError("fragment: longer than its record or its message")
        fragments.append(Fragment(kind_size >> 24, size, sequence, offset, content[body_at:at]))
    return fragments


def fragment_bytes(kind: int, size: int, sequence: int, offset: int, body: bytes) -> bytes:
    """A handshake fragment."""
    offset_length = offset << 24 | len(body)
    return (
        _MESSAGE_HEADER.pack(kind << 24 | size, sequence, offset_length >> 32, offset_length & 0xFFFFFFFF)
        + body
    )


def message(kind: int, sequence: int, body: bytes) -> bytes:
    """A whole handshake message, as it is hashed."""
    size = len(body)
    return _MESSAGE_HEADER.pack(kind << 24 | size, sequence, 0, size) + body


def cut_message(whole: bytes, most: int) -> list[bytes]:
    """Fragments of a message, each of at most `most` bytes with its header."""
    if len(whole) <= most:
        return [whole]
    kind, sequence = whole[0], int.from_bytes(whole[4:6], "big")
    body, step = whole[MESSAGE_HEADER_BYTES:], most - MESSAGE_HEADER_BYTES
    return [
        fragment_bytes(kind, len(body), sequence, offset, body[offset : offset + step])
        for offset in range(0, len(body), step)
    ]


# --- messages

Extensions = dict[int, bytes]


class ClientHello(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """RFC 6347 section 4.2.1."""

    version: int = codes.DTLS_1_2
    random: bytes
    session_id: bytes = b""
    cookie: bytes = b""
    suites: tuple[int, ...]
    compressions: bytes = b"\0"
    extensions: Extensions = {}


def split_client_hello(body: bytes) -> tuple[bytes, bytes]:
    """The cookie of a ClientHello, and what it is bound to: all but the cookie and the extensions.

    This is all that a stranger's hello is read for.
    """
    session_end, cookie_end, _, end = _client_hello_ends(body)
    # Each part begins with its length, so that nothing can pass from one to the other.
    return body[session_end + 1 : cookie_end], body[:session_end] + body[cookie_end:end]


def _client_hello_ends(body: bytes) -> tuple[int, int, int, int]:
    """Where the session id, the cookie, the suites and the compression methods end."""
    try:
        session_end = _VERSION_AND_RANDOM_BYTES + 1 + body[_VERSION_AND_RANDOM_BYTES]
        cookie_end = session_end + 1 + body[session_end]
        suites_end = cookie_end + 2 + (body[cookie_end] << 8 | body[cookie_end + 1])
        end = suites_end + 1 + body[suites_end]
    except IndexError:
        raise WireError("ClientHello: ends before its compression methods") from None
    if end > len(body):
        raise WireError("ClientHello.compression_methods: longer than the hello")
    if body[_VERSION_AND_RANDOM_BYTES] > _MAX_SESSION_ID_BYTES:
        raise WireError("ClientHello.session_id: 0 to 32 bytes")
    if suites_end - cookie_end < 4 or (suites_end - cookie_end) % 2:
        raise WireError("ClientHello.cipher_suites: pairs of bytes, at least one")
    if end - suites_end < 2:
        raise WireError("ClientHello.compression_methods: at least one")
    return session_end, cookie_end, suites_end, end


def parse_client_hello(body: bytes) -> ClientHello:
    """Read a ClientHello."""
    session_end, cookie_end, suites_end, end = _client_hello_ends(body)
    suites_at = cookie_end + 2
    return ClientHello(
        version=body[0] << 8 | body[1],
        random=body[2:_VERSION_AND_RANDOM_BYTES],
        session_id=body[_VERSION_AND_RANDOM_BYTES + 1 : session_end],
        cookie=body[session_end + 1 : cookie_end],
        suites=struct.unpack_from(f">{(suites_end - suites_at) // 2}H", body, suites_at),
        compressions=body[suites_end + 1 : end],
        extensions=_read_extensions(body, end),
    )


def client_hello_body(hello: ClientHello) -> bytes:
    """Write a ClientHello."""
    return b"".join(
        (
            hello.version.to_bytes(2, "big"),
            hello.random,
            vector(1, hello.session_id),
            vector(1, hello.cookie),
            vector(2, struct.pack(f">{len(hello.suites)}H", *hello.suites)),
            vector(1, hello.compressions),
            _extension_block([extension(*item) for item in hello.extensions.items()]),
        )
    )


class ServerHello(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """RFC 5246 section 7.4.1.3."""

    version: int = codes.DTLS_1_2
    random: bytes
    session_id: bytes = b""
    suite: int
    compression: int = 0
    extensions: Extensions = {}


def parse_server_hello(body: bytes) -> ServerHello:
    """Read a ServerHello."""
    reader = Reader("ServerHello", body)
    return ServerHello(
        version=reader.number(2),
        random=reader.take(32),
        session_id=reader.vector(1, 0, _MAX_SESSION_ID_BYTES),
        suite=reader.number(2),
        compression=reader.number(1),
        extensions=_read_extensions(body, reader.at),
    )


def server_hello(
    random: bytes,
    session_id: bytes,
    suite: int,
    extensions: Sequence[bytes],
    *,
    version: int = codes.DTLS_1_2,
    compression: int = 0,
) -> bytes:
    """Write a ServerHello; each of `extensions` is as `extension` makes it."""
    return b"".join(
        (
            _SERVER_HELLO_START.pack(version, random, len(session_id)),
            session_id,
            _SERVER_HELLO_END.pack(suite, compression),
            _extension_block(extensions),
        )
    )


def server_hello_body(hello: ServerHello) -> bytes:
    """Write a ServerHello that `parse_server_hello` reads."""
    extensions = [extension(*item) for item in hello.extensions.items()]
    return server_hello(
        hello.random,
        hello.session_id,
        hello.suite,
        extensions,
        version=hello.version,
        compression=hello.compression,
    )


def _read_extensions(body: bytes, at: int) -> Extensions:
    """The extensions at the end of a hello, from `at`; there may be no block at all."""
    extensions: Extensions = {}
    end = len(body)
    if at == end:
        return extensions
    if int.from_bytes(body[at : at + 2], "big") != end - at - 2:
        raise WireError("extensions: not as long as they say")
    at += 2
    while at < end:
        if at + 4 > end:
            raise WireError("extensions: number and length have 4 bytes")
        number, size = _EXTENSION.unpack_from(body, at)
        if number in extensions:
            raise WireError(f"extensions: {number} comes twice")
        at += 4 + size
        extensions[number] = body[at - size : at]
    if at > end:
        raise WireError("extensions: longer than their block")
    return extensions


def extension(number: int, data: bytes) -> bytes:
    """An extension of a hello."""
    return _EXTENSION.pack(number, len(data)) + data


def _extension_block(extensions: Sequence[bytes]) -> bytes:
    """The end of a hello: nothing at all if there are no extensions."""
    return vector(2, b"".join(extensions)) if extensions else b""


def parse_hello_verify_request(body: bytes) -> bytes:
    """Return the cookie; the version in it means nothing (RFC 6347 section 4.2.1)."""
    reader = Reader("HelloVerifyRequest", body)
    reader.take(2)
    cookie = reader.vector(1, 0, 255)
    reader.end()
    return cookie


def hello_verify_request_body(cookie: bytes) -> bytes:
    """Write a HelloVerifyRequest; it says DTLS 1.0 whatever comes later, which all clients take."""
    return codes.DTLS_1_0.to_bytes(2, "big") + vector(1, cookie)


class ServerKeyExchange(NamedTuple):
    """A PSK identity hint, and the server's point on secp256r1 if the suite has ECDHE."""

    hint: bytes
    point: bytes = b""


def parse_server_key_exchange(body: bytes, ecdhe: bool) -> ServerKeyExchange:
    """Read a ServerKeyExchange of a PSK suite (RFC 4279 section 2, RFC 5489 section 2)."""
    reader = Reader("ServerKeyExchange", body)
    hint, point = reader.vector(2), b""
    if ecdhe:
        if (reader.number(1), reader.number(2)) != (codes.NAMED_CURVE, codes.SECP256R1):
            raise WireError("ServerKeyExchange.curve: secp256r1 was offered, nothing else")
        point = reader.vector(1, 1, 255)
    reader.end()
    return ServerKeyExchange(hint, point)


def server_key_exchange_body(exchange: ServerKeyExchange) -> bytes:
    """Write a ServerKeyExchange."""
    if not exchange.point:
        return vector(2, exchange.hint)
    curve = struct.pack(">BH", codes.NAMED_CURVE, codes.SECP256R1)
    return vector(2, exchange.hint) + curve + vector(1, exchange.point)


class ClientKeyExchange(NamedTuple):
    """The PSK identity, and the client's point on secp256r1 if the suite has ECDHE."""

    identity: bytes
    point: bytes = b""


def parse_client_key_exchange(body: bytes, ecdhe: bool) -> ClientKeyExchange:
    """Read a ClientKeyExchange of a PSK suite."""
    reader = Reader("ClientKeyExchange", body)
    exchange = ClientKeyExchange(reader.vector(2), reader.vector(1, 1, 255) if ecdhe else b"")
    reader.end()
    return exchange


def client_key_exchange_body(exchange: ClientKeyExchange) -> bytes:
    """Write a ClientKeyExchange."""
    return vector(2, exchange.identity) + (vector(1, exchange.point) if exchange.point else b"")


class NewSessionTicket(NamedTuple):
    """RFC 5077 section 3.3; an empty ticket says that there is none after all."""

    lifetime_seconds: int
    ticket: bytes


def parse_new_session_ticket(body: bytes) -> NewSessionTicket:
    """Read a NewSessionTicket."""
    reader = Reader("NewSessionTicket", body)
    ticket = NewSessionTicket(reader.number(4), reader.vector(2))
    reader.end()
    return ticket


def new_session_ticket_body(ticket: NewSessionTicket) -> bytes:
    """Write a NewSessionTicket."""
    return ticket.lifetime_seconds.to_bytes(4, "big") + vector(2, ticket.ticket)


# --- extensions


def parse_connection_id(data: bytes) -> bytes:
    """The Connection ID that its sender wants to find in records (RFC 9146 section 3)."""
    reader = Reader("connection_id", data)
    cid = reader.vector(1, 0, 255)
    reader.end()
    return cid


def parse_max_fragment_length(data: bytes) -> int:
    """The largest content of a record in bytes (RFC 6066 section 4)."""
    if len(data) != 1 or data[0] not in codes.FRAGMENT_LENGTHS:
        raise WireError("max_fragment_length: 1 to 4")
    return codes.FRAGMENT_LENGTHS[data[0]]


def parse_supported_groups(data: bytes) -> tuple[int, ...]:
    """The groups of a client (RFC 8422 section 5.1.1)."""
    reader = Reader("supported_groups", data)
    groups = reader.vector(2, 2)
    reader.end()
    if len(groups) % 2:
        raise WireError("supported_groups: pairs of bytes")
    return struct.unpack(f">{len(groups) // 2}H", groups)
