"""The CoAP message and its bytes (RFC 7252 section 3; spec lwm2m.md 12.1).

Each message has exactly one encoding, so `encode(decode(datagram)) == datagram` for every datagram
that parses.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec

from overair.protocols.coap import codes
from overair.protocols.coap.errors import MessageFieldError, MessageFormatError
from overair.protocols.coap.options import (
    MAX_OPTION_BYTES,
    MAX_OPTION_NUMBER,
    OPTION_FORMATS,
    Block,
    OptionPair,
    Options,
    decode_block,
)

VERSION: Final = 1
MAX_TOKEN_BYTES: Final = 8
PAYLOAD_MARKER: Final = 0xFF

_HEADER: Final = struct.Struct("!BBH")
_pack = _HEADER.pack
_unpack = _HEADER.unpack_from


class Message(msgspec.Struct, frozen=True, gc=False):
    """One CoAP message. `options` are (number, value) pairs, ascending where they were decoded."""

    type: int
    code: int
    message_id: int
    token: bytes = b""
    options: Options = ()
    payload: bytes = b""

    def option(self, number: int) -> bytes | None:
        """The first value of an option, or None."""
        for found, value in self.options:
            if found == number:
                return value
        return None

    def option_values(self, number: int) -> tuple[bytes, ...]:
        """All values of an option, in their order."""
        return tuple(value for found, value in self.options if found == number)

    def uint_option(self, number: int) -> int | None:
        """The first value as an unsigned integer; None if it is missing or longer than its format."""
        value = self.option(number)
        if value is None or (number in OPTION_FORMATS and len(value) > OPTION_FORMATS[number][1]):
            return None
        return int.from_bytes(value, "big")

    def text_option(self, number: int) -> tuple[str, ...]:
        """All values as text. MessageFormatError if one is not UTF-8 (an Endpoint lets none through)."""
        try:
            return tuple([value.decode() for found, value in self.options if found == number])
        except UnicodeDecodeError as error:
            raise MessageFormatError(f"option {number} is not UTF-8", self.type, self.message_id) from error

    @property
    def uri_path(self) -> tuple[str, ...]:
        """Segments of the path: "/rd/5a3f" is ("rd", "5a3f")."""
        return self.text_option(codes.URI_PATH)

    @property
    def uri_queries(self) -> tuple[str, ...]:
        """Arguments of the query: ("lt=60", "Q")."""
        return self.text_option(codes.URI_QUERY)

    def request_parts(self) -> tuple[tuple[str, ...], tuple[str, ...], int | None]:
        """Path, query and Content-Format in one pass, for servers that look at all three.

        MessageFormatError if one is not UTF-8 (an Endpoint lets none through).
        """
        path: list[str] = []
        queries: list[str] = []
        content_format = None
        try:
            for number, value in self.options:
                if number == codes.URI_PATH:
                    path.append(value.decode())
                elif number == codes.URI_QUERY:
                    queries.append(value.decode())
                elif number == codes.CONTENT_FORMAT and content_format is None:
                    content_format = int.from_bytes(value, "big")
        except UnicodeDecodeError as error:
            raise MessageFormatError("path or query is not UTF-8", self.type, self.message_id) from error
        return tuple(path), tuple(queries), content_format

    @property
    def location_path(self) -> tuple[str, ...]:
        """Segments of the path in a 2.01 response."""
        return self.text_option(codes.LOCATION_PATH)

    @property
    def content_format(self) -> int | None:
        """Content-Format; an empty value is 0, text."""
        return self.uint_option(codes.CONTENT_FORMAT)

    @property
    def accept(self) -> int | None:
        """The Content-Format that the answer shall have."""
        return self.uint_option(codes.ACCEPT)

    @property
    def observe(self) -> int | None:
        """In a request 0 (begin) or 1 (end), in a notification its 24-bit sequence number."""
        return self.uint_option(codes.OBSERVE)

    @property
    def etag(self) -> bytes | None:
        """The first ETag, 1 to 8 bytes."""
        return self.option(codes.ETAG)

    @property
    def block1(self) -> Block | None:
        """Which block of the request body this is, or which one a response is about."""
        return self._block(codes.BLOCK1)

    @property
    def block2(self) -> Block | None:
        """Which block of the response body this is, or which one a request wants."""
        return self._block(codes.BLOCK2)

    def _block(self, number: int) -> Block | None:
        value = self.option(number)
        return None if value is None or len(value) > 3 else decode_block(value)


def decode(datagram: bytes) -> Message:
    """The message in a datagram; MessageFormatError for anything else."""
    size = len(datagram)
    if size < 4:
        raise MessageFormatError("header: at least 4 bytes")
    first, code, message_id = _unpack(datagram)
    if first >> 6 != VERSION:
        raise MessageFormatError("version: must be 1")
    token_length = first & 15
    position = 4 + token_length
    if token_length > MAX_TOKEN_BYTES or position > size:
        _fail("token: at most 8 bytes, all of them there", first, message_id)
    if code == codes.EMPTY and size > 4:
        _fail("empty message: nothing after the message id", first, message_id)
    options: list[OptionPair] = []
    number = 0
    while position < size:
        head = datagram[position]
        position += 1
        if head == PAYLOAD_MARKER:
            if position == size:
                _fail("payload: not empty after the marker", first, message_id)
            break
        length = head & 15
        if head < 0xD0 and length < 13:
            number += head >> 4
        else:
            delta, length, position = _extended(datagram, head, position, first, message_id)
            number += delta
        end = position + length
        if end > size or number > MAX_OPTION_NUMBER:
            _fail("option: number at most 65535, value all there", first, message_id)
        options.append((number, datagram[position:end]))
        position = end
    return Message(
        first >> 4 & 3, code, message_id, datagram[4 : 4 + token_length], tuple(options), datagram[position:]
    )


def _fail(rule: str, first: int, message_id: int) -> NoReturn:
    raise MessageFormatError(rule, first >> 4 & 3, message_id)


def _extended(datagram: bytes, head: int, position: int, first: int, message_id: int) -> tuple[int, int, int]:
    """(delta, length, position after them) where one of the two does not fit its four bits."""
    fields = []
    for nibble in (head >> 4, head & 15):
        width = nibble - 12
        if width == 3:
            _fail("option: 15 is reserved", first, message_id)
        if width > 0:
            extension = datagram[position : position + width]
            if len(extension) < width:
                _fail("option: header all there", first, message_id)
            fields.append(int.from_bytes(extension, "big") + (13 if width == 1 else 269))
            position += width
        else:
            fields.append(nibble)
    return fields[0], fields[1], position


def encode(message: Message) -> bytes:
    """The datagram of a message; MessageFieldError if a field is out of range."""
    return encode_fields(
        message.type, message.code, message.message_id, message.token, message.options, message.payload
    )


def encode_fields(
    message_type: int,
    code: int,
    message_id: int,
    token: bytes = b"",
    options: Sequence[OptionPair] = (),
    payload: bytes | bytearray | memoryview = b"",
) -> bytes:
    """As `encode`, without a Message. Options may come in any order; equal numbers keep theirs."""
    if not 0 <= message_type <= 3 or len(token) > MAX_TOKEN_BYTES:
        raise MessageFieldError("type: 0 to 3; token: at most 8 bytes")
    if not code and (token or options or payload):
        raise MessageFieldError("code 0.00: no token, options or payload")
    try:
        header = _pack(0x40 | message_type << 4 | len(token), code, message_id)
    except struct.error as error:
        raise MessageFieldError("code: 0 to 255; message_id: 0 to 65535") from error
    if not options:
        return header + token + b"\xff" + payload if payload else header + token
    out = bytearray(header)
    out += token
    previous = 0
    for number, value in options:
        delta = number - previous
        if delta < 0:
            if number < 0:
                raise MessageFieldError(f"option {number}: number 0 to 65535")
            ordered = sorted(options, key=lambda pair: pair[0])
            return encode_fields(message_type, code, message_id, token, ordered, payload)
        length = len(value)
        if delta < 13 and length < 13:
            out.append(delta << 4 | length)
        else:
            out += _option_header(number, delta, length)
        out += value
        previous = number
    if payload:
        out.append(PAYLOAD_MARKER)
        out += payload
    return bytes(out)


def _option_header(number: int, delta: int, length: int) -> bytes:
    if number > MAX_OPTION_NUMBER or length > MAX_OPTION_BYTES:
        raise MessageFieldError(f"option {number}: number at most 65535, value at most {MAX_OPTION_BYTES}")
    delta_nibble, delta_extension = _nibble(delta)
    length_nibble, length_extension = _nibble(length)
    return bytes((delta_nibble << 4 | length_nibble,)) + delta_extension + length_extension


def _nibble(value: int) -> tuple[int, bytes]:
    if value < 13:
        return value, b""
    if value < 269:
        return 13, bytes((value - 13,))
    return 14, (value - 269).to_bytes(2, "big")
