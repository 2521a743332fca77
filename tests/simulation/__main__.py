"""``python -m tests.simulation``: run worlds of many seeds, two at a time, and tell of those that broke.

A seed that broke is shown with what broke and with the story of the devices concerned; ``--seed N --trace``
tells it of all devices. The exit code is 1 if anything broke.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from concurrent.futures import Future, ProcessPoolExecutor, as_completed

from .run import Outcome, run_seed

PROCESSES = 2
SHOWN = 5
"""Complaints of one seed; where one thing goes wrong the rest often follows."""
STORY_LINES = 120
SEED_SECONDS = 300
"""After that a world counts as one that does not come to rest."""


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument(
        "--trace", action="store_true", help="with --seed: tell what happened to every device"
    )
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _one(arguments.seed, trace=arguments.trace)
    return _many(range(arguments.first, arguments.first + arguments.seeds))


def _one(seed: int, *, trace: bool) -> int:
    outcome = run_seed(seed, tell_all=trace)
    _show(outcome, lines=None)
    print(f"seed {seed}: {outcome.digest[:16]}, {len(outcome.broken)} complaints")
    return 1 if outcome.broken else 0


def _many(seeds: range) -> int:
    begun = time.monotonic()
    broken: list[int] = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        running = {pool.submit(run_seed, seed, patience_seconds=SEED_SECONDS): seed for seed in seeds}
        for future in as_completed(running):
            outcome = _outcome(future, running[future])
            if outcome.broken:
                broken.append(outcome.seed)
                _show(outcome, lines=STORY_LINES)
    took = time.monotonic() - begun
    print(f"{len(seeds)} seeds from {seeds.start}, {took:.0f} s, broken: {sorted(broken) or 'none'}")
    return 1 if broken else 0


def _outcome(future: Future[Outcome], seed: int) -> Outcome:
    """Return what became of a seed; a world that ended in an exception is broken, too."""
    error = future.exception()
    if error is None:
        return future.result()
    return Outcome(seed, "", ("".join(traceback.format_exception(error)),), "")


def _show(outcome: Outcome, *, lines: int | None) -> None:
    if not outcome.broken and lines is not None:
        return
    print(f"=== seed {outcome.seed}: {len(outcome.broken)} complaints")
    for complaint in outcome.broken[:SHOWN]:
        print(f"    {complaint}")
    told = outcome.told.splitlines()
    print("\n".join(told[:lines]))
    if lines is not None and len(told) > lines:
        print(f"… {len(told) - lines} lines more: --seed {outcome.seed}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
