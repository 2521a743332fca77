"""CoAP options: their formats, unsigned integers, and the block value.

Source: RFC 7252 sections 3.2, 5.4 and 5.10, RFC 7959 section 2.2; spec lwm2m.md 12.1 and 13.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from overair.protocols.coap import codes
from overair.protocols.coap.errors import MessageFieldError

OptionPair = tuple[int, bytes]
Options = tuple[OptionPair, ...]

MAX_BLOCK_NUMBER: Final = (1 << 20) - 1
RESERVED_SZX: Final = 7
MAX_OPTION_NUMBER: Final = 65_535
MAX_OPTION_BYTES: Final = 65_535 + 269

# number: (shortest, longest, repeatable, text). An option outside its format counts as unknown
# (RFC 7252 sections 5.4.3 and 5.4.5). Missing on purpose: If-Match and If-None-Match, since nothing here
# keeps their promise and a conditional request must fail rather than be carried out; Proxy-Uri and
# Proxy-Scheme, since we are no proxy.
OPTION_FORMATS: Final[dict[int, tuple[int, int, bool, bool]]] = {
    codes.URI_HOST: (1, 255, False, True),
    codes.ETAG: (1, 8, True, False),
    codes.OBSERVE: (0, 3, False, False),
    codes.URI_PORT: (0, 2, False, False),
    codes.LOCATION_PATH: (0, 255, True, True),
    codes.URI_PATH: (0, 255, True, True),
    codes.CONTENT_FORMAT: (0, 2, False, False),
    codes.MAX_AGE: (0, 4, False, False),
    codes.URI_QUERY: (0, 255, True, True),
    codes.ACCEPT: (0, 2, False, False),
    codes.LOCATION_QUERY: (0, 255, True, True),
    codes.BLOCK2: (0, 3, False, False),
    codes.BLOCK1: (0, 3, False, False),
    codes.SIZE2: (0, 4, False, False),
    codes.SIZE1: (0, 4, False, False),
    codes.ECHO: (1, 40, False, False),
    codes.NO_RESPONSE: (0, 1, False, False),
    codes.REQUEST_TAG: (0, 8, True, False),
}


class Block(NamedTuple):
    """The value of a Block1 or Block2 option: NUM, M and SZX; SZX 7 is reserved over UDP."""

    number: int
    more: bool
    szx: int

    @property
    def size_bytes(self) -> int:
        """Bytes in a block, 16 to 1024."""
        return 16 << self.szx

    @property
    def offset(self) -> int:
        """Where in the body the block begins, in bytes."""
        return self.number << (self.szx + 4)

    def encode(self) -> bytes:
        """The option value, 0 to 3 bytes."""
        if not 0 <= self.number <= MAX_BLOCK_NUMBER:
            raise MessageFieldError(f"block number: 0 to {MAX_BLOCK_NUMBER}")
        return encode_uint(self.number << 4 | self.more << 3 | self.szx)


@lru_cache(maxsize=1024)  # the way of one request asks three times
def decode_block(value: bytes) -> Block:
    """The block in an option value of at most 3 bytes."""
    number = int.from_bytes(value, "big")
    return Block(number >> 4, bool(number & 8), number & 7)


def szx_of(size_bytes: int) -> int:
    """SZX of the largest block that is not larger than `size_bytes` (16 or more)."""
    return min(size_bytes.bit_length() - 5, 6)


def encode_uint(value: int) -> bytes:
    """An option value of the format "uint": big-endian, no leading zero bytes, zero is empty."""
    return value.to_bytes((value.bit_length() + 7) >> 3, "big")


def without(options: Iterable[OptionPair], *numbers: int) -> Options:
    """The options that have none of these numbers, in their order."""
    return tuple(pair for pair in options if pair[0] not in numbers)


def request_options(path: Sequence[str], queries: Sequence[str], options: Iterable[OptionPair]) -> Options:
    """Options of a request in ascending order.

    Uri-Host and Uri-Port never go out, since some devices reject them (spec engine.md 2).
    MessageFieldError names an option out of its range. Equal requests get the same object: a server
    that observes one resource of each device of a fleet keeps these options once.
    """
    return _request_options(tuple(path), tuple(queries), tuple(options))


@lru_cache(maxsize=1024)
def _request_options(path: tuple[str, ...], queries: tuple[str, ...], options: Options) -> Options:
    pairs = [(codes.URI_PATH, segment.encode()) for segment in path]
    pairs += [(codes.URI_QUERY, query.encode()) for query in queries]
    pairs += without(options, codes.URI_HOST, codes.URI_PORT)
    for number, value in pairs:
        longest = OPTION_FORMATS[number][1] if number in OPTION_FORMATS else MAX_OPTION_BYTES
        if not 0 <= number <= MAX_OPTION_NUMBER or len(value) > longest:
            raise MessageFieldError(f"option {number}: number 0 to 65535, value at most {longest} bytes")
    pairs.sort(key=_number)
    return tuple(pairs)


def examine(options: Options) -> tuple[int, bytes | None, bytes | None]:
    """(number of the first critical option to reject or 0, Block1 value, Block2 value).

    The options must be in ascending order, as `decode` gives them.
    """
    block1 = block2 = None
    previous = -1
    for number, value in options:
        form = OPTION_FORMATS.get(number)
        if form is None:
            if number & 1:
                return number, None, None
            continue
        low, high, repeatable, text = form
        if number & 1 and (
            not low <= len(value) <= high
            or (number == previous and not repeatable)
            or (text and not value.isascii() and not is_utf8(value))
        ):
            return number, None, None
        if number == codes.BLOCK1:
            block1 = value
        elif number == codes.BLOCK2:
            block2 = value
        previous = number
    return 0, block1, block2


def is_utf8(value: bytes) -> bool:
    """Whether the bytes are UTF-8 text."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _number(pair: OptionPair) -> int:
    return pair[0]
