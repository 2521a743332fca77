"""``overair status``: what the status page says, in a terminal."""

from pathlib import Path
from typing import Any

import click

from overair.cli.common import (
    asynchronous,
    data_options,
    json_option,
    print_fields,
    print_json,
    print_table,
)
from overair.cli.operator import ask, url_option


@click.command()
@json_option
@url_option
@data_options
@asynchronous
async def command(as_json: bool, url: str, data: Path, database_url: str | None) -> None:  # noqa: ARG001
    """Show how the running service is doing: jobs, attempts, callbacks that wait, campaigns that go on."""
    from overair.doors.operator.status import StatusRecord

    status = await ask(data, url, "GET", "/v1/status", StatusRecord)
    if as_json:
        print_json(status)
        return
    print_fields(_figures(status))
    _section(
        f"Campaigns that go on: {status.campaign_count}",
        ("CAMPAIGN", "ACCOUNT", "STATUS", "DONE", "A MINUTE", "DEVICES"),
        [_campaign(each) for each in status.campaigns],
    )
    _section(
        "Jobs",
        ("JOB", "RUNS", "LAST RUN", "FAILURES", "LAST ERROR"),
        [
            (each.name, each.runs, each.last_run_time or "-", each.failures, each.last_error or "-")
            for each in status.jobs
        ],
    )
    _section(
        "Callbacks that wait",
        ("ACCOUNT", "VERSION", "URL", "WAITING"),
        [(each.account_name, each.version, each.url, each.waiting) for each in status.listeners],
    )


def _figures(status: Any) -> dict[str, object]:
    figures: dict[str, object] = {
        "version": status.version,
        "time": status.time,
        "registered devices": status.registrations,
        "attempts": status.attempts,
        "images on their way": status.transfers,
        "writes that wait": status.write_backlog,
        "callbacks delivered": status.callbacks_delivered,
    }
    if status.sandbox_ahead_seconds is not None:
        figures["sandbox"] = f"{status.sandbox_ahead_seconds} s ahead"
    return figures


def _campaign(each: Any) -> tuple[object, ...]:
    counts = ", ".join(f"{count} {name}" for name, count in each.counts.items())
    done = f"{each.done} of {each.total}"
    return each.id, each.account_name, each.status, done, each.per_minute, counts or "-"


def _section(title: str, headings: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    click.echo(f"\n{title}")
    if rows:
        print_table(headings, rows)
    else:
        click.echo("none")
