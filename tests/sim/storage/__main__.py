"""Run seeds of the storage simulation and say what happened in them.

python -m tests.sim.storage --seeds 300            seeds 0 … 299, a table of what happened at the end
python -m tests.sim.storage --seed 42              one seed again
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.sim.storage.world import STEPS, SimulationFailure, World

MUST_HAPPEN = ("crash", "roll", "truncate", "compact")
"""What has to occur in at least 5 % of the seeds."""
_CHUNK = 20


def run_seeds(first: int, count: int, steps: int = STEPS) -> tuple[Counter[str], list[str]]:
    """Run seeds; in how many of them each thing happened, and the failures."""
    happened: Counter[str] = Counter()
    failures: list[str] = []
    for seed in range(first, first + count):
        world = World(seed, steps)
        try:
            world.run()
        except SimulationFailure as failure:
            failures.append(f"{failure}\n{traceback.format_exc()}")
        happened.update(world.counts.keys())
    return happened, failures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.storage", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds to run")
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each seed")
    parser.add_argument("--workers", type=int, default=1, help="processes to share the work")
    options = parser.parse_args()
    first, count = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    began = time.monotonic()
    happened: Counter[str] = Counter()
    failures: list[str] = []
    chunks = [(start, min(_CHUNK, first + count - start)) for start in range(first, first + count, _CHUNK)]
    with ProcessPoolExecutor(options.workers) as workers:
        jobs = [workers.submit(run_seeds, start, size, options.steps) for start, size in chunks]
        for job in jobs:
            found, failed = job.result()
            happened.update(found)
            failures += failed
            for failure in failed:
                print(failure.partition("\n")[0], flush=True)
    seconds = time.monotonic() - began
    print(f"{count} seeds of {options.steps} steps in {seconds:.1f} s, {len(failures)} failures")
    for what, seeds in sorted(happened.items()):
        print(f"  {what:<36} in {100 * seeds / count:5.1f} % of seeds")
    for failure in failures[:3]:
        print("\n" + failure)
    rare = [what for what in MUST_HAPPEN if count >= 100 and happened[what] < count * 0.05]
    if rare:
        print(f"too rare: {rare}")
    return 1 if failures or rare else 0


if __name__ == "__main__":
    sys.exit(main())
