"""Attributes of devices: how they are kept, and what they say of the record (spec ddi.md, 2.2 and 10.2)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from overair.protocols.ddi.errors import Malformed, TooMany
from overair.protocols.ddi.records import ConfigData, text_of

ATTRIBUTES = 100
KEY_CHARACTERS = 128
VALUE_CHARACTERS = 128
LIST_CHARACTERS = 65_536
"""Of ``software_list``, which is a whole document in one value."""

SOFTWARE_LIST = "software_list"
_SOFTWARE, _FILE = (
    re.compile(r"sw[._](?!version$)(.+)", re.IGNORECASE),
    re.compile(r"file\.(.+)", re.IGNORECASE),
)
_ALIKE = re.compile(r"[-. ]")

IMEI_NAMES = ("imei", "device_imei", "modem_imei")
MDN_NAMES = ("mdn", "msisdn", "phone", "phone_number")
MAKE_NAMES = ("make", "manufacturer", "vendor", "oem", "brand")
MODEL_NAMES = ("model", "model_number", "device_model", "product", "board", "hw_model")
FIRMWARE_NAMES = (
    "firmware", "firmware_version", "fw_version", "fwver", "fw", "sw_version", "version", "os_version",
    "image_version",
)  # fmt: skip
# "Only if no other firmware name is present": so it comes after all of them.
_FIRMWARE_ORDER = (*[name for name in FIRMWARE_NAMES if name != "sw_version"], "sw_version")
_IN_RECORD = frozenset({*IMEI_NAMES, *MDN_NAMES, *MAKE_NAMES, *MODEL_NAMES, *FIRMWARE_NAMES, SOFTWARE_LIST})


class Description(Struct, frozen=True, kw_only=True):
    """What attributes say of a device; None where they say nothing."""

    imei: str | None = None
    mdn: str | None = None
    make: str | None = None
    model: str | None = None
    firmware: str | None = None
    software: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, str], ...] = ()


def merged(known: Mapping[str, str], said: ConfigData) -> dict[str, str]:
    """Return the attributes of a device after it said something of them.

    Raises :class:`Malformed` for one that is too long, :class:`TooMany` for too many.
    """
    news = {_key(name): text_of(value) for name, value in said.data.items()}
    if said.mode == "remove":
        return {name: value for name, value in known.items() if name not in news}
    for name, value in news.items():
        _check_value(name, value)
    after = news if said.mode == "replace" else {**known, **news}
    if len(after) > ATTRIBUTES:
        raise TooMany(f"{ATTRIBUTES} attributes at most")
    return after


def description(attributes: Mapping[str, str]) -> Description:
    """Return what attributes say of the record; the first name of a field that has a value counts."""
    said = {_alike(name): value.strip() for name, value in attributes.items()}
    return Description(
        imei=_first(said, IMEI_NAMES),
        mdn=_first(said, MDN_NAMES),
        make=_first(said, MAKE_NAMES),
        model=_first(said, MODEL_NAMES),
        firmware=_first(said, _FIRMWARE_ORDER),
        software=(*_named(attributes, _SOFTWARE), *_listed(said.get(SOFTWARE_LIST, ""))),
        files=_named(attributes, _FILE),
        others=tuple((name, value.strip()) for name, value in attributes.items() if _is_other(name)),
    )


def _key(name: str) -> str:
    if not 1 <= len(name) <= KEY_CHARACTERS:
        raise Malformed("data", f"names have 1 to {KEY_CHARACTERS} characters")
    return name


def _check_value(name: str, value: str) -> None:
    limit = LIST_CHARACTERS if _alike(name) == SOFTWARE_LIST else VALUE_CHARACTERS
    if len(value) > limit:
        raise Malformed(f"data.{name}", f"at most {limit} characters")


def _alike(name: str) -> str:
    return _ALIKE.sub("_", name.strip().lower())


def _first(said: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((said[name] for name in names if said.get(name)), None)


def _named(attributes: Mapping[str, str], form: re.Pattern[str]) -> tuple[tuple[str, str], ...]:
    found = ((form.fullmatch(name.strip()), value.strip()) for name, value in attributes.items())
    return tuple((match[1], value) for match, value in found if match is not None and value)


def _listed(document: str) -> tuple[tuple[str, str], ...]:
    """Return the entries of ``software_list``; none if it is not the document that it should be."""
    try:
        entries: list[Any] = msgspec.json.decode(document, type=list[Any]) if document else []
    except (msgspec.DecodeError, RecursionError):
        return ()
    return tuple(
        (entry["name"], entry["version"])
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("version"), str)
    )


def _is_other(name: str) -> bool:
    known = _alike(name) in _IN_RECORD
    return not known and not _SOFTWARE.fullmatch(name.strip()) and not _FILE.fullmatch(name.strip())
