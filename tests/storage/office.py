"""A log manager that is opened, killed and closed over the same directories, for the tests of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from blumfeld.config.sources import Config, Layer
from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Disk
from blumfeld.env.entropy import SeededEntropy
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.log import Log
from blumfeld.storage.manager import LogManager
from tests.storage.builders import offsets, sized_batch

CLUSTER = "cluster-of-the-tests"
ID_A, ID_B = bytes([0xA]) * 16, bytes([0xB]) * 16
MINUTE_MS = 60_000


class Inline(Executor):
    """Runs everything at once, in the caller's thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Late(Executor):
    """Runs what it was given when the test says so."""

    def __init__(self) -> None:
        self.given: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.given.append((future, partial(fn, *args, **kwargs)))
        return future

    def run(self) -> None:
        given, self.given = self.given, []
        for future, work in given:
            future.set_result(work())


class Office:
    """A manager that is opened, killed and closed over the same directories."""

    def __init__(self, disk: Disk, clock: ManualClock, *roots: str) -> None:
        self.disk = disk
        self.clock = clock
        self.roots = roots
        self.properties: dict[str, str] = {"log.dirs": ",".join(roots), "log.segment.bytes": str(1 << 20)}
        self.entropy = SeededEntropy(5)
        self.executor: Executor = Inline()
        self._manager: LogManager | None = None

    @property
    def manager(self) -> LogManager:
        if self._manager is None:
            self.open()
        assert self._manager is not None
        return self._manager

    def open(self, *, cluster_id: str = CLUSTER, node_id: int = 1) -> LogManager:
        config = Config([Layer("test", self.properties)])
        manager = LogManager(config, self.disk, self.clock, self.entropy, executor=self.executor)
        manager.open(cluster_id, node_id)
        self._manager = manager
        return manager

    def restart(self, broker_epoch: int = 7) -> LogManager:
        self.manager.close(broker_epoch)
        return self.open()

    def kill(self) -> LogManager:
        self.release()
        return self.open()

    def release(self) -> None:
        if self._manager is not None:
            self._manager.release()
        self._manager = None

    def turn(self, ms: int = 0) -> None:
        self.clock.advance(ms=ms)
        self.manager.turn(self.clock.time_ms())

    def file(self, name: str, root: int = 0) -> str:
        return self.disk.read_file(f"{self.roots[root]}/{name}").decode()


def fill(log: Log, count: int = 3, *, clock: ManualClock, size: int = 1000) -> None:
    data = bytes(sized_batch(size, timestamp=clock.time_ms()))
    for _ in range(count):
        assert log.append_as_leader(data, 1, now_ms=clock.time_ms()).error is ErrorCode.NONE


def everything(log: Log) -> list[int]:
    found: list[int] = []
    while len(records := log.read(found[-1] + 1 if found else log.log_start_offset, 1 << 20).records):
        found += offsets(records)
    return found
