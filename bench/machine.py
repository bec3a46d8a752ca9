"""Whether the machine was ours while something was measured: the share of its CPU time that others took. Linux only.

Others are all processes but this one, its children that are named, and what the hypervisor gives to other machines.
The kernel's own threads count as others, though some of them write our pages back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from bench.peers.processes import cpu_seconds

T = TypeVar("T")

DISTURBED = 0.15
"""What others may take of all processors before a measurement counts as disturbed."""
LOOK_S = 0.5
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Machine:
    """Watches over measurements.

    Args:
        patience_s: how long to wait for a quiet moment before each measurement, and to spend on repeating it.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.measured = 0
        self.disturbed = 0

    def undisturbed(self, measure: Callable[[], T], pids: Collection[int] = ()) -> T:
        """What `measure` returns, once it ran undisturbed, or when patience has ended.

        Args:
            measure: may be called several times.
            pids: our processes that run before, during and after it. (Those that it starts and ends count as ours.)
        """
        deadline = time.monotonic() + self._patience_s
        while True:
            while time.monotonic() < deadline and self._share_of_others(_look, pids)[0] > DISTURBED:
                pass
            share, value = self._share_of_others(measure, pids)
            if share <= DISTURBED or time.monotonic() >= deadline:
                self.measured += 1
                self.disturbed += share > DISTURBED
                return value

    def _share_of_others(self, do: Callable[[], T], pids: Collection[int]) -> tuple[float, T]:
        started, busy, own = time.perf_counter(), _busy_seconds(), _own_seconds(pids)
        value = do()
        elapsed = (time.perf_counter() - started) * (os.cpu_count() or 1)
        return (_busy_seconds() - busy - (_own_seconds(pids) - own)) / elapsed, value

    def __str__(self) -> str:
        return (
            f"{self.disturbed} of {self.measured} measurements were disturbed:"
            f" others took more than {DISTURBED:.0%} of the machine"
        )


def _look() -> None:
    time.sleep(LOOK_S)


def _own_seconds(pids: Collection[int]) -> float:
    ours = os.times()
    return ours.user + ours.system + ours.children_user + ours.children_system + sum(map(cpu_seconds, pids))


def _busy_seconds() -> float:
    """CPU time that all have used since the machine was started: user, nice, system, irq, softirq, steal."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return sum(int(fields[n]) for n in (1, 2, 3, 6, 7, 8)) / _TICKS_PER_SECOND
