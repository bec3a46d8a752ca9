"""Run seeds of the cluster simulation and say what happened in them.

python -m tests.sim.cluster --seeds 300           seeds 0 … 299, a table of faults at the end
python -m tests.sim.cluster --seed 42             one seed again
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter

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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.cluster", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds to run")
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps before healing")
    options = parser.parse_args()
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
