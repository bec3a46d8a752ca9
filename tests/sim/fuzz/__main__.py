"""Fuzz a broker process.

python -m tests.sim.fuzz --frames 100000           one run with a seed of the clock's
python -m tests.sim.fuzz --frames 100000 --seed 7  the same frames again (their order of arrival may differ)
python -m tests.sim.fuzz --controller              against the controller listener of one node of three
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.sim.fuzz.run import Defect, fuzz, fuzz_controller


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="how many mutants to send")
    parser.add_argument("--seed", type=int, default=None, help="the seed of chance")
    parser.add_argument("--controller", action="store_true", help="a controller listener instead of a broker's")
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="blumfeld-fuzz-") as scratch:
        try:
            if options.controller:
                tally = fuzz_controller(options.frames, seed)
            else:
                tally = fuzz(options.frames, seed, Path(scratch) / "data")
        except Defect as defect:
            print(defect)
            return 1
    print(f"seed {seed}: {tally}\n  {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
