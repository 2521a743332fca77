"""SenML CBOR, content format 112 (and 322) (spec lwm2m.md 6.4)."""

from collections.abc import Iterable, Mapping

import msgspec

from overair.protocols.lwm2m import cbor
from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.senml import Record, build, name_paths, resolve, resolve_paths
from overair.protocols.lwm2m.values import Sample, Value

# Label on the wire -> field of Record, in the order in which they are written.
_FIELDS: dict[object, str] = {
    -2: "bn",
    -3: "bt",
    0: "n",
    6: "t",
    2: "v",
    3: "vs",
    4: "vb",
    8: "data",
    "vlo": "link",
}


def decode_senml_cbor(payload: bytes) -> list[Sample]:
    """Read a pack; an empty payload is an empty set. Raises ContentError."""
    return resolve(_read(payload))


def encode_senml_cbor(values: Mapping[Path, Value], path: Path) -> bytes:
    """Write values that fit their resources."""
    return _write(build(values, path), path)


def decode_paths_cbor(payload: bytes) -> tuple[Path, ...]:
    """Read the list of paths of a Read-Composite. Raises ContentError."""
    return resolve_paths(_read(payload))


def encode_paths_cbor(paths: Iterable[Path]) -> bytes:
    """Write the list of paths of a Read-Composite."""
    return _write(name_paths(paths), ())


def _read(payload: bytes) -> list[Record]:
    pack = cbor.load(payload) if payload else []
    if not isinstance(pack, list):
        raise ContentError("senml cbor", "must be an array of records")
    return [_record(item, index) for index, item in enumerate(pack)]


def _record(item: object, index: int) -> Record:
    if not isinstance(item, dict):
        raise ContentError(f"senml record {index}", "must be a map")
    known = {_FIELDS[label]: value for label, value in item.items() if label in _FIELDS}
    try:
        return msgspec.convert(known, Record, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise ContentError(f"senml record {index}", str(error)) from error


def _write(records: list[Record], path: Path) -> bytes:
    return cbor.dump([_labelled(record) for record in records], path)


def _labelled(record: Record) -> dict[object, object]:
    fields = ((label, getattr(record, name)) for label, name in _FIELDS.items())
    return {label: value for label, value in fields if value is not None}
