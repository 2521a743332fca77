"""What the commands share: where the data is, how results are printed, how errors end."""

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
import msgspec

if TYPE_CHECKING:
    from overair.core import Core

P = ParamSpec("P")
T = TypeVar("T")

Address = tuple[str, int]


class AddressType(click.ParamType[Address]):
    """``HOST:PORT``; IPv6 hosts in brackets."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65_535:
            self.fail(f"{value!r} is not HOST:PORT, as in 127.0.0.1:8080", param, ctx)
        return host.strip("[]"), int(port)


def data_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``--data`` and ``--database``: where accounts and devices are kept."""
    function = click.option(
        "--database",
        "database_url",
        metavar="URL",
        envvar="OVERAIR_DATABASE",
        help="Database URL [default: the SQLite file in the data directory].",
    )(function)
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("overair-data"),
        show_default=True,
        envvar="OVERAIR_DATA",
        help="Data directory.",
    )(function)


def json_option(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON with the API's field names.")(
        function
    )


def asynchronous(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an async command; what was refused ends with exit code 1 and its reason."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with refusing():
            return asyncio.run(function(*args, **kwargs))

    return run


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """End a command with exit code 1 and the reason why something was refused."""
    try:
        yield
    except Exception as error:
        if reason := _reason(error):
            raise click.ClickException(reason) from error
        raise


def _reason(error: Exception) -> str | None:
    """Return why a command was refused; None if the error is ours. Imported late, to keep commands quick."""
    from overair.accounts.errors import AccountError
    from overair.callbacks.model import CallbackError
    from overair.campaigns.model import CampaignError
    from overair.credentials.model import CredentialError
    from overair.devices.model import DeviceError
    from overair.doors.operator.token import OperatorTokenError
    from overair.packages.model import PackageError
    from overair.platform.clock import ClockError
    from overair.platform.database import DatabaseError, SchemaError
    from overair.platform.images import ImageError
    from overair.platform.sealing import MasterKeyError
    from overair.server import DoorError

    refused = (
        AccountError, CallbackError, CampaignError, ClockError, CredentialError, DatabaseError, DeviceError,
        DoorError, ImageError, MasterKeyError, OperatorTokenError, PackageError, SchemaError,
    )  # fmt: skip
    if isinstance(error, refused):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
    return None


@contextlib.asynccontextmanager
async def open_services(
    data: Path, database_url: str | None, *, images_url: str | None = None, require_signatures: bool = False
) -> AsyncIterator["Core"]:
    """Open the database directly; a service that runs on it meanwhile sees what is written."""
    from overair.core import Core, CoreSettings
    from overair.platform.clock import clock_of
    from overair.platform.database import Database, check_schema, embedded_url
    from overair.platform.limits import DEFAULT_LIMITS

    database = Database(database_url or embedded_url(data))
    await asyncio.to_thread(check_schema, database.engine)
    async with database:
        settings = CoreSettings(data, DEFAULT_LIMITS, images_url, require_signatures)
        yield Core(database, await asyncio.to_thread(clock_of, data), settings, enrol_account_id=None)


def print_json(value: object) -> None:
    """Print one JSON value: indented on a terminal, on one line elsewhere."""
    encoded = msgspec.json.encode(value)
    if sys.stdout.isatty():
        encoded = msgspec.json.format(encoded, indent=2)
    click.echo(encoded.decode())


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one thing, a line a field."""
    width = max(map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name:<{width}}  {value}")


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print many things, a line each, in columns."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    for row in [list(headings), *texts]:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
