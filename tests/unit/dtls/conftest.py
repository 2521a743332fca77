"""The fixtures that make worlds."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from overair.protocols.dtls import DtlsLimits, DtlsParameters, Server

from .world import IDENTITY, KEY, KeyRing, World


@pytest.fixture
def make_world() -> Callable[..., World]:
    def make(*, limits: DtlsLimits | None = None, seed: int = 1, **parameters: object) -> World:
        keys = KeyRing({IDENTITY: (KEY,)})
        server = Server(
            keys=keys,
            random=random.Random(seed).randbytes,
            parameters=DtlsParameters(**parameters),
            limits=limits,
        )
        return World(server, keys)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
