"""The rules that SenML JSON, SenML CBOR and the old LwM2M JSON share (spec lwm2m.md 6.4, 6.5; RFC 8428).

A pack is a list of records. Base name and base time stay in force until replaced; the path of a record is
base name + name, its time base time + time. Each notation has its own module, which makes `Record`s of it.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from overair.protocols.lwm2m.errors import ContentError
from overair.protocols.lwm2m.paths import Path, format_path, split_root
from overair.protocols.lwm2m.values import ObjectLink, Sample, Value, fit, parse_object_link

PAYLOAD_BYTES_MAX = 65536
RECORDS_MAX = 5000
RELATIVE_SECONDS_MAX = 2**28


class Record(Struct, omit_defaults=True, gc=False):
    """One record in the notation of SenML JSON; `data` is `vd` after its decoding, `link` is `vlo`."""

    bn: str | None = None
    bt: int | float | None = None
    n: str | None = None
    t: int | float | None = None
    v: int | float | None = None
    vs: str | None = None
    vb: bool | None = None
    data: bytes | None = None
    link: str | None = None


def check_bounds(payload: bytes, notation: str) -> None:
    """Raise ContentError for a payload over the bound, before it is parsed."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ContentError(notation, f"at most {PAYLOAD_BYTES_MAX} bytes")


def resolve(records: Iterable[Record], base: str = "") -> list[Sample]:
    """Return the values with their paths and times. A record without value says nothing and is left out.

    `base` is the base name before the first record gives one. Raises ContentError.
    """
    samples = []
    base_time: int | float | None = None
    for index, record in enumerate(records):
        if index >= RECORDS_MAX:
            raise ContentError("senml", f"at most {RECORDS_MAX} records")
        base = record.bn if record.bn is not None else base
        base_time = record.bt if record.bt is not None else base_time
        value = _value(record, index)
        if value is None:
            continue
        path = _path(base + (record.n or ""))
        time = None if base_time is None and record.t is None else (base_time or 0) + (record.t or 0)
        samples.append(Sample(path, fit(path, value), time))
    return samples


def _value(record: Record, index: int) -> Value | None:
    given: list[Value] = [
        value for value in (record.v, record.vs, record.vb, record.data) if value is not None
    ]
    if record.link is not None:
        given.append(parse_object_link(record.link, f"senml record {index}"))
    if len(given) > 1:
        raise ContentError(f"senml record {index}", "holds one value")
    return given[0] if given else None


def _path(name: str) -> Path:
    _, path = split_root(name)
    if len(path) not in {3, 4}:
        raise ContentError(f"name {name!r}", "must name a resource or resource instance")
    return path


def build(values: Mapping[Path, Value], path: Path) -> list[Record]:
    """Make records of values that fit their resources, with one base name an object instance.

    When `path` is itself a resource it is the base name.
    """
    records = []
    base: Path | None = None
    for key, value in values.items():
        record = Record()
        start = path if len(path) > 2 else key[:2]
        if start != base:
            base = start
            record.bn = format_path(base) + ("" if base == key else "/")
        if base != key:
            record.n = format_path(key[len(base) :])[1:]
        _fill(record, value)
        records.append(record)
    return records


def _fill(record: Record, value: Value) -> None:
    match value:
        case bool():
            record.vb = value
        case int() | float():
            record.v = value
        case str():
            record.vs = value
        case bytes():
            record.data = value
        case ObjectLink():
            record.link = str(value)


def resolve_paths(records: Iterable[Record]) -> tuple[Path, ...]:
    """Return the paths that a Read-Composite names. Raises ContentError if a record holds value or time."""
    paths = []
    base = ""
    for index, record in enumerate(records):
        if _value(record, index) is not None or record.t is not None or record.bt is not None:
            raise ContentError(f"senml record {index}", "a list of paths holds names only")
        base = record.bn if record.bn is not None else base
        paths.append(split_root(base + (record.n or ""))[1])
    return tuple(paths)


def name_paths(paths: Iterable[Path]) -> list[Record]:
    """Make the records of a Read-Composite: full names, nothing else."""
    return [Record(n=format_path(path)) for path in paths]


def absolute_seconds(sample: Sample, now: float) -> float:
    """Time of a sample in Unix seconds; `now` is the time of receipt."""
    if sample.time_seconds is None:
        return now
    if sample.time_seconds < RELATIVE_SECONDS_MAX:
        return now + sample.time_seconds
    return sample.time_seconds


def latest(samples: Iterable[Sample]) -> dict[Path, Value]:
    """Return the last value of each path in time order.

    Times relative to now come after absolute ones: those were in the past when the device sent them.
    """
    return {sample.path: sample.value for sample in sorted(samples, key=_age_key)}


def _age_key(sample: Sample) -> tuple[bool, float]:
    time = sample.time_seconds or 0
    return time < RELATIVE_SECONDS_MAX, time
