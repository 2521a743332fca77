"""Alembic from within the program: ``overair db upgrade``, and ``serve`` on an empty database."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaError(Exception):
    """The database has not the tables that this version needs; the message says what to do."""


def current_revision(engine: Engine) -> str | None:
    """Return the revision of the database, None when it is empty."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str | None:
    """Return the newest revision that this version knows."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def upgrade(engine: Engine) -> None:
    """Bring the database to this version's revision; does nothing when it is there already."""
    command.upgrade(_config(engine), "head")


def check_schema(engine: Engine) -> None:
    """Create the tables in an empty database; raise :class:`SchemaError` when an upgrade is owed.

    An existing database is never migrated behind its owner's back.
    """
    revision, head = current_revision(engine), head_revision()
    if revision is None:
        upgrade(engine)
    elif revision != head:
        raise SchemaError(
            f"the database is at revision {revision}, this version needs {head}: "
            "back it up, then run 'overair db upgrade'"
        )


def _config(engine: Engine | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    return config
