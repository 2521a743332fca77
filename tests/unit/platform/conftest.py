"""A database with one table."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table

from overair.platform.database import Database
from overair.platform.database.database import engine_for


@pytest.fixture
def notes() -> Table:
    return Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("text", String))


@pytest.fixture
def path(tmp_path: Path, notes: Table) -> Path:
    path = tmp_path / "overair.db"
    engine = engine_for(f"sqlite:///{path}")
    notes.metadata.create_all(engine)
    engine.dispose()
    return path


@pytest.fixture
def stored(path: Path) -> Callable[[], list[int]]:
    """What another process sees: the ids of the committed notes, in the order of their writing."""

    def read() -> list[int]:
        connection = sqlite3.connect(path)
        try:
            return [row[0] for row in connection.execute("SELECT id FROM notes ORDER BY rowid")]
        finally:
            connection.close()

    return read


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{path}") as database:
        yield database
