"""Options that the benchmarks beside Apache Kafka have in common."""

from __future__ import annotations

import argparse


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add them: `alone`, `range`, `patience`."""
    parser.add_argument("--alone", action="store_true", help="leave Apache Kafka out")
    parser.add_argument("--range", action="store_true", help="print smallest and largest values too")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait, for each measurement, for a moment in which no one else uses the machine",
    )
