"""What the commands on campaigns take: days, windows, and devices from a file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from overair.campaigns.model import Window
from overair.platform.clock import DAY_MS
from overair.records import RecordError
from overair.records.times import parse_d

AnyHour = Literal["any"]
ANY_HOUR: AnyHour = "any"

IMEI_COLUMN = "imei"


class DayType(click.ParamType[int]):
    """A date; gives days since 1970."""

    name = "YYYY-MM-DD"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_d(str(value)) // DAY_MS
        except RecordError:
            self.fail(f"{value!r} is no date, as in 2026-07-31", param, ctx)


class WindowType(click.ParamType[Window | AnyHour]):
    """Hours of the day in UTC, ``1-5``; or ``any``."""

    name = "HOUR-HOUR"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Window | AnyHour:
        if isinstance(value, Window):
            return value
        if value == ANY_HOUR:
            return ANY_HOUR
        start, dash, end = str(value).partition("-")
        if not (dash and _is_hour(start) and _is_hour(end) and int(start) < int(end)):
            self.fail(f"{value!r} is no hours of the day in UTC, as in 1-5, nor {ANY_HOUR!r}", param, ctx)
        return Window(int(start), int(end))


class ImeiType(click.ParamType[str]):
    """An IMEI; its check digit is not looked at (quirks.md Q30)."""

    name = "IMEI"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        imei = str(value)
        if not _is_imei(imei):
            self.fail(f"{imei!r} is no IMEI: 15 digits", param, ctx)
        return imei


class DevicesFileType(click.ParamType[list[str]]):
    """A file with an IMEI a line; or CSV, with a first line in which a column is called ``imei``."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        try:
            with Path(value).open(encoding="utf-8-sig", errors="replace", newline="") as opened:
                return _imeis(list(csv.reader(opened)))
        except (ValueError, csv.Error) as error:
            self.fail(f"{value}, {error}", param, ctx)
        except OSError as error:
            self.fail(f"{value}: {error.strerror}", param, ctx)


def windows_of(given: Sequence[Window | AnyHour]) -> tuple[Window, ...]:
    """Return the windows that were given; none for ``any``. A usage error for both."""
    windows = tuple(each for each in given if isinstance(each, Window))
    if windows and len(windows) < len(given):
        raise click.UsageError(f"--window {ANY_HOUR} goes alone")
    return windows


def _imeis(lines: Sequence[Sequence[str]]) -> list[str]:
    column = 0
    headings = [cell.strip().lower() for cell in lines[0]] if lines else []
    if IMEI_COLUMN in headings:
        column = headings.index(IMEI_COLUMN)
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        cell = line[column].strip() if column < len(line) else ""
        if not any(line) or (number == 1 and IMEI_COLUMN in headings):
            continue
        if not _is_imei(cell):
            raise ValueError(f"line {number}: {cell!r} is no IMEI: 15 digits")
        found.append(cell)
    return found


def _is_imei(text: str) -> bool:
    return len(text) == 15 and text.isascii() and text.isdigit()


def _is_hour(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= 24
