"""A measured figure beside its baseline, and the table that is printed of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

HEADINGS = ("figure", "measured", "baseline", "ratio", "target", "")


@dataclass(frozen=True)
class Target:
    """What a ratio (or, without a baseline, the figure) is to be; *unit* is empty for a ratio."""

    side: Literal["at least", "at most"]
    bound: float
    unit: str = ""

    def reached(self, value: float) -> bool:
        """Whether *value* keeps it."""
        return value >= self.bound if self.side == "at least" else value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.side == "at least" else "<="
        return f"{sign} {self.bound:g}{self.unit or ' x'}"


@dataclass(frozen=True)
class Row:
    """A line of the table. ``ratio`` is None where the figure itself, in ``value``, is held to the target."""

    figure: str
    measured: str
    baseline: str = ""
    ratio: float | None = None
    target: Target | None = None
    value: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the columns of :data:`HEADINGS` as text."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} x"
        if self.target is None:
            return self.figure, self.measured, self.baseline, ratio, "", ""
        held = self.value if self.ratio is None else self.ratio
        verdict = "reached" if held is not None and self.target.reached(held) else "MISSED"
        return self.figure, self.measured, self.baseline, ratio, str(self.target), verdict


def render(title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """Return the table as text, one line a row."""
    table = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    return "\n".join([f"## {title}", "", *(line.rstrip() for line in lines), *notes, ""])


def thousands(per_second: float) -> str:
    """Return a rate as ``12.3 k/s``."""
    return f"{per_second / 1000:.1f} k/s"
