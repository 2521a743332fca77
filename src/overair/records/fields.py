"""The kinds of field that the records share, each with its bound and the words for breaking it.

A kind carries two sorts of rule. What msgspec can test at the price of a comparison it tests while it
decodes. The full form of a time costs a regular expression a field, and those of a device together cost
four times the rest of its decoding; so the pattern stands in the schema for readers, the decoder tests the
length, and ``parse`` enforces the form in `overair.records.check`.
"""

from typing import Annotated, Literal

from msgspec import Meta

from overair.records.errors import DEVICE_ID_RULE, PROTOCOL_RULE, T1_RULE, T2_RULE
from overair.records.times import T1_PATTERN, T2_PATTERN, parse_t1, parse_t2

MAX_ENTRIES = 1000
"""Entries of any list (spec api-v3.md 1, Limits)."""

MAX_SECRET_CHARACTERS = 1024
"""User names, passwords: a bound on what is hashed (ours, none is published)."""

_DEVICE_ID_PATTERN = "^[0-9]{15}$"

DeviceId = Annotated[
    str,
    Meta(
        pattern=_DEVICE_ID_PATTERN,
        max_length=15,
        description="IMEI, 15 digits",
        extra={"rule": DEVICE_ID_RULE, "digits": True},
    ),
]

RowDeviceId = Annotated[
    str,
    Meta(
        min_length=15,
        max_length=15,
        description="IMEI, 15 digits",
        extra_json_schema={"pattern": _DEVICE_ID_PATTERN},
        extra={"rule": DEVICE_ID_RULE, "digits": True},
    ),
]
"""`DeviceId` of a record that comes by the thousand, and tests the digits in its `__post_init__`."""

T1 = Annotated[
    str,
    Meta(
        min_length=29,
        max_length=39,
        extra_json_schema={"pattern": T1_PATTERN},
        extra={"rule": T1_RULE, "parse": parse_t1},
    ),
]

T2 = Annotated[
    str,
    Meta(
        min_length=20,
        max_length=30,
        extra_json_schema={"pattern": T2_PATTERN},
        extra={"rule": T2_RULE, "parse": parse_t2},
    ),
]

Protocol = Annotated[
    Literal["LWM2M", "OMADM", "HTTP", "NONE"],
    Meta(description="How the device is managed", extra={"rule": PROTOCOL_RULE}),
]

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]

Secret = Annotated[str, Meta(min_length=1, max_length=MAX_SECRET_CHARACTERS)]

DeviceIds = Annotated[
    list[DeviceId],
    Meta(min_length=1, max_length=MAX_ENTRIES, description="IMEIs"),
]
"""The list of devices of a request."""
