"""``overair db``."""

from pathlib import Path

import click

from overair.cli.common import data_options


@click.group()
def command() -> None:
    """The database."""


@command.command()
@data_options
def upgrade(data: Path, database_url: str | None) -> None:
    """Bring the database to the form that this version needs. Stop the service and back it up first."""
    from overair.platform.database import Database, DatabaseError, embedded_url
    from overair.platform.database import upgrade as run_migrations
    from overair.platform.database.migrate import current_revision

    try:
        engine = Database(database_url or embedded_url(data)).engine
    except DatabaseError as error:
        raise click.ClickException(str(error)) from error
    before = current_revision(engine)
    run_migrations(engine)
    after = current_revision(engine)
    click.echo(f"already at {after}" if before == after else f"{before or 'empty'} → {after}")
