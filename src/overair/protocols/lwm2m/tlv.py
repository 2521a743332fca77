"""TLV, content format 11542 (spec lwm2m.md 6.3).

TLV says how long a value is, not what it is: the object table gives the type, and a resource that is not in
it stays bytes. An entry is type (1 byte), identifier (1 or 2), length (0 to 3), value; all big endian.

| bits of type | meaning |
|---|---|
| 7-6 | kind: object instance, resource instance, multiple resource, resource |
| 5 | identifier of 16 bits |
| 4-3 | bytes of the length field; 0: the length is in bits 2-0 |
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby

from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.objects import ResourceType
from overair.protocols.lwm2m.paths import Path, format_path
from overair.protocols.lwm2m.text import encode_utf8
from overair.protocols.lwm2m.values import SIGNED_MAX, ObjectLink, Value, fit, parse_number, type_at

# A firmware package may come as one TLV resource; three length bytes cannot say more.
PAYLOAD_BYTES_MAX = 2**24 + 8
ENTRIES_MAX = 10_000

OBJECT_INSTANCE, RESOURCE_INSTANCE, MULTIPLE_RESOURCE, RESOURCE = range(4)

_WIDE_ID = 0x20
_COORDINATES = {(6, 0), (6, 1)}  # latitude and longitude
_NUMERIC_TEXT = frozenset(b"+-.0123456789")
_INTEGER_SIZES = (1, 2, 4, 8)


class _Reader:
    """Splits payloads into entries and counts them over all levels."""

    def __init__(self) -> None:
        self.entries = 0

    def split(self, data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        """Yield (kind, identifier, value) of each entry. Raises ContentError for a length past the end."""
        position, end = 0, len(data)
        while position < end:
            self.entries += 1
            if self.entries > ENTRIES_MAX:
                raise ContentError("tlv", f"at most {ENTRIES_MAX} entries")
            head = data[position]
            id_end = position + (3 if head & _WIDE_ID else 2)
            start = id_end + (head >> 3 & 3)
            length = int.from_bytes(data[id_end:start], "big") if start > id_end else head & 7
            if start + length > end:
                raise ContentError(f"tlv entry at byte {position}", "length runs past the end")
            yield head >> 6, int.from_bytes(data[position + 1 : id_end], "big"), data[start : start + length]
            position = start + length


def decode_tlv(payload: bytes, path: Path) -> dict[Path, Value]:
    """Read the answer to a Read of `path` (at least an object), or what was written to it.

    Keys are full paths. Bare resources under an object path belong to instance 0. Raises ContentError.
    """
    if not path:
        raise ContentError("tlv", "needs the path of an object, it holds no object ids")
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ContentError("tlv", f"at most {PAYLOAD_BYTES_MAX} bytes")
    reader = _Reader()
    values: dict[Path, Value] = {}
    bare = path[:2] if len(path) > 1 else (path[0], 0)
    for kind, number, data in reader.split(memoryview(payload)):
        if kind == OBJECT_INSTANCE:
            _read_instance(reader, data, (path[0], number), values)
        elif kind == RESOURCE_INSTANCE and len(path) > 2:
            _put(values, (*path[:3], number), data)
        else:
            _read_resource(reader, kind, (*bare, number), data, values)
    return values


def _read_instance(reader: _Reader, data: memoryview, instance: Path, values: dict[Path, Value]) -> None:
    for kind, number, inner in reader.split(data):
        _read_resource(reader, kind, (*instance, number), inner, values)


def _read_resource(
    reader: _Reader, kind: int, resource: Path, data: memoryview, values: dict[Path, Value]
) -> None:
    if kind == RESOURCE:
        _put(values, resource, data)
        return
    if kind != MULTIPLE_RESOURCE:
        raise ContentError(format_path(resource), "an entry here must be a resource")
    for inner_kind, number, inner in reader.split(data):
        if inner_kind != RESOURCE_INSTANCE:
            raise ContentError(format_path(resource), "a multiple resource holds resource instances")
        _put(values, (*resource, number), inner)


def _put(values: dict[Path, Value], path: Path, data: memoryview) -> None:
    kind = type_at(path)
    raw = bytes(data)
    decoder = _DECODERS.get(kind) if kind else None
    values[path] = fit(path, decoder(raw, path)) if decoder else raw


def _decode_string(raw: bytes, path: Path) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ContentError(format_path(path), "a string must be UTF-8") from error


def _decode_signed(raw: bytes, path: Path) -> int:
    return _decode_int(raw, path, signed=True)


def _decode_unsigned(raw: bytes, path: Path) -> int:
    return _decode_int(raw, path, signed=False)


def _decode_int(raw: bytes, path: Path, signed: bool) -> int:
    if len(raw) > 8:
        raise ContentError(format_path(path), "an integer has at most 8 bytes")
    return int.from_bytes(raw, "big", signed=signed)


def _decode_float(raw: bytes, path: Path) -> float:
    # Coordinates were strings once; read as IEEE 754 such digits would be nothing near a coordinate.
    if (path[0], path[2]) in _COORDINATES and raw and _NUMERIC_TEXT.issuperset(raw):
        return float(parse_number(raw.decode(), format_path(path)))
    if len(raw) == 4:
        return float(struct.unpack(">f", raw)[0])
    if len(raw) == 8:
        return float(struct.unpack(">d", raw)[0])
    raise ContentError(format_path(path), "a float has 4 or 8 bytes")


def _decode_boolean(raw: bytes, path: Path) -> bool:
    if raw not in {b"\0", b"\1"}:
        raise ContentError(format_path(path), "a boolean is one byte, 0 or 1")
    return raw == b"\1"


def _decode_link(raw: bytes, path: Path) -> ObjectLink:
    if len(raw) != 4:
        raise ContentError(format_path(path), "an object link has 4 bytes")
    return ObjectLink(*struct.unpack(">HH", raw))


_DECODERS: dict[ResourceType, Callable[[bytes, Path], Value]] = {
    ResourceType.STRING: _decode_string,
    ResourceType.CORE_LINK: _decode_string,
    ResourceType.INTEGER: _decode_signed,
    ResourceType.TIME: _decode_signed,
    ResourceType.UNSIGNED: _decode_unsigned,
    ResourceType.FLOAT: _decode_float,
    ResourceType.BOOLEAN: _decode_boolean,
    ResourceType.OBJECT_LINK: _decode_link,
}


def encode_tlv(values: Mapping[Path, Value], path: Path) -> bytes:
    """Write values under `path`: object instances for an object, bare resources for an instance.

    For a resource: its one entry. For a Create without a preferred id, take any instance path.
    """
    if not path:
        raise ContentError("tlv", "needs the path of an object, it holds no object ids")
    items = sorted(values.items())
    if len(path) > 1:
        return _write_resources(items)
    instances = groupby(items, key=lambda item: item[0][1])
    return b"".join(_entry(OBJECT_INSTANCE, number, _write_resources(inner)) for number, inner in instances)


def _write_resources(items: Iterable[tuple[Path, Value]]) -> bytes:
    parts = []
    for number, group in groupby(items, key=lambda item: item[0][2]):
        inner = list(group)
        if len(inner) == 1 and len(inner[0][0]) == 3:
            parts.append(_entry(RESOURCE, number, _encode_value(inner[0][1], inner[0][0])))
            continue
        if len(inner[0][0]) == 3:
            raise ContentError(format_path(inner[0][0]), "a value and its instances cannot stand together")
        entries = [_entry(RESOURCE_INSTANCE, key[3], _encode_value(value, key)) for key, value in inner]
        parts.append(_entry(MULTIPLE_RESOURCE, number, b"".join(entries)))
    return b"".join(parts)


def _entry(kind: int, number: int, value: bytes) -> bytes:
    size = len(value)
    if size >= 2**24:
        raise ContentError("tlv", "a value has less than 2^24 bytes")
    length_bytes = 0 if size < 8 else (size.bit_length() + 7) // 8
    wide = number > 255
    head = kind << 6 | (_WIDE_ID if wide else 0) | length_bytes << 3 | (size if size < 8 else 0)
    identifier = number.to_bytes(2 if wide else 1, "big")
    length = size.to_bytes(length_bytes, "big") if length_bytes else b""
    return bytes((head,)) + identifier + length + value


def _encode_value(value: Value, path: Path) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return encode_utf8(value, path)
        case bool():
            return b"\1" if value else b"\0"
        case int():
            return _encode_int(value)
        case float():
            return _encode_float(value)
    return struct.pack(">HH", value.object_id, value.instance_id)


def _encode_int(value: int) -> bytes:
    """Use the shortest signed size, so that signed and unsigned readers agree while the value allows it."""
    if value > SIGNED_MAX:
        return value.to_bytes(8, "big")
    size = next(size for size in _INTEGER_SIZES if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1)
    return value.to_bytes(size, "big", signed=True)


def _encode_float(value: float) -> bytes:
    try:
        short = struct.pack(">f", value)
    except OverflowError:
        return struct.pack(">d", value)
    return short if struct.unpack(">f", short)[0] == value else struct.pack(">d", value)
