"""Firmware packages of API v3 (spec api-v3.md 4.1)."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from overair.records.fields import T2


class V3Firmware(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A firmware package that devices of the account can be upgraded with (GET /firmware/{acc})."""

    firmware_name: Annotated[str, Meta(description="Unique name of the package")]
    firmware_from: Annotated[str, Meta(description="Version that a device must have")]
    firmware_to: Annotated[str, Meta(description="Version that it has afterwards")]
    launch_date: Annotated[T2, Meta(description="Date of release")]
    release_note: Annotated[str, Meta(description="May be empty")]
    model: str
    make: str
    # Other spellings of the protocols than elsewhere (quirks.md Q4, Q39).
    protocol: Literal["LWM2M", "OMD-DM"]
