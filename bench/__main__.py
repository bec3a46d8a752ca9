"""`python -m bench [broker|topics|cluster|protocol|storage|all] [options]`: one benchmark, or all of them.

Without a name: `broker`. Options go to the benchmark that is named; `--help` after a name says which it has. `all`
takes only `--alone`.
"""

from __future__ import annotations

import importlib
import sys

BESIDE_KAFKA = ("broker", "topics", "cluster")
BY_THEMSELVES = ("protocol", "storage")


def run(name: str, arguments: list[str]) -> int:
    """Run one benchmark by name, as if it had been called by itself."""
    print(f"\n## {name}\n", flush=True)
    sys.argv = [f"bench {name}", *arguments]
    code: int | None = importlib.import_module(f"bench.{name}").main()
    return code or 0


def main(arguments: list[str]) -> int:
    """Run what is asked for; exit code."""
    name, rest = (
        (arguments[0], arguments[1:]) if arguments and not arguments[0].startswith("--") else ("broker", arguments)
    )
    if name in BESIDE_KAFKA + BY_THEMSELVES:
        return run(name, rest)
    if name != "all":
        print(__doc__, file=sys.stderr)
        return 2
    codes = [run(each, rest) for each in BESIDE_KAFKA] + [run(each, []) for each in BY_THEMSELVES]
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
