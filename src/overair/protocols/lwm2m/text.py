"""Plain text (0) and opaque (42): one value a payload (spec lwm2m.md 6.2)."""

import base64
import binascii
import math

from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.objects import ResourceType
from overair.protocols.lwm2m.paths import Path, format_path
from overair.protocols.lwm2m.values import ObjectLink, Value, fit, parse_number, type_at

_BOOLEANS = {"0": False, "1": True, "false": False, "true": True}
_NUMBERS = frozenset(
    {ResourceType.INTEGER, ResourceType.UNSIGNED, ResourceType.TIME, ResourceType.FLOAT},
)


def decode_text(payload: bytes, path: Path) -> Value:
    """Read the text of one resource by its type; a string when the type is unknown. Raises ContentError."""
    where = format_path(path)
    try:
        text = payload.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise ContentError(where, "text must be UTF-8") from error
    kind = type_at(path)
    if kind in _NUMBERS:
        return fit(path, parse_number(text.strip(), where))
    if kind is ResourceType.BOOLEAN:
        return fit(path, _BOOLEANS.get(text.strip().lower()))
    if kind is ResourceType.OPAQUE:
        return decode_base64(text, where)
    return fit(path, text)


def encode_text(value: Value, path: Path) -> bytes:
    """Write one value, which must already fit its resource. Raises ContentError."""
    if isinstance(value, bool):
        return b"1" if value else b"0"
    if isinstance(value, bytes):
        return base64.b64encode(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ContentError(format_path(path), "text cannot carry NaN or infinity")
        return repr(value).encode()
    if isinstance(value, int | ObjectLink):
        return str(value).encode()
    return encode_utf8(value, path)


def decode_opaque(payload: bytes, path: Path) -> Value:
    """Take the payload as it is; the resource must be opaque or unknown. Raises ContentError."""
    return fit(path, payload)


def encode_utf8(text: str, path: Path) -> bytes:
    """Encode a string value. Raises ContentError for lone surrogates, which UTF-8 cannot carry."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ContentError(format_path(path), "a string must be encodable in UTF-8") from error


def decode_base64(text: str, where: str) -> bytes:
    """Read base64 in either alphabet, padded or not. Raises ContentError."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContentError(where, "must be base64") from error
