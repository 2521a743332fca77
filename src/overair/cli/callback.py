"""``overair callback``: where messages go, how they are signed, and what became of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overair.cli.common import (
    asynchronous,
    data_options,
    json_option,
    open_services,
    print_fields,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from overair.callbacks.model import Version

LOG_ITEMS = 50

account_option = click.option("--account", required=True, metavar="NAME", help="Whose callbacks.")


@click.group()
def command() -> None:
    """Callbacks (webhooks): an account registers URLs through the API."""


@command.command(name="list")
@account_option
@json_option
@data_options
@asynchronous
async def list_(account: str, as_json: bool, data: Path, database_url: str | None) -> None:
    """List the callback URLs of an account, and how many messages wait for each."""
    async with open_services(data, database_url) as services:
        account_id = (await services.accounts.account(account)).id
        rows = [_standing(standing) for standing in await services.callbacks.standings(account_id)]
    if as_json:
        print_json(rows)
    else:
        headings = ("VERSION", "URL", "WAITING", "CREATED", "CHANGED")
        print_table(headings, [list(row.values()) for row in rows])


@command.command()
@account_option
@click.option(
    "--version", type=click.Choice(["v1", "v2", "v3"]), default="v3", show_default=True, help="Of the API."
)
@json_option
@data_options
@asynchronous
async def show(account: str, version: "Version", as_json: bool, data: Path, database_url: str | None) -> None:
    """Show a callback URL with the secret that its messages are signed with."""
    async with open_services(data, database_url) as services:
        account_id = (await services.accounts.account(account)).id
        shown = await services.callbacks.show(account_id, version)
    fields = {"version": shown.listener.version, "url": shown.listener.url, "secret": shown.secret}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


@command.command()
@account_option
@click.option(
    "--limit", type=click.IntRange(min=1), default=LOG_ITEMS, show_default=True, help="How many at most."
)
@json_option
@data_options
@asynchronous
async def log(account: str, limit: int, as_json: bool, data: Path, database_url: str | None) -> None:
    """List the attempts to deliver messages of an account, newest first."""
    async with open_services(data, database_url) as services:
        account_id = (await services.accounts.account(account)).id
        rows = [_logged(line) for line in await services.callbacks.log(account_id, limit)]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("TIME", "MESSAGE", "TYPE", "SUBJECT", "STATE", "ATTEMPT", "OUTCOME", "MS"),
            [
                (
                    row["time"], row["id"], row["type"], row["subject"], row["state"], row["attempt"],
                    row.get("status", row.get("error", "")), row["durationMs"],
                )
                for row in rows
            ],
        )  # fmt: skip


def _standing(standing: Any) -> dict[str, object]:
    from overair.records.times import format_t2

    listener = standing.listener
    return {
        "version": listener.version,
        "url": listener.url,
        "waiting": standing.waiting,
        "createTime": format_t2(listener.created_ms),
        "updateTime": format_t2(listener.changed_ms),
    }


def _logged(line: Any) -> dict[str, object]:
    from overair.records.times import format_t2

    attempt, answer = line.attempt, line.attempt.answer
    row: dict[str, object] = {
        "time": format_t2(attempt.started_ms),
        "id": line.uid,
        "version": line.version,
        "type": line.type,
        "subject": line.subject,
        "state": line.state,
        "attempt": attempt.number,
        "durationMs": attempt.duration_ms,
    }
    outcome = {"status": answer.status, "error": answer.error}
    return row | {name: value for name, value in outcome.items() if value is not None}
