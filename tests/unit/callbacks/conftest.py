"""Callbacks on SQLite, with a clock that a test moves."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from overair.callbacks.service import CallbackService
from overair.platform.clock import VirtualClock
from overair.platform.database import Database, upgrade
from overair.platform.database.database import engine_for
from overair.platform.limits import DEFAULT_LIMITS
from overair.platform.sealing import VARIABLE, Sealer


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path}/overair.db"
    engine = engine_for(made)
    upgrade(engine)
    engine.dispose()
    return made


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with Database(url) as database:
        yield database


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def callbacks(database: Database, clock: VirtualClock) -> CallbackService:
    return CallbackService(database, Sealer(Path("/nowhere"), {VARIABLE: "0f" * 32}), clock, DEFAULT_LIMITS)
