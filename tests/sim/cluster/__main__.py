"""Run seeds of the cluster simulation and say what happened in them.

python -m tests.sim.cluster --seeds 300           seeds 0 … 299, a table of faults at the end
python -m tests.sim.cluster --seed 42             one seed again
python -m tests.sim.cluster --plants              in which seed each planted bug is found first (of 1,000)
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from typing import Any

from tests.sim.cluster.plants import PLANTS
from tests.sim.cluster.world import FAULTS, HAPPENINGS, STEPS, World


def run_seed(seed: int, steps: int = STEPS) -> tuple[World | None, str]:
    """Run one seed; the world, or why it failed."""
    try:
        return World(seed, steps).run(), ""
    except Exception:
        return None, traceback.format_exc()


def run_seeds(first: int, count: int, steps: int = STEPS) -> tuple[Counter[str], int, list[tuple[int, str]]]:
    """Run seeds; in how many of them each thing happened, steps in all, and failures."""
    happened: Counter[str] = Counter()
    total_steps = 0
    failures: list[tuple[int, str]] = []
    for seed in range(first, first + count):
        world, failure = run_seed(seed, steps)
        if world is None:
            failures.append((seed, failure))
            continue
        happened.update(world.counts.keys())
        total_steps += world.step
    return happened, total_steps, failures


class _Patches:
    """`plants.Patcher` that can take everything back."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def setattr(self, target: Any, name: str, value: Any) -> None:
        self._undo.append((target, name, getattr(target, name)))
        setattr(target, name, value)

    def take_back(self) -> None:
        for target, name, value in reversed(self._undo):
            setattr(target, name, value)


def find_plants(limit: int = 1_000) -> int:
    """Print the first seed that finds each planted bug; how many were not found."""
    missed = 0
    for plant in PLANTS:
        patches = _Patches()
        plant(patches)
        found = next((seed for seed in range(limit) if run_seed(seed)[0] is None), None)
        patches.take_back()
        said = "not found"
        if found is not None:
            said = f"seed {found}"
            if run_seed(found)[0] is None:
                found, said = None, f"{said} fails without it too"
        missed += found is None
        print(f"  {plant.__name__:<36} {said}", flush=True)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.cluster", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds to run")
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps before healing")
    parser.add_argument("--plants", action="store_true", help="look for planted bugs instead")
    options = parser.parse_args()
    if options.plants:
        return find_plants()
    first, count = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    began = time.monotonic()
    happened, steps, failures = run_seeds(first, count, options.steps)
    print(f"{count} seeds, {steps} steps, {time.monotonic() - began:.1f} s")
    for what in (*FAULTS, *HAPPENINGS):
        print(f"  {what:<24} in {100 * happened[what] / count:5.1f} % of seeds")
    for seed, failure in failures[:5]:
        print(f"\nseed {seed} failed; replay: python -m tests.sim.cluster --seed {seed}\n{failure}")
    if failures:
        print(f"{len(failures)} of {count} seeds failed: {[seed for seed, _ in failures[:50]]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
