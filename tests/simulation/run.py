"""Running one seed: the world, then what must hold of it."""

from __future__ import annotations

import random as random_module
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .invariants import check
from .loop import run_world
from .plan import Plan, draw
from .trace import tell
from .world import World, temporary_folder


class Restless(Exception):
    """A world that did not come to rest in the time that it had: somebody turns in circles."""


class _Enough(KeyboardInterrupt):
    """Of the few exceptions that lead out of a loop, whoever runs just then."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed. `broken` is empty if all held."""

    seed: int
    digest: str
    broken: tuple[str, ...]
    told: str = field(repr=False)


def run_seed(seed: int, *, tell_all: bool = False, patience_seconds: int = 0) -> Outcome:
    """Run the world of a seed and check it. :class:`Restless` after so many seconds of computing, if any."""
    return run_plan(draw(seed), tell_all=tell_all, patience_seconds=patience_seconds)


def run_plan(plan: Plan, *, tell_all: bool = False, patience_seconds: int = 0) -> Outcome:
    """Run the world of a plan and check it."""
    before = signal.signal(signal.SIGPROF, _lose_patience)
    signal.setitimer(signal.ITIMER_PROF, patience_seconds)
    try:
        with temporary_folder() as folder:
            random = random_module.Random(f"chance {plan.seed}")
            return run_world(lambda: _run(plan, Path(folder), tell_all), random)
    except _Enough:
        raise Restless(f"seed {plan.seed}: the world does not come to rest") from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


async def _run(plan: Plan, folder: Path, tell_all: bool) -> Outcome:
    world = World(plan, folder)
    with world.chronicle.written():
        try:
            await world.run()
            await check(world)
        finally:
            await world.close()
    broken = tuple(world.chronicle.broken)
    return Outcome(plan.seed, world.digest, broken, tell(world, all_devices=tell_all))


def _lose_patience(*_: Any) -> None:
    raise _Enough
