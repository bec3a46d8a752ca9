"""Fixtures of the storage tests: every story runs on a real disk and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Disk, RealDisk
from blumfeld.env.memory_disk import MemoryDisk
from tests.storage.builders import LogBench


@pytest.fixture(params=["real", "memory"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return RealDisk() if request.param == "real" else MemoryDisk()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time_ms=1_700_000_000_000)


@pytest.fixture
def bench(disk: Disk, clock: ManualClock, tmp_path: Path) -> Iterator[LogBench]:
    """A place to open, kill and reopen one log."""
    root = str(tmp_path)
    disk.make_directories(root)
    bench = LogBench(disk, clock, root)
    yield bench
    bench.stop()
