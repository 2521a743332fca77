"""From what msgspec says of a bad body to the field and the rule, in the words of the API.

Everything here runs after a failure, never on the way of a good record; so the patterns are compiled when
first needed, not when a program starts.
"""

import re
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from overair.records.errors import NOT_JSON, REQUIRED, TOO_DEEP, RecordError

_PLACE = r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$"
_MISSING = r"Object missing required field `(.+)`"
_WRONG_TYPE = r"Expected `(.+)`, got `(.+)`"
_LENGTH = r"Expected `(str|array)` of length (<=|>=) ([0-9]+)"
_RANGE = r"Expected `int` (<=|>=) (-?[0-9]+)"

_TYPES = {
    "array": "an array",
    "bool": "a boolean",
    "float": "a fraction",
    "int": "an integer",
    "null": "null",
    "object": "an object",
    "str": "a string",
}
_BOUNDS = {"<=": "at most", ">=": "at least"}
_UNITS = {"str": ("character", "characters"), "array": ("entry", "entries")}

Extra = dict[str, Any]
"""What a kind of field carries beside its bounds: rule, parse, digits (`overair.records.fields`)."""


def refuse(error: Exception, record_type: Any) -> RecordError:
    """The RecordError for what a decoder of `record_type` raised."""
    if isinstance(error, RecursionError):
        return RecordError("", TOO_DEEP)
    if not isinstance(error, msgspec.ValidationError):
        return RecordError("", NOT_JSON)
    place = re.match(_PLACE, str(error), re.DOTALL)
    what, path = (place["what"], place["path"] or "") if place else (str(error), "")
    if "..." in path:  # raised below a name that no record has: a number that no float holds
        return RecordError("", NOT_JSON)
    if isinstance(error.__cause__, RecordError):
        return RecordError(join(path, error.__cause__.path), error.__cause__.rule)
    if missing := re.fullmatch(_MISSING, what):
        return RecordError(join(path, missing[1]), REQUIRED)
    return RecordError(path, _rule(what, _extra_at(record_type, path)))


def join(path: str, name: str) -> str:
    """The path of a field inside the object at `path`."""
    return f"{path}.{name}" if path and name else path or name


@cache
def unfold(annotation: Any) -> tuple[Any, Extra]:
    """The innermost type of a field (of a list, that of its entries), and its extras, if any."""
    extra: Extra = {}
    while get_origin(annotation) in (Annotated, Union, UnionType, list):
        for meta in getattr(annotation, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.extra:
                extra = meta.extra
        annotation = next(part for part in get_args(annotation) if part is not NoneType)
    return annotation, extra


@cache
def fields_of(record_type: type[Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The fields of a record by their names on the wire."""
    return {field.encode_name: field for field in msgspec.structs.fields(record_type)}


def _extra_at(record_type: Any, path: str) -> Extra:
    inner, extra = unfold(record_type)
    for name in re.findall(r"[A-Za-z_]+", path):
        inner, extra = unfold(fields_of(inner)[name].type)
    return extra


def _rule(what: str, extra: Extra) -> str:
    if wrong := re.fullmatch(_WRONG_TYPE, what):
        wanted = wrong[1].removesuffix(" | null")
        return f"must be {_TYPES.get(wanted, wanted)}, not {_TYPES.get(wrong[2], wrong[2])}"
    length = re.fullmatch(_LENGTH, what)
    if "rule" in extra and not (length and length[1] == "array"):
        return str(extra["rule"])
    if length:
        unit = _UNITS[length[1]][length[3] != "1"]
        return f"must have {_BOUNDS[length[2]]} {length[3]} {unit}"
    if bound := re.fullmatch(_RANGE, what):
        return f"must be {_BOUNDS[bound[1]]} {bound[2]}"
    return "must have a value this field allows"
