"""Run seeds of the raft simulation and say what happened in them.

python -m tests.sim.raft --seeds 300            seeds 0 … 299, a table of faults at the end
python -m tests.sim.raft --seed 42              one seed again
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter

from tests.sim.raft.world import FAULTS, HAPPENINGS, World


def run_seed(seed: int, steps: int) -> tuple[World | None, str]:
    """Run one seed; the world, or why it failed."""
    try:
        return World(seed, steps).run(), ""
    except Exception:
        return None, traceback.format_exc()


def run_seeds(first: int, count: int, steps: int) -> tuple[Counter[str], int, int, list[tuple[int, str]]]:
    """Run seeds; in how many of them each thing happened, steps, committed records, and failures."""
    happened: Counter[str] = Counter()
    total_steps = committed = 0
    failures: list[tuple[int, str]] = []
    for seed in range(first, first + count):
        world, failure = run_seed(seed, steps)
        if world is None:
            failures.append((seed, failure))
            continue
        happened.update(world.counts.keys())
        total_steps += world.steps
        committed += world.invariants.committed_records
    return happened, total_steps, committed, failures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.raft", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds to run")
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=1_500, help="steps before healing")
    options = parser.parse_args()
    first, count = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    began = time.monotonic()
    happened, steps, committed, failures = run_seeds(first, count, options.steps)
    seconds = time.monotonic() - began
    print(f"{count} seeds, {steps} steps, {committed} offsets committed, {seconds:.1f} s")
    for what in (*FAULTS, *HAPPENINGS):
        print(f"  {what:<22} in {100 * happened[what] / count:5.1f} % of seeds")
    for seed, failure in failures[:5]:
        print(
            f"\nseed {seed} failed; replay: python -m tests.sim.raft --seed {seed} --steps {options.steps}\n{failure}"
        )
    if failures:
        print(f"{len(failures)} of {count} seeds failed: {[seed for seed, _ in failures[:50]]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
