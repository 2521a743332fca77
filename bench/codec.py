"""Decode and encode 1000 V3Devices: this service's records, the public SDK's models, plain msgspec.

The SDK is shown twice: its models (``from_dictionary``, ``to_dictionary``) with the standard json module, and
the way its own client goes, through jsonpickle. So is plain msgspec: to and from dictionaries, and as Structs
of the same fields without any rule.
"""

import gc
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import msgspec
from verizon.api_helper import APIHelper
from verizon.models.v3_device import V3Device as SdkDevice

from bench import fleet
from bench.processes import CLIENT_CORE, pin
from bench.report import Row, Target, render
from overair.records import V3Device, V3SoftwareInfo, decode, encode

RECORDS, ROUNDS, SDK_ROUNDS = 1000, 200, 7
QUICK_RECORDS, QUICK_ROUNDS = 20, 2

Way = tuple[Callable[[], Any], Callable[[], Any]]
"""Decodes and encodes all the records."""


class PlainSoftware(msgspec.Struct, rename="camel"):
    """V3SoftwareInfo without a rule."""

    name: str
    version: str
    upgrade_time: str


PlainDevice = msgspec.defstruct(
    "PlainDevice",
    [
        ("device_id", str),
        *((name, str | None, None) for name in ("request_status", "result_reason")),
        *((name, str | None, None) for name in ("mdn", "model", "make", "firmware")),
        ("fota_eligible", bool | None, None),
        ("status", str | None, None),
        ("license_assigned", bool | None, None),
        ("protocol", str | None, None),
        *((name, list[PlainSoftware] | None, None) for name in ("software_list", "file_list")),
        *((f"{what}_time", str | None, None) for what in ("create", "status", "update", "refresh")),
        ("last_connection_time", str | None, None),
    ],
    omit_defaults=True,
    rename="camel",
)
"""V3Device without a rule: same fields, same names."""


def run(*, quick: bool) -> str:
    """Measure, and return the table."""
    pin(CLIENT_CORE)
    count, rounds = (QUICK_RECORDS, QUICK_ROUNDS) if quick else (RECORDS, ROUNDS)
    data = encode([_record(index) for index in range(count)])
    timed = _measure(_ways(data), rounds)
    ours = timed["ours"]
    rows = [
        _row(what, ours[part], name, timed[name][part], target if what == "both" else None)
        for part, what in enumerate(("decode", "encode", "both"))
        for name, target in BASELINES.items()
    ]
    return render(f"Codec: {count} V3Devices, {len(data) / 1000:.0f} kB", rows)


BASELINES: dict[str, Target | None] = {
    "SDK model + json": Target("at least", 40),
    "SDK as its client does": None,
    "msgspec dictionaries": None,
    "msgspec plain Structs": None,
}


def _ways(data: bytes) -> dict[str, Way]:
    records = decode(list[V3Device], data)
    models = [SdkDevice.from_dictionary(each) for each in json.loads(data)]
    dictionaries = msgspec.json.decode(data)
    plain_decoder, plain_encoder = msgspec.json.Decoder(list[PlainDevice]), msgspec.json.Encoder()  # type: ignore[valid-type]
    plain = plain_decoder.decode(data)
    text = data.decode()
    return {
        "ours": (lambda: decode(list[V3Device], data), lambda: encode(records)),
        "SDK model + json": (
            lambda: [SdkDevice.from_dictionary(each) for each in json.loads(data)],
            lambda: json.dumps([APIHelper.to_dictionary(each) for each in models], default=str),
        ),
        "SDK as its client does": (
            lambda: APIHelper.json_deserialize(text, SdkDevice.from_dictionary),
            lambda: APIHelper.json_serialize(models),
        ),
        "msgspec dictionaries": (
            lambda: msgspec.json.decode(data),
            lambda: msgspec.json.encode(dictionaries),
        ),
        "msgspec plain Structs": (lambda: plain_decoder.decode(data), lambda: plain_encoder.encode(plain)),
    }


def _measure(ways: dict[str, Way], rounds: int) -> dict[str, tuple[float, float, float]]:
    """Return the medians of decode, encode and both, in seconds; the ways take turns, the collector is on."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    gc.collect()
    for number in range(rounds + 1):
        for name, way in ways.items():
            if name.startswith("SDK") and number > SDK_ROUNDS:
                continue
            taken[name].append((_seconds(way[0]), _seconds(way[1])))
    warm = {name: each[1:] for name, each in taken.items()}
    return {
        name: (
            median(decoding for decoding, _ in each),
            median(encoding for _, encoding in each),
            median(decoding + encoding for decoding, encoding in each),
        )
        for name, each in warm.items()
    }


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    made = work()
    seconds = time.perf_counter() - started
    del made  # what it takes to free the result is nobody's codec
    return seconds


def _row(what: str, ours: float, name: str, theirs: float, target: Target | None) -> Row:
    return Row(what, f"{ours * 1000:.2f} ms", f"{name} {theirs * 1000:.2f} ms", theirs / ours, target)


def _record(index: int) -> V3Device:
    software = [V3SoftwareInfo(name="tracker", version="2.4", upgrade_time="2026-03-18T19:00:51.541Z")]
    return V3Device(
        device_id=fleet.imei(index),
        mdn=f"{2_025_550_000 + index}",
        model="AT-410",
        make="Acme Telematics",
        firmware=f"AT410-1.4.{index % 10}",
        fota_eligible=True,
        status="Active",
        license_assigned=index % 2 == 0,
        protocol="LWM2M",
        software_list=software if index % 3 == 0 else None,
        create_time="2024-11-04 16:21:09.412 +0000 UTC",
        status_time="2025-02-11 03:42:17.08 +0000 UTC",
        update_time="2025-06-20 09:15:44.301 +0000 UTC",
        refresh_time="2025-06-21 00:00:12.5 +0000 UTC",
        last_connection_time="2025-06-21T07:58:03.511Z",
    )
