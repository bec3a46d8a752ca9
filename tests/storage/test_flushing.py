"""Durability: what a flush promises, group commit, clean stops; on a disk that loses whatever was not synced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Disk
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.storage.flushing import GroupCommit
from blumfeld.storage.segment import Segment
from blumfeld.storage.snapshots import Snapshots
from tests.storage.builders import NOW, LogBench, batch, sized_batch

TOPIC_ID = bytes(range(16))
PATIENCE_S = 60
"""How long a sync may take, on a disk that is busy with something else."""


def faulty(seed: int) -> LogBench:
    disk = FaultyDisk(seed)
    disk.make_directories("/data")
    disk.sync_directory("/")
    bench = LogBench(disk, ManualClock(time_ms=NOW), "/data")
    return bench.configure(segment_bytes=4000, index_interval_bytes=500)


def power_cut(bench: LogBench) -> None:
    assert isinstance(bench.disk, FaultyDisk)
    bench.kill()
    bench.disk.crash()


@pytest.mark.parametrize("seed", range(40))
def test_what_was_flushed_survives_a_power_cut(seed: int) -> None:
    bench = faulty(seed)
    bench.open(topic_id=TOPIC_ID)
    for number in range(10 + seed % 7):
        data = sized_batch(600 + 37 * number, producer_id=1, producer_epoch=0, base_sequence=number)
        bench.append(data, epoch=number // 4)
    flushed = bench.log.flush()
    assert flushed == bench.log.recovery_point == bench.log.log_end_offset
    producer = bench.log.producers.by_id[1].as_tuple()
    epochs = bench.log.epochs.entries
    bench.fill(seed % 5)
    power_cut(bench)
    log = bench.open(recovery_point=flushed)
    found = bench.read_all()
    assert found == list(range(len(found)))
    assert len(found) >= flushed
    assert log.topic_id == TOPIC_ID
    assert log.epochs.entries[: len(epochs)] == epochs
    assert log.producers.by_id[1].as_tuple() == producer


@pytest.mark.parametrize("seed", range(40))
def test_after_a_clean_stop_a_power_cut_changes_nothing(seed: int) -> None:
    bench = faulty(seed)
    bench.fill(3 + seed % 9, epoch=2)
    bench.append(batch(b"a", producer_id=1, producer_epoch=0, base_sequence=0), epoch=4)
    if seed % 3 == 0:
        bench.log.truncate_to(3)
    end = bench.log.log_end_offset
    epochs = bench.log.epochs.entries
    bench.log.close()
    assert bench.log.home.error is None
    power_cut(bench)
    log = bench.open(clean=True)
    assert log.log_end_offset == end
    assert log.epochs.entries == epochs
    assert bench.read_all() == list(range(end))
    assert bench.append().base_offset == end


@pytest.mark.parametrize("seed", range(20))
def test_a_partial_flush_keeps_what_is_below_it(seed: int) -> None:
    bench = faulty(seed)
    bench.fill(12)
    assert bench.log.flush(8) == 8
    power_cut(bench)
    bench.open(recovery_point=8)
    assert bench.read_all()[:8] == list(range(8))


def test_flushing_twice_syncs_once(bench: LogBench) -> None:
    bench.fill(3)
    assert bench.log.flush() == 3
    before = bench.log.epochs_written
    assert bench.log.flush() == 3
    assert bench.log.flush(99) == 3
    assert bench.log.epochs_written == before


def test_a_failed_flush_takes_the_directory_offline() -> None:
    bench = faulty(1)
    bench.fill(3)
    assert isinstance(bench.disk, FaultyDisk)
    bench.disk.inject(5, operation="sync", times=None)
    with pytest.raises(OSError, match="Input/output"):
        bench.log.flush()
    assert bench.log.recovery_point == 0
    assert bench.log.offline
    with pytest.raises(OSError, match="Input/output"):
        bench.log.flush()


def test_a_truncation_that_overtakes_a_flush_is_no_disk_error(bench: LogBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot that the flush is about to sync goes with the segment that began there."""
    bench.configure(segment_bytes=4000)
    bench.fill(10)
    path, cuts = Snapshots.path, [3]

    def cut_first(self: Snapshots, offset: int) -> str:
        if cuts:
            bench.log.truncate_to(cuts.pop())
        return path(self, offset)

    monkeypatch.setattr(Snapshots, "path", cut_first)
    bench.log.flush()
    assert not cuts
    assert bench.log.home.error is None
    assert bench.log.flush() == bench.log.recovery_point == 3
    bench.append()


def test_a_stop_cleans_up(bench: LogBench) -> None:
    bench.configure(segment_bytes=4000)
    bench.fill(10)
    bench.log.close()
    assert bench.names() == [
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
        "00000000000000000004.index",
        "00000000000000000004.log",
        "00000000000000000004.snapshot",
        "00000000000000000004.timeindex",
        "00000000000000000008.index",
        "00000000000000000008.log",
        "00000000000000000008.snapshot",
        "00000000000000000008.timeindex",
        "00000000000000000010.snapshot",
        "leader-epoch-checkpoint",
    ]
    assert bench.disk.size(f"{bench.directory}/00000000000000000008.index") == 0
    assert bench.disk.size(f"{bench.directory}/00000000000000000008.timeindex") == 12


def test_a_log_that_was_never_written_to_leaves_no_more_than_its_first_file(bench: LogBench) -> None:
    bench.open(topic_id=TOPIC_ID)
    bench.restart(topic_id=TOPIC_ID)
    assert bench.names() == ["00000000000000000000.log", "partition.metadata"]


# Group commit.
class GatedDisk:
    """A disk whose data files sync only when let through; counts the syncs."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.gate = threading.Semaphore(0)
        self.syncs = 0
        self.waiting = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)

    def open(self, path: str, **options: Any) -> Any:
        file = self._disk.open(path, **options)
        if not path.endswith(".log"):
            return file
        return _GatedFile(file, self)


class _GatedFile:
    def __init__(self, file: Any, disk: GatedDisk) -> None:
        self._file = file
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def sync(self) -> None:
        self._disk.waiting.set()
        assert self._disk.gate.acquire(timeout=PATIENCE_S)
        self._disk.syncs += 1
        self._file.sync()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_all_that_wait_share_a_sync(
    disk: Disk, clock: ManualClock, tmp_path: Any, executor: ThreadPoolExecutor
) -> None:
    gated = GatedDisk(disk)
    disk.make_directories(str(tmp_path))
    bench = LogBench(gated, clock, str(tmp_path))
    commit = GroupCommit(executor)
    bench.fill(1)
    first = commit.request(bench.log, 1)
    assert gated.waiting.wait(PATIENCE_S)
    later = []
    for number in range(2, 12):
        bench.fill(1)
        later.append(commit.request(bench.log, number))
    assert not first.done()
    gated.gate.release(2)
    assert first.result(PATIENCE_S) == 1, "the sync that was under way when they came does not count for the others"
    assert [future.result(PATIENCE_S) for future in later] == [11] * 10
    assert gated.syncs == 2
    assert commit.request(bench.log, 11).done()
    bench.stop()


def test_waiters_hear_of_a_failure(executor: ThreadPoolExecutor) -> None:
    bench = faulty(1)
    commit = GroupCommit(executor)
    bench.fill(1)
    assert isinstance(bench.disk, FaultyDisk)
    bench.disk.inject(5, operation="sync", times=None)
    with pytest.raises(OSError, match="Input/output"):
        commit.request(bench.log, 1).result(PATIENCE_S)


def test_who_gives_up_waiting_does_not_hold_up_the_others(
    disk: Disk, clock: ManualClock, tmp_path: Any, executor: ThreadPoolExecutor
) -> None:
    gated = GatedDisk(disk)
    disk.make_directories(str(tmp_path))
    bench = LogBench(gated, clock, str(tmp_path))
    commit = GroupCommit(executor)
    bench.fill(1)
    first = commit.request(bench.log, 1)
    assert gated.waiting.wait(PATIENCE_S)
    assert not first.cancel(), "its flush is under way"
    bench.fill(2)
    given_up, patient = commit.request(bench.log, 2), commit.request(bench.log, 3)
    assert given_up.cancel()
    gated.gate.release(3)
    assert (first.result(PATIENCE_S), patient.result(PATIENCE_S)) == (1, 3)
    bench.fill(1)
    assert commit.request(bench.log, 4).result(PATIENCE_S) == 4
    bench.stop()


def test_a_flush_that_began_within_a_truncation_says_nothing_of_what_came_after(
    disk: Disk, clock: ManualClock, tmp_path: Any, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw the old end: what is appended up to there later is not flushed."""
    gated = GatedDisk(disk)
    disk.make_directories(str(tmp_path))
    bench = LogBench(gated, clock, str(tmp_path))
    gated.gate.release()
    bench.fill(10)
    bench.log.flush()
    bench.fill(2)
    gated.waiting.clear()
    cut, flushes = Segment.truncate_to, []

    def flush_first(self: Segment, offset: int) -> int:
        flushes.append(executor.submit(bench.log.flush))
        assert gated.waiting.wait(PATIENCE_S)
        return cut(self, offset)

    monkeypatch.setattr(Segment, "truncate_to", flush_first)
    bench.log.truncate_to(4)
    gated.gate.release(2)
    flushes[0].result(PATIENCE_S)
    assert bench.log.recovery_point == bench.log.log_end_offset == 4
    bench.fill(8)
    assert bench.log.recovery_point == 4
    assert bench.log.flush() == 12
    bench.stop()


def test_appends_go_on_while_a_flush_runs(bench: LogBench, executor: ThreadPoolExecutor) -> None:
    commit = GroupCommit(executor)
    bench.configure(segment_bytes=20_000)
    futures = []
    for number in range(200):
        bench.append(sized_batch(500))
        futures.append((number + 1, commit.request(bench.log, number + 1)))
    for offset, future in futures:
        assert future.result(PATIENCE_S) >= offset
    assert bench.read_all() == list(range(200))
