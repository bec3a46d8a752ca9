"""A report line by line: what is timed, and how it compares with its goal.

Owns what seconds are and which figures missed their goals.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from bench.figures import MISSED, Goal

missed: list[str] = []
timer: Callable[[], float] = time.perf_counter
"""What seconds are: the wall's, or this process's own on the processors (`--cpu`), where others use the machine too."""


def timed(work: Callable[[], object], repetitions: int = 3) -> float:
    """Seconds of the best repetition."""
    best = float("inf")
    for _ in range(repetitions):
        gc.collect()
        begun = timer()
        work()
        best = min(best, timer() - begun)
    return best


def say(name: str, value: float, unit: str, goal: Goal | None = None, note: str = "") -> None:
    """One line of the report; what misses its goal is remembered for the exit code."""
    verdict = "" if goal is None else goal.judge(value, None)
    if verdict == MISSED:
        missed.append(name)
    bar = note if goal is None else f"must be {goal}: {verdict}"
    print(f"{name:58} {value:12,.2f} {unit:10} {bar}".rstrip(), flush=True)
