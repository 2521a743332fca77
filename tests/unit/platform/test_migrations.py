"""The schema: made, checked, upgraded, and the same as the code's."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import OperationalError

import overair.accounts.sql
import overair.callbacks.sql
import overair.campaigns.tables
import overair.credentials.sql
import overair.credentials.token_sql
import overair.devices.sql
import overair.doors.ddi.tables
import overair.licenses.sql
import overair.packages.sql  # noqa: F401 - tables join the metadata when their module is imported
from overair.platform.database import SchemaError, check_schema, metadata, upgrade
from overair.platform.database.database import engine_for
from overair.platform.database.migrate import MIGRATIONS, current_revision, head_revision


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = engine_for(f"sqlite:///{tmp_path}/overair.db")
    yield engine
    engine.dispose()


def config(engine: Engine) -> Config:
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.attributes["engine"] = engine
    return made


def revisions() -> list[str]:
    """All revisions, oldest first."""
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    return [script.revision for script in ScriptDirectory.from_config(made).walk_revisions()][::-1]


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_an_empty_database_is_brought_to_the_newest_revision(engine: Engine) -> None:
    assert current_revision(engine) is None
    check_schema(engine)
    assert current_revision(engine) == head_revision() == revisions()[-1]
    assert tables(engine) == {*metadata.tables, "alembic_version"}


def test_a_current_database_is_left_as_it_is(engine: Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO accounts (name, active, licenses, subscriptions, created_ms)"
            " VALUES ('1-1', 1, 0, '', 0)"
        )
    check_schema(engine)
    upgrade(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT name FROM accounts").all() == [("1-1",)]


@pytest.mark.parametrize("revision", revisions()[:-1])
def test_an_old_database_is_refused_until_its_owner_upgrades_it(engine: Engine, revision: str) -> None:
    command.upgrade(config(engine), revision)
    before = tables(engine)
    with pytest.raises(SchemaError, match=rf"revision {revision}.*overair db upgrade"):
        check_schema(engine)
    assert (current_revision(engine), tables(engine)) == (revision, before)
    upgrade(engine)
    check_schema(engine)
    assert current_revision(engine) == head_revision()


def test_a_database_of_another_version_is_refused(engine: Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="9999"):
        check_schema(engine)


def test_a_migration_that_fails_leaves_nothing_behind(engine: Engine, tmp_path: Path) -> None:
    """As in a crash half-way: what it made before is undone, and it can be run again."""
    *_, before, last = revisions()
    command.upgrade(config(engine), before)
    known = tables(engine)
    upgrade_to_see = engine_for(f"sqlite:///{tmp_path}/other.db")
    upgrade(upgrade_to_see)
    in_the_way = sorted(tables(upgrade_to_see) - known)[-1]
    upgrade_to_see.dispose()
    other = sqlite3.connect(tmp_path / "overair.db")
    other.execute(f"CREATE TABLE {in_the_way} (x INTEGER)")
    with pytest.raises(OperationalError, match="already exists"):
        upgrade(engine)
    assert tables(engine) == known | {in_the_way}
    assert current_revision(engine) == before
    other.execute(f"DROP TABLE {in_the_way}")
    other.close()
    upgrade(engine)
    assert current_revision(engine) == last


def test_the_code_and_the_migrations_agree(engine: Engine) -> None:
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_table_that_the_code_makes_is_the_migrated_one(engine: Engine, tmp_path: Path) -> None:
    """Column by column, what comparing leaves out: order, keys, and whether a row may lack a value."""
    upgrade(engine)
    made = engine_for(f"sqlite:///{tmp_path}/made.db")
    metadata.create_all(made)
    for table in metadata.tables:
        shapes = []
        for each in (engine, made):
            seen = inspect(each)
            columns = [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(table)]
            keys = seen.get_pk_constraint(table)["constrained_columns"]
            foreign = [(k["constrained_columns"], k["referred_table"]) for k in seen.get_foreign_keys(table)]
            indexes = sorted((i["name"] or "", i["column_names"]) for i in seen.get_indexes(table))
            shapes.append((columns, keys, foreign, indexes))
        assert shapes[0] == shapes[1], table
    made.dispose()
