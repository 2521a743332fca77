"""The marker `real_client("name")` and the fixture that starts clients."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from .install import CLIENTS
from .processes import ClientProcess

Launch = Callable[[ClientProcess], Awaitable[ClientProcess]]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose client is not installed; where CI is set, fails it."""
    for marker in item.iter_markers("real_client"):
        (name,) = marker.args
        reason = CLIENTS[name].missing()
        if reason is not None and os.environ.get("CI"):
            pytest.fail(f"{name} {reason}", pytrace=False)
        if reason is not None:
            pytest.skip(f"{name} {reason}")


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """Starts clients; at the end kills them and prints what they said: pytest shows it if the test failed."""
    started: list[ClientProcess] = []

    async def start(client: ClientProcess) -> ClientProcess:
        started.append(client)
        await client.start()
        return client

    yield start
    for client in started:
        await client.stop()
        print(client.transcript)
