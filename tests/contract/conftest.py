"""What the contract suites share: an empty database at this version's schema."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from overair.platform.database import Database, upgrade
from overair.platform.database.database import engine_for


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that is copied for each test: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "overair.db"
    engine = engine_for(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
def database_path(migrated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(migrated, tmp_path / "overair.db"))


@pytest.fixture
async def database(database_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{database_path}") as database:
        yield database
