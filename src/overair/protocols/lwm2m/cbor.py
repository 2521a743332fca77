"""CBOR as the LwM2M formats use it: bounded, and without the tags that build Python objects.

cbor2 understands tags for regular expressions, shared references, dates, addresses and more. A device has no
use for them, and several would hand a stranger memory or cycles; all but the few below are refused.
Source: spec lwm2m.md 6.2, 6.4.
"""

import io
from collections.abc import Callable

import cbor2

from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.values import ObjectLink, Value, fit

PAYLOAD_BYTES_MAX = 65536
DEPTH_MAX = 8
_EXPONENT_MAX = 400
_EXACT_EXPONENT_MAX = 19  # beyond it no mantissa but zero stays within 64 bits
_BIGNUM_BYTES_MAX = 8
# Tags that cbor2 6 resolves by itself; a test checks the list against it.
BUILT_IN_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000)


def load(payload: bytes) -> object:
    """Read exactly one item. Raises ContentError for anything malformed, too deep, or followed by bytes."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ContentError("cbor", f"at most {PAYLOAD_BYTES_MAX} bytes")
    stream = io.BytesIO(payload)
    decoder = cbor2.CBORDecoder(
        stream, tag_hook=_refuse_unknown, semantic_decoders=_TAG_DECODERS, max_depth=DEPTH_MAX
    )
    try:
        item: object = decoder.decode()
    except (cbor2.CBORDecodeError, TypeError) as error:
        raise ContentError("cbor", str(error)) from error
    if stream.tell() != len(payload):
        raise ContentError("cbor", f"{len(payload) - stream.tell()} bytes after the item")
    return item


def dump(item: object, path: Path) -> bytes:
    """Write one item of plain Python types. Raises ContentError for strings UTF-8 cannot carry."""
    try:
        return cbor2.dumps(item)
    except (cbor2.CBOREncodeError, UnicodeEncodeError) as error:
        raise ContentError(str(path), "not encodable in CBOR") from error


def decode_cbor(payload: bytes, path: Path) -> Value:
    """Read the single value of format 60. Raises ContentError."""
    return fit(path, load(payload))


def encode_cbor(value: Value, path: Path) -> bytes:
    """Write the single value of format 60; an object link is text."""
    return dump(str(value) if isinstance(value, ObjectLink) else value, path)


def _refuse_known(_value: object, _immutable: bool) -> object:
    raise ContentError("cbor", "tag not used by LwM2M")


def _refuse_unknown(tag: cbor2.CBORTag, _immutable: bool) -> object:
    raise ContentError("cbor", f"tag {tag.tag} not used by LwM2M")


def _epoch_time(value: object, _immutable: bool) -> object:
    if isinstance(value, int | float):
        return value
    raise ContentError("cbor", "tag 1 holds a number of seconds")


def _bignum(value: object, _immutable: bool) -> int:
    # Bignums beyond 64 bits are no LwM2M values, and as map keys they collide at will.
    if isinstance(value, bytes) and len(value.lstrip(b"\0")) <= _BIGNUM_BYTES_MAX:
        return int.from_bytes(value, "big")
    raise ContentError("cbor", "a bignum holds at most 8 bytes")


def _negative_bignum(value: object, _immutable: bool) -> int:
    return -1 - _bignum(value, _immutable)


def _decimal_fraction(value: object, _immutable: bool) -> int | float:
    """Tag 4: [exponent, mantissa], exact as an int where the value is one."""
    match value:
        case [int(exponent), int(mantissa)] if abs(exponent) <= _EXPONENT_MAX:
            scale: int = 10 ** abs(exponent)
            if exponent < 0 and mantissa % scale == 0:
                return mantissa // scale
            if 0 <= exponent <= _EXACT_EXPONENT_MAX:
                return mantissa * scale
            return float(f"{mantissa}e{exponent}")
    raise ContentError("cbor", f"tag 4 holds [exponent, mantissa], exponent within {_EXPONENT_MAX}")


_TAG_DECODERS: dict[int, Callable[[object, bool], object]] = {
    **dict.fromkeys(BUILT_IN_TAGS, _refuse_known),
    1: _epoch_time,
    2: _bignum,
    3: _negative_bignum,
    4: _decimal_fraction,
}
