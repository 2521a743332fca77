"""What the tests of packages share."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from overair.platform.database import Database, upgrade
from overair.platform.database.database import engine_for

from .world import World, open_world


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that is copied for each test: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "overair.db"
    engine = engine_for(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
async def world(migrated: Path, tmp_path: Path) -> AsyncIterator[World]:
    database_path = shutil.copy(migrated, tmp_path / "overair.db")
    async with Database(f"sqlite:///{database_path}") as database:
        yield await open_world(database, tmp_path)
