"""Reading the CSV of ``overair device import``: every row is looked at, every fault is named."""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from overair.credentials.model import CredentialError, NewPsk
from overair.credentials.rules import checked_identity, default_identity, key_from_hex
from overair.devices.model import DeviceError, Provisioning, imei_number
from overair.devices.rules import normalise_mdn

COLUMNS = ("imei", "mdn", "make", "model", "firmware", "protocol", "psk_identity", "psk_key")
PROTOCOLS = {
    "LWM2M": "LWM2M", "HTTP": "HTTP", "OMADM": "OMADM", "OMA-DM": "OMADM", "OMD-DM": "OMADM", "NONE": "NONE",
}  # fmt: skip
TEXT_MAX = 255
ERRORS_MAX = 1000  # a file of the wrong kind has as many errors as lines
ROWS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One device of the file and the line it stands on."""

    line: int
    said: Provisioning
    psk: NewPsk | None


Errors = list[tuple[int, str]]
"""(line, what is wrong with it)."""


def read_devices(file: Path, advance: Callable[[int], None]) -> tuple[list[Row], Errors]:
    """Return the rows of a CSV file and what is wrong with it; *advance* gets the bytes as they are read."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return _read(_counted(lines, advance))
    except UnicodeDecodeError as error:
        return [], [(1, f"not UTF-8 text (byte {error.start})")]


def _counted(lines: Iterable[str], advance: Callable[[int], None]) -> Iterator[str]:
    for line in lines:
        advance(len(line.encode()))
        yield line


def _read(lines: Iterator[str]) -> tuple[list[Row], Errors]:
    reader = csv.reader(lines, strict=True)
    rows: list[Row] = []
    errors: Errors = []
    first_seen: dict[int | bytes, int] = {}
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        errors += _header_errors(header)
        for cells in reader:
            if len(errors) >= ERRORS_MAX or (errors and not rows and reader.line_num == 2):
                break
            if not any(cell.strip() for cell in cells):
                continue
            try:
                row = _row(reader.line_num, header, cells)
                _check_once(row, first_seen)
                rows.append(row)
            except (CredentialError, DeviceError) as wrong:
                errors.append((reader.line_num, str(wrong)))
    except csv.Error as error:
        errors.append((reader.line_num, f"not CSV: {error}"))
    return rows, errors


def _header_errors(header: list[str]) -> Errors:
    if "imei" not in header:
        return [(1, f"the first line must name the columns: imei and any of {', '.join(COLUMNS[1:])}")]
    unknown = [name for name in header if name not in COLUMNS]
    twice = {name for name in header if header.count(name) > 1}
    errors = [(1, f"unknown column {name[:32]!r}; there are {', '.join(COLUMNS)}") for name in unknown]
    return errors + [(1, f"column {name[:32]!r} is there twice") for name in sorted(twice)]


def _row(line: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise DeviceError(f"{len(cells)} cells, but the first line names {len(header)} columns")
    said = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    for name, text in said.items():
        if len(text) > TEXT_MAX:
            raise DeviceError(f"{name}: at most {TEXT_MAX} characters")
    imei = imei_number(said.pop("imei", ""))
    psk = _psk(imei, said.pop("psk_identity", None), said.pop("psk_key", None))
    return Row(line, _provisioning(imei, said), psk)


def _psk(imei: int, identity: str | None, key: str | None) -> NewPsk | None:
    if key is None:
        if identity is not None:
            # A file of made-up keys would be the only place where they are.
            raise DeviceError("psk_key: must be given with a psk_identity; an import makes no keys")
        return None
    name = default_identity(imei) if identity is None else checked_identity(identity.encode())
    return NewPsk(imei, name, key_from_hex(key))


def _provisioning(imei: int, said: dict[str, str]) -> Provisioning:
    if "mdn" in said and normalise_mdn(said["mdn"]) is None:
        raise DeviceError(f"mdn {said['mdn'][:32]!r}: must be a phone number, digits only")
    protocol = said.pop("protocol", None)
    if protocol is not None and protocol.upper() not in PROTOCOLS:
        raise DeviceError(f"protocol {protocol[:32]!r}: must be one of lwm2m, http, omadm, none")
    return Provisioning(
        imei,
        protocol=PROTOCOLS[protocol.upper()] if protocol else None,  # type: ignore[arg-type]
        **said,
    )


def _check_once(row: Row, first_seen: dict[int | bytes, int]) -> None:
    before = first_seen.setdefault(row.said.imei, row.line)
    if before != row.line:
        raise DeviceError(f"IMEI {row.said.imei:015d}: stands on line {before} already")
    if row.psk is not None:
        before = first_seen.setdefault(row.psk.identity, row.line)
        if before != row.line:
            raise DeviceError(f"PSK identity: stands on line {before} already")
