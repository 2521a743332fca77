"""SenML JSON, content format 110 (and 320) (spec lwm2m.md 6.4)."""

import base64
import math
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field

from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.senml import Record, build, check_bounds, name_paths, resolve, resolve_paths
from overair.protocols.lwm2m.text import decode_base64
from overair.protocols.lwm2m.values import Sample, Value


class _JsonRecord(Struct, omit_defaults=True, gc=False):
    bn: str | None = None
    bt: int | float | None = None
    n: str | None = None
    t: int | float | None = None
    v: int | float | None = None
    vs: str | None = None
    vb: bool | None = None
    data: str | None = field(default=None, name="vd")
    link: str | None = field(default=None, name="vlo")


_decoder = msgspec.json.Decoder(list[_JsonRecord])


def decode_senml_json(payload: bytes) -> list[Sample]:
    """Read a pack; an empty payload is an empty set. Raises ContentError."""
    return resolve(_read(payload))


def encode_senml_json(values: Mapping[Path, Value], path: Path) -> bytes:
    """Write values that fit their resources. Raises ContentError for NaN and infinity."""
    return _write(build(values, path))


def decode_paths_json(payload: bytes) -> tuple[Path, ...]:
    """Read the list of paths of a Read-Composite. Raises ContentError."""
    return resolve_paths(_read(payload))


def encode_paths_json(paths: Iterable[Path]) -> bytes:
    """Write the list of paths of a Read-Composite."""
    return _write(name_paths(paths))


def _read(payload: bytes) -> list[Record]:
    check_bounds(payload, "senml json")
    if not payload:
        return []
    try:
        records = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContentError("senml json", str(error)) from error
    return [Record(r.bn, r.bt, r.n, r.t, r.v, r.vs, r.vb, _data(r.data), r.link) for r in records]


def _data(text: str | None) -> bytes | None:
    return None if text is None else decode_base64(text, "senml json vd")


def _write(records: list[Record]) -> bytes:
    plain = []
    for r in records:
        if isinstance(r.v, float) and not math.isfinite(r.v):
            raise ContentError(f"{r.bn or ''}{r.n or ''}", "JSON cannot carry NaN or infinity")
        data = None if r.data is None else base64.urlsafe_b64encode(r.data).rstrip(b"=").decode()
        plain.append(_JsonRecord(r.bn, r.bt, r.n, r.t, r.v, r.vs, r.vb, data, r.link))
    return encode_json(plain)


def encode_json(item: object) -> bytes:
    """Write JSON. Raises ContentError for strings that UTF-8 cannot carry."""
    try:
        return msgspec.json.encode(item)
    except UnicodeEncodeError as error:
        raise ContentError("json", "strings must be encodable in UTF-8") from error
