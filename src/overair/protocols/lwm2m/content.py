"""Content formats by number: payload bytes to values by full path, and back (spec lwm2m.md 6).

The format modules do the work; here is the table of numbers and what holds for all of them: keys are full
paths below the requested one, values fit the object tables, and whatever is wrong is a ContentError.
"""

from collections.abc import Callable, Iterable, Mapping

from overair.protocols.lwm2m.cbor import decode_cbor, encode_cbor
from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.lwm2m_cbor import decode_lwm2m_cbor, encode_lwm2m_cbor
from overair.protocols.lwm2m.lwm2m_json import decode_lwm2m_json, encode_lwm2m_json
from overair.protocols.lwm2m.objects import ResourceType
from overair.protocols.lwm2m.paths import ID_MAX, Path, format_path
from overair.protocols.lwm2m.senml import latest
from overair.protocols.lwm2m.senml_cbor import (
    decode_paths_cbor,
    decode_senml_cbor,
    encode_paths_cbor,
    encode_senml_cbor,
)
from overair.protocols.lwm2m.senml_json import (
    decode_paths_json,
    decode_senml_json,
    encode_paths_json,
    encode_senml_json,
)
from overair.protocols.lwm2m.text import decode_opaque, decode_text, encode_text
from overair.protocols.lwm2m.tlv import decode_tlv, encode_tlv
from overair.protocols.lwm2m.values import Sample, Value, fit, type_at

TEXT = 0
LINK_FORMAT = 40
OPAQUE = 42
CBOR = 60
SENML_JSON = 110
SENML_CBOR = 112
TLV = 11542
LWM2M_JSON = 11543
LWM2M_CBOR = 11544

# Numbers that mean another format: SenML ETCH, and those used before they were registered.
_ALIASES = {320: SENML_JSON, 322: SENML_CBOR, 1541: TEXT, 1542: TLV, 1543: LWM2M_JSON}
SINGLE_VALUE_BYTES_MAX = 2**24

_SINGLE_DECODERS: dict[int, Callable[[bytes, Path], Value]] = {
    TEXT: decode_text,
    OPAQUE: decode_opaque,
    CBOR: decode_cbor,
}
_SINGLE_ENCODERS: dict[int, Callable[[Value, Path], bytes]] = {TEXT: encode_text, CBOR: encode_cbor}
_SAMPLE_DECODERS: dict[int, Callable[[bytes, Path], list[Sample]]] = {
    SENML_JSON: lambda payload, _: decode_senml_json(payload),
    SENML_CBOR: lambda payload, _: decode_senml_cbor(payload),
    LWM2M_JSON: decode_lwm2m_json,
}
_ENCODERS: dict[int, Callable[[Mapping[Path, Value], Path], bytes]] = {
    SENML_JSON: encode_senml_json,
    SENML_CBOR: encode_senml_cbor,
    TLV: encode_tlv,
    LWM2M_JSON: encode_lwm2m_json,
    LWM2M_CBOR: encode_lwm2m_cbor,
}


def canonical_format(content_format: int) -> int:
    """Return the registered number of a format that has others too."""
    return _ALIASES.get(content_format, content_format)


def decode(content_format: int | None, payload: bytes, path: Path) -> dict[Path, Value]:
    """Read the values of a response, notification, Write or Send (`path` `()`), by full path.

    `path` is what was requested: every value must lie under it. Without a content format the payload of one
    resource is taken as text when it is UTF-8, any other as TLV. Of several values with times the latest
    counts. Raises ContentError.
    """
    return latest(decode_samples(content_format, payload, path))


def decode_samples(content_format: int | None, payload: bytes, path: Path) -> list[Sample]:
    """As `decode`, with every value and the time the device gave it, in the order sent."""
    number = _guess(payload, path) if content_format is None else canonical_format(content_format)
    samples = _decode_format(number, payload, path)
    depth = len(path)
    for sample in samples:
        if sample.path[:depth] != path:
            raise ContentError(format_path(sample.path), f"must lie under {format_path(path)}")
    return samples


def _decode_format(number: int, payload: bytes, path: Path) -> list[Sample]:
    if single := _SINGLE_DECODERS.get(number):
        _check_single(payload, path)
        return [Sample(path, single(payload, path))]
    if several := _SAMPLE_DECODERS.get(number):
        return several(payload, path)
    if number == TLV:
        values = decode_tlv(payload, path)
    elif number == LWM2M_CBOR:
        values = decode_lwm2m_cbor(payload)
    else:
        raise ContentError(f"content format {number}", "carries no values")
    return [Sample(key, value) for key, value in values.items()]


def _guess(payload: bytes, path: Path) -> int:
    if len(path) < 3:
        return TLV
    if type_at(path) is ResourceType.OPAQUE:
        return OPAQUE
    try:
        payload.decode()
    except UnicodeDecodeError:
        return TLV
    return TEXT


def _check_single(payload: bytes, path: Path) -> None:
    if len(path) not in {3, 4}:
        raise ContentError(format_path(path), "this format carries the value of one resource")
    if len(payload) > SINGLE_VALUE_BYTES_MAX:
        raise ContentError(format_path(path), f"at most {SINGLE_VALUE_BYTES_MAX} bytes")


def encode(content_format: int, values: Mapping[Path, Value], path: Path) -> bytes:
    """Write values, keyed by full path, for a request or response at `path`.

    Raises ContentError when a value does not fit its resource, lies outside `path`, or the format cannot
    carry it.
    """
    number = canonical_format(content_format)
    fitted = {key: fit(_checked(key, path), value) for key, value in values.items()}
    if encoder := _ENCODERS.get(number):
        return encoder(fitted, path)
    if len(fitted) != 1:
        raise ContentError(f"content format {number}", "carries one value")
    key, value = next(iter(fitted.items()))
    if single := _SINGLE_ENCODERS.get(number):
        return single(value, key)
    if number == OPAQUE and isinstance(value, bytes):
        return value
    raise ContentError(format_path(key), f"content format {number} cannot carry this value")


def _checked(key: Path, path: Path) -> Path:
    if len(key) not in {3, 4} or key[: len(path)] != path:
        raise ContentError(format_path(key), f"must name a resource under {format_path(path)}")
    if not all(0 <= element <= ID_MAX for element in key):
        raise ContentError(format_path(key), f"an id is a number of 0..{ID_MAX}")
    return key


def encode_paths(content_format: int, paths: Iterable[Path]) -> bytes:
    """Write the list of paths of a Read-Composite in SenML JSON or CBOR. Raises ContentError."""
    number = canonical_format(content_format)
    if number == SENML_JSON:
        return encode_paths_json(paths)
    if number == SENML_CBOR:
        return encode_paths_cbor(paths)
    raise ContentError(f"content format {number}", "carries no list of paths")


def decode_paths(content_format: int | None, payload: bytes) -> tuple[Path, ...]:
    """Read the list of paths of a Read-Composite in SenML JSON or CBOR. Raises ContentError."""
    number = None if content_format is None else canonical_format(content_format)
    if number == SENML_JSON:
        return decode_paths_json(payload)
    if number == SENML_CBOR:
        return decode_paths_cbor(payload)
    raise ContentError(f"content format {number}", "carries no list of paths")
