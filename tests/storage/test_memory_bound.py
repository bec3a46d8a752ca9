"""A broker in memory at its bound: refused before anything is written, said once, and well again when there is room."""

from __future__ import annotations

import logging

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.memory_bound import MemoryBound
from tests.storage.builders import NOW, LogBench, sized_batch

KIB = 1024


def bounded(room: int) -> tuple[LogBench, MemoryDisk]:
    """A log on a disk of memory that has room for so many more bytes."""
    disk = MemoryDisk(clock=ManualClock(time_ms=NOW))
    disk.make_directories("/data")
    bench = LogBench(disk, ManualClock(time_ms=NOW), "/data").configure(index_interval_bytes=1 << 20)
    log = bench.log
    log.home.memory = MemoryBound(disk.used_bytes + room, lambda: disk.used_bytes)
    return bench, disk


@pytest.mark.parametrize("compact", [False, True], ids=["fast path", "full path"])
def test_the_last_byte_fits_and_one_more_does_not(compact: bool) -> None:
    bench, _ = bounded(2 * KIB)
    bench.configure(cleanup_policy=("compact",) if compact else ("delete",))
    assert bench.try_append(sized_batch(KIB)).error is ErrorCode.NONE
    result = bench.try_append(sized_batch(KIB + 1))
    assert result.error is ErrorCode.KAFKA_STORAGE_ERROR
    assert "--data" in (result.message or "")
    assert bench.try_append(sized_batch(KIB)).error is ErrorCode.NONE
    assert bench.try_append(sized_batch(100)).error is ErrorCode.KAFKA_STORAGE_ERROR
    assert bench.read_all() == [0, 1]
    assert not bench.log.offline


def test_it_is_said_once_until_there_was_room_again(caplog: pytest.LogCaptureFixture) -> None:
    bench, disk = bounded(2 * KIB)
    assert bench.log.home.memory is not None
    with caplog.at_level(logging.WARNING):
        bench.append(sized_batch(2 * KIB))
        for _ in range(3):
            assert bench.try_append(sized_batch(KIB)).error is ErrorCode.KAFKA_STORAGE_ERROR
        assert len(caplog.records) == 1
        assert "--data DIR" in caplog.text
        assert "blumfeld.memory.max.bytes" in caplog.text
        bench.log.home.memory.max_bytes = disk.used_bytes * 2
        bench.append(sized_batch(100))
        bench.log.home.memory.max_bytes = disk.used_bytes
        assert bench.try_append(sized_batch(KIB)).error is ErrorCode.KAFKA_STORAGE_ERROR
    assert len(caplog.records) == 2


def test_coordinators_have_a_reserve_and_the_metadata_log_no_bound() -> None:
    bench, _ = bounded(0)
    bound = bench.log.home.memory
    assert bound is not None
    bound.max_bytes = 8 * KIB
    used = bound._used_bytes()
    room = 8 * KIB - used
    assert not bound.refuses(room)
    assert bound.refuses(room + 1)
    assert not bound.refuses(room + KIB, reserve=True)
    assert bound.refuses(room + KIB + 1, reserve=True)
    log = bench.log
    bound.max_bytes = used
    batch = sized_batch(2 * KIB, leader_epoch=1)
    assert log.append_as_leader(batch, 1, now_ms=NOW, origin="raft").error is ErrorCode.NONE


def test_what_is_thrown_away_in_memory_goes_at_the_next_turn() -> None:
    bench, disk = bounded(0)
    home = bench.log.home
    before = disk.used_bytes
    disk.write_file_atomically("/data/old", bytes(5000))
    home.throw_away("/data/old", NOW + 60_000)
    assert home.empty_trash(NOW) == 1
    assert disk.used_bytes == before
