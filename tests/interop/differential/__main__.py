"""The transcript of one broker, or of two and their differences.

python -m tests.interop.differential HOST:PORT                 what it answers, as JSON
python -m tests.interop.differential KAFKA:PORT OURS:PORT      where they differ, as rows for docs/compatibility.md
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.interop.differential.compare import differences, rows, unexplained
from tests.interop.differential.play import play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interop.differential", description=__doc__)
    parser.add_argument("address", nargs="+", help="host:port of a broker just started, node id 1")
    parser.add_argument("--only", default="", help="sections whose name contains this")
    parser.add_argument("--all", action="store_true", help="also the differences that the table has")
    options = parser.parse_args()
    transcripts = [play(address, options.only) for address in options.address[:2]]
    if len(transcripts) == 1:
        json.dump(transcripts[0], sys.stdout, indent=1)
        return 0
    found = differences(*transcripts)
    new, stale = unexplained(found, rows())
    for difference in found if options.all else new:
        print(difference)
    for row in stale if not options.only else []:
        print(f"no such difference: {row}")
    print(f"{len(transcripts[0])} steps, {len(found)} differences, {len(new)} of them not in the table")
    return int(bool(new))


if __name__ == "__main__":
    sys.exit(main())
