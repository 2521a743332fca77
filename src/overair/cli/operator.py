"""Asking the running service, by its operator API and with the token of its data directory."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0


def url_option(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``--url``: where the service is asked."""
    return click.option(
        "--url",
        metavar="URL",
        envvar="OVERAIR_URL",
        default="http://127.0.0.1:8080",
        show_default=True,
        help="Where the running service's HTTP door is.",
    )(function)


async def ask(data: Path, url: str, method: str, path: str, record_type: type[T], body: Any = None) -> T:
    """Make one call of the operator API, *path* below ``/operator``; what it refuses ends the command."""
    import httpx2

    from overair.doors.operator.token import kept_token

    token = await asyncio.to_thread(kept_token, data, os.environ)
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
            answer = await client.request(
                method,
                f"{url.rstrip('/')}/operator{path}",
                headers={"Authorization": f"Bearer {token}"},
                content=None if body is None else msgspec.json.encode(body),
            )
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = f"no service answers at {url}: is it running there? --url says where"
        raise click.ClickException(f"{reason} ({error or type(error).__name__})") from error
    if answer.status_code != 200:
        raise click.ClickException(_refusal(answer.status_code, answer.content, url, data))
    try:
        return msgspec.json.decode(answer.content, type=record_type)
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{url} is no Overair of this version: {error}") from error


def _refusal(status: int, content: bytes, url: str, data: Path) -> str:
    if status == 401:
        return (
            f"the service at {url} does not take the operator's token of {data}: is that its data directory?"
        )
    try:
        return str(msgspec.json.decode(content)["errorMessage"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"{url} answered with status {status}: is that the service's HTTP door?"
