"""Values of resources, and the one place that fits a decoded value to its resource's type.

Source: spec lwm2m.md 6.2-6.6 (what each format may carry for a type). A format module produces whatever its
notation shows (int, float, str, bool, bytes, ObjectLink); `fit` turns that into the type of the object table
or says why it cannot. Time is int seconds since 1970.
"""

import re
from collections.abc import Callable

from msgspec import Struct

from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.objects import ResourceType, resource_at
from overair.protocols.lwm2m.paths import ID_MAX, Path, format_path

SIGNED_MIN, SIGNED_MAX = -(2**63), 2**63 - 1
UNSIGNED_MAX = 2**64 - 1

_LINK = re.compile(r"(\d{1,5}):(\d{1,5})", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)


class ObjectLink(Struct, frozen=True, gc=False):
    """Link to an object instance; 65535:65535 links to nothing."""

    object_id: int
    instance_id: int

    def __str__(self) -> str:
        return f"{self.object_id}:{self.instance_id}"


NULL_LINK = ObjectLink(ID_MAX, ID_MAX)

Value = str | int | float | bool | bytes | ObjectLink


class Sample(Struct, frozen=True, gc=False):
    """One value with the time the device gave it.

    `time_seconds` is None without a time; below 2^28 it counts from now (RFC 8428 section 4.5.3).
    """

    path: Path
    value: Value
    time_seconds: float | None = None


def parse_object_link(text: str, where: str) -> ObjectLink:
    """Read `66:0`. Raises ContentError."""
    match = _LINK.fullmatch(text)
    if match is None or int(match[1]) > ID_MAX or int(match[2]) > ID_MAX:
        raise ContentError(where, "an object link is written object:instance")
    return ObjectLink(int(match[1]), int(match[2]))


def parse_number(text: str, where: str) -> int | float:
    """Read a decimal number with optional exponent; an int when it is written as one. Raises ContentError."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    raise ContentError(where, "not a decimal number")


def type_at(path: Path) -> ResourceType | None:
    """Type of the values at a path; None where any type may stand (unknown, or executed only)."""
    resource = resource_at(path)
    return None if resource is None or resource.type is ResourceType.NONE else resource.type


def fit(path: Path, value: object) -> Value:
    """Return the value in the type that the resource at `path` has.

    Raises ContentError naming the path when it does not fit.
    """
    kind = type_at(path)
    return _FITTERS[kind](path, value) if kind is not None else _fit_unknown(path, value)


def _wrong(path: Path, rule: str) -> ContentError:
    return ContentError(format_path(path), rule)


def _fit_text(path: Path, value: object) -> Value:
    if not isinstance(value, str):
        raise _wrong(path, "must be a string")
    return value


def _fit_int(path: Path, value: object, low: int, high: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(path, "must be an integer")
    if not low <= value <= high:
        raise _wrong(path, f"must lie in {low}..{high}")
    return value


def _fit_signed(path: Path, value: object) -> Value:
    return _fit_int(path, value, SIGNED_MIN, SIGNED_MAX)


def _fit_unsigned(path: Path, value: object) -> Value:
    return _fit_int(path, value, 0, UNSIGNED_MAX)


def _fit_float(path: Path, value: object) -> Value:
    if isinstance(value, str):  # the coordinates of object 6 were strings once
        value = parse_number(value.strip("\0 "), format_path(path))
    if isinstance(value, float):
        return value
    return float(_fit_int(path, value, SIGNED_MIN, UNSIGNED_MAX))


def _fit_boolean(path: Path, value: object) -> Value:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in {0, 1}:
        return bool(value)
    raise _wrong(path, "must be a boolean")


def _fit_opaque(path: Path, value: object) -> Value:
    if not isinstance(value, bytes):
        raise _wrong(path, "must be bytes")
    return value


def _fit_link(path: Path, value: object) -> Value:
    if isinstance(value, str):
        return parse_object_link(value, format_path(path))
    if not isinstance(value, ObjectLink) or not (
        0 <= value.object_id <= ID_MAX and 0 <= value.instance_id <= ID_MAX
    ):
        raise _wrong(path, "must be an object link")
    return value


def _fit_unknown(path: Path, value: object) -> Value:
    if isinstance(value, str | bool | float | bytes):
        return value
    if isinstance(value, ObjectLink):
        return _fit_link(path, value)
    return _fit_int(path, value, SIGNED_MIN, UNSIGNED_MAX)


_FITTERS: dict[ResourceType, Callable[[Path, object], Value]] = {
    ResourceType.STRING: _fit_text,
    ResourceType.CORE_LINK: _fit_text,
    ResourceType.INTEGER: _fit_signed,
    ResourceType.TIME: _fit_signed,
    ResourceType.UNSIGNED: _fit_unsigned,
    ResourceType.FLOAT: _fit_float,
    ResourceType.BOOLEAN: _fit_boolean,
    ResourceType.OPAQUE: _fit_opaque,
    ResourceType.OBJECT_LINK: _fit_link,
}
