"""Pre-shared keys of simulated devices, and the file they come from (spec lwm2m.md 10.2).

The file is the CSV that ``overair device import`` reads: of its columns only `imei`, `psk_identity` and
`psk_key` (hexadecimal) are looked at.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

IDENTITY_BYTES_MAX: Final = 128
KEY_BYTES_MAX: Final = 64
ROWS_MAX: Final = 1_000_000
COLUMNS: Final = ("imei", "psk_identity", "psk_key")


class PskError(Exception):
    """A key, or a file of keys, that cannot be used; the text names the line and the field, never a key."""


class Psk(Struct, frozen=True, gc=False):
    """What a device proves itself by: 1 to 128 bytes of identity, 1 to 64 bytes of key."""

    identity: bytes
    key: bytes

    def __post_init__(self) -> None:
        if not 1 <= len(self.identity) <= IDENTITY_BYTES_MAX:
            raise PskError(f"psk_identity: must be 1 to {IDENTITY_BYTES_MAX} bytes")
        if not 1 <= len(self.key) <= KEY_BYTES_MAX:
            raise PskError(f"psk_key: must be 1 to {KEY_BYTES_MAX} bytes")

    def __repr__(self) -> str:
        return f"Psk({self.identity!r})"


def parse_key(text: str) -> bytes:
    """Return the bytes of a key in hexadecimal. PskError, without the text: it may be a key after all."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise PskError("psk_key: must be hexadecimal, two digits a byte") from None


def read_keys(file: Path) -> dict[str, Psk]:
    """Return the keys of a file by IMEI; rows that have neither identity nor key are passed over.

    PskError names the first line that is wrong; OSError if the file can't be read.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return _read(lines)
    except UnicodeDecodeError as error:
        raise PskError(f"{file.name}: not UTF-8 text (byte {error.start})") from None


def _read(lines: Iterable[str]) -> dict[str, Psk]:
    reader = csv.reader(lines, strict=True)
    keys: dict[str, Psk] = {}
    try:
        where = _columns(next(reader, []))
        for cells in reader:
            _take_row(cells, where, keys)
    except (csv.Error, PskError) as wrong:
        raise PskError(f"line {max(reader.line_num, 1)}: {wrong}") from None
    return keys


def _columns(header: list[str]) -> list[int]:
    """Return where the columns stand."""
    names = [name.strip().lower() for name in header]
    for column in COLUMNS:
        if names.count(column) != 1:
            raise PskError(f"the first line must name the column {column} once")
    return [names.index(column) for column in COLUMNS]


def _take_row(cells: list[str], where: list[int], keys: dict[str, Psk]) -> None:
    if len(cells) <= max(where):
        if any(cell.strip() for cell in cells):
            raise PskError(f"{len(cells)} cells are too few")
        return
    imei, identity, key = (cells[index].strip() for index in where)
    if not identity and not key:
        return
    if len(keys) >= ROWS_MAX:
        raise PskError(f"at most {ROWS_MAX} devices")
    if not imei or imei in keys:
        raise PskError(f"imei {imei[:15]}: stands twice" if imei else "imei: missing")
    for column, cell in (("psk_identity", identity), ("psk_key", key)):
        if not cell:
            raise PskError(f"{column}: missing")
    keys[imei] = Psk(identity.encode(), parse_key(key))
