"""The devices that the benchmarks speak of, and their datagrams."""

from bench.load import TOKEN_BYTES
from overair.protocols.coap import codes, encode_uint
from overair.protocols.coap.message import encode_fields
from overair.protocols.lwm2m.names import luhn_digit
from overair.protocols.lwm2m.registration import register_queries

LINKS = (
    b'</>;rt="oma.lwm2m";ct="60 110 112 11542 11543",'
    b"</1/0>;ver=1.1,</3/0>;ver=1.1,</4/0>;ver=1.2,</5/0>,</7/0>"
)
LINK_FORMAT = 40
LIFETIME_SECONDS = 86_400
_FIRST_IMEI14 = 99_001_234_000_000


def imei(index: int) -> str:
    """Return the IMEI of device *index*, with its check digit."""
    body = str(_FIRST_IMEI14 + index)
    return body + luhn_digit(body)


def register_datagram(index: int, message_id: int, identity: int | None = None) -> bytes:
    """Return a Confirmable Register as a common client sends it: token of *index*, IMEI of *identity*."""
    name = imei(index if identity is None else identity)
    queries = register_queries(f"urn:imei:{name}", lifetime_seconds=LIFETIME_SECONDS)
    options = (
        (codes.URI_PATH, b"rd"),
        (codes.CONTENT_FORMAT, encode_uint(LINK_FORMAT)),
        *((codes.URI_QUERY, query.encode()) for query in queries),
    )
    return encode_fields(codes.CON, codes.POST, message_id, _token(index), options, LINKS)


def update_datagram(index: int, message_id: int, location: bytes) -> bytes:
    """Return a Confirmable Update without anything new: what a fleet sends most of the time."""
    options = ((codes.URI_PATH, b"rd"), (codes.URI_PATH, location))
    return encode_fields(codes.CON, codes.POST, message_id, _token(index), options)


def location_of(answer: bytes) -> bytes:
    """Return the second segment of the Location-Path of a 2.01 (short options only)."""
    first = 4 + TOKEN_BYTES
    second = first + 1 + (answer[first] & 15)
    return answer[second + 1 : second + 1 + (answer[second] & 15)]


def _token(index: int) -> bytes:
    return index.to_bytes(TOKEN_BYTES, "big")
