"""Fuzz a broker process, and then a controller.

python -m tests.sim.fuzz --frames 100000           one run with a seed of the clock's
python -m tests.sim.fuzz --frames 100000 --seed 7  the same frames again (their order of arrival may differ)
python -m tests.sim.fuzz --only controller         only the controller listener of one node of three
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.sim.fuzz.run import Defect, Tally, fuzz, fuzz_controller

BROKER, CONTROLLER = "broker", "controller"
CONTROLLER_SHARE = 10
"""A controller has fewer APIs, and no records: of so many frames, it gets one as well."""


def run(listener: str, frames: int, seed: int) -> Tally:
    """Fuzz one kind of listener. Raises Defect."""
    if listener == CONTROLLER:
        return fuzz_controller(frames, seed)
    with tempfile.TemporaryDirectory(prefix="blumfeld-fuzz-") as scratch:
        return fuzz(frames, seed, Path(scratch) / "data")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="how many mutants to send to the broker")
    parser.add_argument("--seed", type=int, default=None, help="the seed of chance")
    parser.add_argument("--only", choices=(BROKER, CONTROLLER), help="one kind of listener instead of both in turn")
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    counts = {BROKER: options.frames, CONTROLLER: max(options.frames // CONTROLLER_SHARE, 1)}
    if options.only:
        counts = {options.only: options.frames}
    for listener, frames in counts.items():
        began = time.monotonic()
        try:
            tally = run(listener, frames, seed)
        except Defect as defect:
            print(defect)
            return 1
        print(f"{listener}, seed {seed}: {tally}\n  {time.monotonic() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
