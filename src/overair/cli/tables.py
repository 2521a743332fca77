"""Tables that change while one looks at them."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

# Heading, width, and the share of the rest of the line for those without one.
COLUMNS = (
    ("DEVICE", 15, None),
    ("MODEL", None, 4),
    ("FIRMWARE", None, 3),
    ("SOFTWARE", None, 3),
    ("READ", 8, None),
)
ROWS_MAX = 40  # what fits a screen; the rest is counted


def device_table(devices: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of V3AccountDevice records."""
    rows = list(devices)
    title = f"{len(rows)} devices"
    table = Table(title=title, box=None, title_justify="left", pad_edge=False, expand=True)
    for heading, width, ratio in COLUMNS:
        table.add_column(heading, no_wrap=True, width=width, ratio=ratio)
    for device in rows[:ROWS_MAX]:
        software = ", ".join(f"{entry['name']} {entry['version']}" for entry in device["softwareList"])
        refreshed = device.get("refreshTime", "")
        table.add_row(
            device["deviceId"],
            f"{device['make']} {device['model']}".strip() or "-",
            device["firmware"] or "-",
            software or "-",
            refreshed[11:19] or "-",
            style=None if refreshed else "dim",
        )
    if len(rows) > ROWS_MAX:
        table.add_row(f"… {len(rows) - ROWS_MAX} more")
    return table
