"""Disks that fail: every call, at every point; the log stays consistent and says so."""

from __future__ import annotations

import errno

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.protocol.errors import ErrorCode
from tests.storage.builders import NOW, LogBench, batch, marker, sized_batch
from tests.storage.history import DIRECTORY, History

STORAGE_ERROR = ErrorCode.KAFKA_STORAGE_ERROR


def faulty(seed: int = 1, cold: float = 0.0) -> tuple[LogBench, FaultyDisk]:
    disk = FaultyDisk(seed, cold=cold)
    disk.make_directories("/data")
    disk.sync_directory("/")
    bench = LogBench(disk, ManualClock(time_ms=NOW), "/data")
    return bench.configure(segment_bytes=4000, index_interval_bytes=500), disk


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failed_append_is_an_error_and_leaves_nothing(code: int) -> None:
    bench, disk = faulty()
    bench.fill(2)
    disk.inject(code, operation="append", path=".log")
    data = batch(b"lost", producer_id=1, producer_epoch=0, base_sequence=0)
    result = bench.try_append(data, epoch=7)
    assert result.error is STORAGE_ERROR
    assert "offline" in (result.message or "")
    log = bench.log
    assert (log.log_end_offset, log.size, log.latest_epoch) == (2, 2000, 0)
    assert log.producers.by_id == {}
    disk.recover()
    bench.reopen()
    assert bench.read_all() == [0, 1]


def test_a_full_disk() -> None:
    bench, disk = faulty()
    disk.max_free_bytes = 10_500
    bench.configure(segment_bytes=1 << 20, segment_index_bytes=1024)
    while (result := bench.try_append(sized_batch(1000))).error is ErrorCode.NONE:
        pass
    assert result.error is STORAGE_ERROR
    assert bench.log.offline
    end = bench.log.log_end_offset
    disk.max_free_bytes = 1 << 30
    bench.reopen()
    assert bench.log.log_end_offset == end
    bench.append()


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_cut_off_never_comes_back_in_front_of_a_later_segment(killed: bool) -> None:
    """A truncation that is in the page cache only, perhaps a new process, a new segment, and a power cut."""
    for seed in range(300):
        bench, disk = faulty(seed)
        bench.append(sized_batch(1000))
        bench.log.flush()
        bench.append(sized_batch(900))
        bench.log.truncate_to(1)
        bench.append(sized_batch(700))
        if killed:
            bench.reopen(recovery_point=1)
        bench.log.roll()
        bench.append(sized_batch(800))
        disk.crash()
        bench.reopen(recovery_point=1)
        sizes = [len(data) for segment in bench.log.segments for _, _, data in segment.batches()]
        assert sizes in ([1000], [1000, 900], [1000, 700], [1000, 700, 800])


def test_an_offline_log_answers_everything_with_the_same_error() -> None:
    bench, disk = faulty()
    bench.fill(2)
    bench.commit()
    disk.inject(errno.EIO, operation="append")
    bench.try_append(batch())
    disk.recover()
    log = bench.log
    assert log.offline
    assert bench.try_append(batch()).error is STORAGE_ERROR
    assert bench.try_append(marker(commit=True, producer_id=1), origin="coordinator").error is STORAGE_ERROR
    assert log.append_as_follower(batch(base_offset=2)).error is STORAGE_ERROR
    assert bench.read(0).error is STORAGE_ERROR
    assert log.advance_log_start_offset(1) is STORAGE_ERROR
    log.close()
    assert disk.open_handles() == []


@pytest.mark.parametrize("operation", ["read_cached", "read_at"])
def test_a_failed_read_takes_the_directory_offline(operation: str) -> None:
    bench, disk = faulty(cold=1.0 if operation == "read_at" else 0.0)
    bench.fill(2)
    disk.inject(errno.EIO, operation=operation, path=".log")
    assert bench.read(0).error is STORAGE_ERROR
    assert bench.log.offline


def test_a_cold_read_that_nobody_waits_for_any_more_holds_nothing() -> None:
    bench, disk = faulty(cold=1.0)
    bench.fill(2)
    assert bench.log.read(0, 1000).cold is not None
    bench.log.abandon()
    assert disk.open_handles() == []


@pytest.mark.parametrize("loss", ["retention", "truncation", "deletion"])
def test_a_cold_read_whose_file_is_gone_before_it_begins_is_to_be_asked_again(loss: str) -> None:
    bench, _ = faulty(cold=1.0)
    bench.fill(12)
    bench.commit()
    log = bench.log
    first, last = log.read(0, 1000).cold, log.read(11, 1000).cold
    assert first is not None
    assert last is not None
    log.segments[0].data.close()
    if loss == "retention":
        log.delete_old_segments(lambda segment, _: segment.base_offset < 4, "test")
    elif loss == "truncation":
        log.truncate_and_start_at(100)
    else:
        log.deleted = True
        log.home.disk.remove_tree(log.directory)
    log.home.empty_trash(NOW + 100_000)
    result = first()
    assert (result.error, result.records, result.next_offset) == (ErrorCode.NONE, b"", 0)
    assert not log.offline
    assert bool(last().records) == (loss == "retention")


def test_a_failed_abort_entry_is_found_again_in_the_marker() -> None:
    bench, disk = faulty()
    bench.append(batch(b"a", producer_id=1, producer_epoch=0, base_sequence=0, transactional=True))
    disk.inject(errno.EIO, path=".txnindex")
    result = bench.try_append(marker(commit=False, producer_id=1), origin="coordinator")
    assert result.error is STORAGE_ERROR
    disk.recover()
    bench.reopen()
    bench.commit()
    assert bench.log.log_end_offset == 2
    assert [aborted.first_offset for aborted in bench.log.aborted_transactions(0, 2)] == [0]
    assert bench.log.last_stable_offset == 2


def work(bench: LogBench) -> None:
    """A little of everything; stops at the first disk error."""
    bench.open()
    for number in range(14):
        data = sized_batch(700, producer_id=1, producer_epoch=0, base_sequence=number, transactional=True)
        if bench.try_append(data, epoch=number // 5).error is not ErrorCode.NONE:
            return
        if number == 4 and bench.try_append(marker(commit=False, producer_id=1), origin="coordinator").error:
            return
    bench.commit()
    bench.log.flush(6)
    bench.read(3)
    bench.log.truncate_to(11)
    if bench.try_append(sized_batch(700)).error is not ErrorCode.NONE:
        return
    bench.commit()
    bench.log.delete_old_segments(lambda segment, following: segment.base_offset == 0, "test")
    bench.log.home.empty_trash(NOW + 10**9)
    bench.log.close()


def calls_of_the_work() -> int:
    bench, disk = faulty()
    never = disk.inject(errno.EIO, after=10**9)
    work(bench)
    return 10**9 - never.after


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_at_any_call_leaves_a_log_that_opens(code: int) -> None:
    total = calls_of_the_work()
    assert total > 50
    for number in range(total):
        bench, disk = faulty(number)
        disk.inject(code, after=number, times=None)
        try:
            work(bench)
        except OSError:
            pass
        except AssertionError as error:
            raise AssertionError(f"call {number}: {error}") from error
        bench.kill()
        assert disk.open_handles() == [], number
        disk.recover()
        bench.open()
        found = bench.read_all()
        assert found == list(range(bench.log.log_start_offset, bench.log.log_end_offset)), number
        bench.append(batch(b"next"))
        bench.stop()


def left_by_a_kill(number: int) -> tuple[LogBench, FaultyDisk, list[int]]:
    """A log that was killed: several segments, transactions, a torn end, files to be deleted; and its offsets."""
    bench, disk = faulty(number)
    bench.open(topic_id=bytes(range(16)))
    for sequence in range(12):
        data = sized_batch(900, producer_id=1, producer_epoch=0, base_sequence=sequence, transactional=sequence > 8)
        bench.append(data, epoch=sequence // 5)
    bench.append(marker(commit=False, producer_id=1), origin="coordinator")
    bench.commit()
    bench.log.flush(6)
    bench.log.delete_old_segments(lambda segment, _: segment.base_offset == 0, "test")
    offsets = bench.read_all()
    bench.kill()
    newest = max(name for name in bench.names() if name.endswith(".log"))
    file = disk.open(f"{bench.directory}/{newest}")
    file.append(b"torn")
    file.close()
    return bench, disk, offsets


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_at_any_call_of_a_recovery_loses_nothing(code: int) -> None:
    failed = 0
    for number in range(1_000):
        bench, disk, offsets = left_by_a_kill(number)
        disk.inject(code, after=number, times=None)
        try:
            bench.open(recovery_point=6)
        except OSError:
            failed += 1
        else:
            break
        finally:
            disk.recover()
        bench.kill()
        assert disk.open_handles() == [], number
        log = bench.open(recovery_point=6)
        assert bench.read_all() == offsets, number
        assert log.producers.by_id[1].last_sequence == 11, number
        assert [each.first_offset for each in log.aborted_transactions(0, 20)] == [9], number
        bench.stop()
    assert failed > 40
    assert bench.read_all() == offsets


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_at_any_call_of_a_compaction_loses_nothing(code: int) -> None:
    failed = 0
    for number in range(1_000):
        disk = FaultyDisk(number)
        history = History(disk=disk, index_interval_bytes=300)
        for count in range(60):
            history.put(f"k{count % 7}", "v" * 90, producer_id=count % 3)
        history.put("t", "aborted", producer_id=11, transactional=True)
        history.end(11, commit=False)
        history.roll()
        state = history.state()
        disk.inject(code, after=number, times=None)
        try:
            history.compact()
        except OSError:
            failed += 1
        else:
            break
        finally:
            disk.recover()
        history.reopen(clean=False)
        assert history.state() == state, number
        assert not [name for name in disk.list(DIRECTORY) if name.endswith((".cleaned", ".swap"))], number
        history.compact()
        assert history.state() == state, number
        assert history.offsets() == history.survivors(history.log.active.base_offset, tombstones=True), number
        history.log.abandon()
        assert disk.open_handles() == [], number
    assert failed > 50


@pytest.mark.parametrize("seed", range(10))
def test_indexes_that_were_built_again_survive_a_power_cut_whole(seed: int) -> None:
    """No scan would find out that they had lost their end."""
    bench, disk = faulty(seed)
    bench.configure(segment_bytes=3000, index_interval_bytes=0)
    for number in range(9):
        bench.append(sized_batch(900, timestamp=1_700_000_000_000 + number))
    times = [segment.max_timestamp for segment in bench.log.segments]
    bench.log.close()
    for name in bench.names():
        if name.endswith("index") and not name.startswith("00000000000000000006"):
            disk.remove(f"{bench.directory}/{name}")
    disk.sync_directory(bench.directory)
    bench.open(recovery_point=9)
    bench.kill()
    disk.crash()
    log = bench.open(recovery_point=9)
    assert [segment.max_timestamp for segment in log.segments] == times
    assert all(len(segment.offset_index.all()) == 2 for segment in log.segments[:-1])
    bench.stop()
