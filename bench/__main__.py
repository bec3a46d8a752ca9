"""`python -m bench [broker|topics|cluster|protocol|storage|all] [options]`: one benchmark, or several.

Without a name: all that the goals of one broker are about (broker, topics, protocol). Options go to the benchmark that
is named; `--help` after a name says which it has. Without a name, and with `all`, there are those that the benchmarks
beside Apache Kafka have in common: `--alone`, `--range`, `--patience SECONDS`.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from bench.options import add_common

BESIDE_KAFKA = ("broker", "topics", "cluster")
BY_THEMSELVES = ("protocol", "storage")
ONE_BROKER = ("broker", "topics", "protocol")


def run(name: str, arguments: list[str]) -> int:
    """Run one benchmark by name, as if it had been called by itself."""
    print(f"\n## {name}\n", flush=True)
    sys.argv = [f"bench {name}", *arguments]
    code: int | None = importlib.import_module(f"bench.{name}").main()
    return code or 0


def main(arguments: list[str]) -> int:
    """Run what is asked for; exit code."""
    name, rest = (arguments[0], arguments[1:]) if arguments and not arguments[0].startswith("-") else ("", arguments)
    if name in BESIDE_KAFKA + BY_THEMSELVES:
        return run(name, rest)
    if name not in ("", "all"):
        print(__doc__, file=sys.stderr)
        return 2
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    add_common(parser)
    parser.parse_args(rest)  # what is wrong is said before anything is measured
    names = ONE_BROKER if not name else BESIDE_KAFKA + BY_THEMSELVES
    return max(run(each, rest if each in BESIDE_KAFKA else []) for each in names)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
