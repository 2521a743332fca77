"""Running one seed: the world, then what must hold of it."""

from __future__ import annotations

import random as random_module
from dataclasses import dataclass, field
from pathlib import Path

from .invariants import check
from .loop import run_world
from .plan import draw
from .trace import tell
from .world import World, temporary_folder


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed. `broken` is empty if all held."""

    seed: int
    digest: str
    broken: tuple[str, ...]
    told: str = field(repr=False)


def run_seed(seed: int) -> Outcome:
    """Run a world and check it."""
    with temporary_folder() as folder:
        return run_world(lambda: _run(seed, Path(folder)), random_module.Random(f"chance {seed}"))


async def _run(seed: int, folder: Path) -> Outcome:
    world = World(draw(seed), folder)
    with world.chronicle.written():
        try:
            await world.run()
            await check(world)
        finally:
            await world.close()
    broken = tuple(world.chronicle.broken)
    return Outcome(seed, world.digest, broken, tell(world))
