"""What a process uses, from /proc: memory and CPU time. Linux only."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    return _status_mib(pid, "VmRSS")


def peak_resident_mib(pid: int) -> float:
    """The most resident memory that a process has had, in MiB."""
    return _status_mib(pid, "VmHWM")


def _status_mib(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no {name}")


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used; it advances in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def cpu_percent(pid: int, seconds: float) -> float:
    """The share of one core that a process uses while we sleep for `seconds`."""
    before, started = cpu_seconds(pid), time.perf_counter()
    time.sleep(seconds)
    return 100 * (cpu_seconds(pid) - before) / (time.perf_counter() - started)
