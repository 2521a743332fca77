"""Records to bytes and back (spec api-v3.md 1: strict types, unknown fields ignored, null never written)."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from overair.records.errors import UNICODE_RULE, RecordError
from overair.records.violations import fields_of, join, refuse, unfold

RecordT = TypeVar("RecordT")

# What a decoder raises on a stranger's bytes: bad JSON or type, bad UTF-8, too many brackets.
REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.json.Encoder()


def encode(record: Struct | list[Any]) -> bytes:
    """Compact JSON of a record or a list of records, fields in the order of the spec, absent ones omitted."""
    return _encoder.encode(record)


def decode(record_type: type[RecordT], data: bytes) -> RecordT:
    """A record (or ``list[Record]``) from JSON as this service writes it; RecordError for anything else.

    Of the form of times only as much is tested as tells T1 from T2; `check` tests the rest. The caller
    bounds the length of the data.
    """
    key: Any = record_type  # a type is hashable, but a type checker does not know it of a variable one
    try:
        record: RecordT = _decoder(key).decode(data)
    except REFUSALS as error:
        raise refuse(error, record_type) from None
    return record


def check(record: Struct) -> None:
    """RecordError unless every field, at any depth, holds what its type and the form of its kind allow."""
    try:
        msgspec.convert(_tree(record), type(record))
    except REFUSALS as error:
        raise refuse(error, type(record)) from None
    _check_forms(record, "")


@cache
def _decoder(record_type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(record_type)


def _tree(value: object) -> object:
    """The record as the decoder would see it; other values stay, for the decoder to name their type."""
    if isinstance(value, list):
        return [_tree(entry) for entry in value]
    if not isinstance(value, Struct):
        return value
    named = {name: getattr(value, field.name) for name, field in fields_of(type(value)).items()}
    return {name: _tree(inner) for name, inner in named.items()}


def _check_forms(record: Struct, path: str) -> None:
    for name, field in fields_of(type(record)).items():
        value = getattr(record, field.name)
        place = join(path, name)
        if isinstance(value, str):
            _check_text(value, place, unfold(field.type)[1].get("parse"))
        for index, entry in enumerate(value if isinstance(value, list) else ()):
            if isinstance(entry, Struct):
                _check_forms(entry, f"{place}[{index}]")


def _check_text(value: str, place: str, parse: Callable[[str], object] | None) -> None:
    try:
        value.encode()
        if parse is not None:
            parse(value)
    except UnicodeEncodeError:
        raise RecordError(place, UNICODE_RULE) from None
    except RecordError as error:
        raise RecordError(place, error.rule) from None
