"""LwM2M JSON of enabler 1.0, content format 11543 (spec lwm2m.md 6.5).

It knows no bytes: opaque values travel as base64 strings, told apart only by the type of their resource.
"""

import base64
import math
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.objects import ResourceType
from overair.protocols.lwm2m.paths import Path, format_path, split_root
from overair.protocols.lwm2m.senml import Record, build, check_bounds, resolve
from overair.protocols.lwm2m.senml_json import encode_json
from overair.protocols.lwm2m.text import decode_base64
from overair.protocols.lwm2m.values import Sample, Value, type_at


class _Entry(Struct, omit_defaults=True, gc=False):
    n: str | None = None
    t: int | float | None = None
    v: int | float | None = None
    bv: bool | None = None
    sv: str | None = None
    ov: str | None = None


class _Pack(Struct, omit_defaults=True, gc=False):
    e: list[_Entry]
    bn: str | None = None
    bt: int | float | None = None


_decoder = msgspec.json.Decoder(_Pack)


def decode_lwm2m_json(payload: bytes, path: Path) -> list[Sample]:
    """Read a pack; names without base name belong to `path`, the one requested. Raises ContentError."""
    check_bounds(payload, "lwm2m json")
    if not payload:
        return []
    try:
        pack = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContentError("lwm2m json", str(error)) from error
    records = [_record(entry, _name(pack.bn, entry.n, path)) for entry in pack.e]
    if records:
        records[0].bt = pack.bt
    return resolve(records)


def _name(base: str | None, name: str | None, path: Path) -> str:
    if base is not None:
        return base + (name or "")
    return f"{format_path(path)}/{name}" if name else format_path(path)


def _record(entry: _Entry, name: str) -> Record:
    record = Record(n=name, t=entry.t, v=entry.v, vs=entry.sv, vb=entry.bv, link=entry.ov)
    if entry.sv is not None and type_at(split_root(name)[1]) is ResourceType.OPAQUE:
        record.vs, record.data = None, decode_base64(entry.sv, name)
    return record


def encode_lwm2m_json(values: Mapping[Path, Value], path: Path) -> bytes:
    """Write values that fit their resources; `path` is at least an object. Raises ContentError."""
    if not path:
        raise ContentError("lwm2m json", "needs the path of an object")
    base = format_path(path) + ("" if path in values else "/")
    entries = [
        _entry(record, format_path(key[len(path) :])[1:])
        for key, record in zip(values, build(values, path), strict=True)
    ]
    return encode_json({"bn": base, "e": entries})


def _entry(record: Record, name: str) -> _Entry:
    if isinstance(record.v, float) and not math.isfinite(record.v):
        raise ContentError(name, "JSON cannot carry NaN or infinity")
    text = record.vs if record.data is None else base64.b64encode(record.data).decode()
    return _Entry(name or None, None, record.v, record.vb, text, record.link)
