"""``overair clock``: moves the time of a service that runs with ``--sandbox``."""

import re
from pathlib import Path

import click

from overair.cli.common import asynchronous, data_options, json_option, print_json
from overair.cli.operator import ask, url_option

_DURATION = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,8})m)?(?:(\d{1,9})s)?", re.ASCII)
_UNITS_SECONDS = (86_400, 3600, 60, 1)


class DurationType(click.ParamType[int]):
    """Days, hours, minutes and seconds, as in ``1d6h``; gives seconds."""

    name = "DURATION"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _DURATION.fullmatch(str(value))
        seconds = 0
        if found is not None:
            seconds = sum(
                int(count or 0) * unit for count, unit in zip(found.groups(), _UNITS_SECONDS, strict=True)
            )
        if not seconds:
            self.fail(f"{value!r} is no time to move ahead, as in 1d6h or 90m", param, ctx)
        return seconds


@click.group()
def command() -> None:
    """The clock of a sandbox, 'overair serve --sandbox'."""


@command.command()
@click.argument("duration", type=DurationType())
@json_option
@url_option
@data_options
@asynchronous
async def advance(duration: int, as_json: bool, url: str, data: Path, database_url: str | None) -> None:  # noqa: ARG001
    """Move the clock forward by DURATION, as in 1d6h. Never back.

    What is due then begins at once. What was only good for a while is over: tokens, sessions, and
    registrations of devices that were not renewed in that time.
    """
    from overair.doors.operator.clock import ClockRecord, ClockRequest

    moved = await ask(data, url, "POST", "/v1/clock", ClockRecord, ClockRequest(advance_seconds=duration))
    if as_json:
        print_json(moved)
    else:
        click.echo(f"It is {moved.time} now.")
