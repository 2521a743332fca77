"""Request bodies as clients in the field send them (spec quirks.md Q8, Q18 and Q32).

Every published spelling of a body is taken: names in any case, the misprints of the documents, one wrapper
(a one-element array, a named object, or both), integers where the API has strings of digits, and digits in
a string where it has an hour (Q18).
What comes out is the strict record, so nothing behind this module knows of spellings.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from overair.records.codec import REFUSALS
from overair.records.errors import EMPTY_BODY, RecordError
from overair.records.violations import fields_of, refuse, unfold

RequestT = TypeVar("RequestT", bound=Struct)

MAX_REQUEST_BYTES = 1024 * 1024
"""A list of 10000 devices takes a quarter of it."""

TOO_LARGE = "must not be so large"

_SYNONYMS = {"devcelist": "devicelist"}
_WRAPPERS = frozenset({"addorremovedevice", "devicelogging"})

# Longer than any number of the API, shorter than what makes int-to-text slow.
_MAX_INTEGER = 10**18
_MAX_DIGITS = 18

# No request has so many objects in a list: what is longer is left to the decoder to refuse.
_MAX_OBJECTS = 100


def decode_request(record_type: type[RequestT], data: bytes, max_bytes: int = MAX_REQUEST_BYTES) -> RequestT:
    """The request in the body, whatever published spelling it has; RecordError if it is none."""
    if len(data) > max_bytes:
        raise RecordError("", TOO_LARGE)
    if not data.strip():
        raise RecordError("", EMPTY_BODY)
    try:
        body = _unwrap(msgspec.json.decode(data))
        if isinstance(body, dict):
            body = _rename(body, record_type)
        return msgspec.convert(body, record_type)
    except REFUSALS as error:
        raise refuse(error, record_type) from None


def _unwrap(body: Any) -> Any:
    body = _only(body)
    if isinstance(body, dict):
        return next((_only(inner) for name, inner in body.items() if name.lower() in _WRAPPERS), body)
    return body


def _only(body: Any) -> Any:
    return body[0] if isinstance(body, list) and len(body) == 1 else body


def _rename(body: dict[str, Any], record_type: type[Struct]) -> dict[str, Any]:
    """The body under the names of the record; a name spelt right wins over the same name spelt wrong."""
    names = {name.lower(): name for name in fields_of(record_type)}
    renamed: dict[str, Any] = {}
    for spelt, value in body.items():
        folded = spelt.lower()
        name = names.get(_SYNONYMS.get(folded, folded))
        if name is not None and (spelt == name or name not in renamed):
            renamed[name] = _mend(value, fields_of(record_type)[name].type)
    return renamed


def _mend(value: Any, annotation: Any) -> Any:
    """The value as a field of that type has it: digits as text or as a number, objects under its names."""
    inner, extra = unfold(annotation)
    if isinstance(value, list):
        if "digits" in extra:
            return _digits(value)
        if isinstance(inner, type) and issubclass(inner, Struct) and len(value) <= _MAX_OBJECTS:
            return [_rename(entry, inner) if isinstance(entry, dict) else entry for entry in value]
    if "number" in extra and isinstance(value, str) and len(value) <= _MAX_DIGITS:
        return int(value) if value.isascii() and value.isdigit() else value
    return value


def _digits(entries: list[Any]) -> list[Any]:
    return [str(entry) if type(entry) is int and 0 <= entry < _MAX_INTEGER else entry for entry in entries]
