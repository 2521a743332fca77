"""Worlds that are closed when their test is over."""

from collections.abc import Callable, Iterator

import pytest

from .world import World


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(licenses: int = 3, subscriptions: str = "mrc") -> World:
        worlds.append(World(licenses, subscriptions))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
