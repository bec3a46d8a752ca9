"""Truncation: what a follower drops, and what is left."""

from __future__ import annotations

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.faulty_disk import FaultyDisk
from tests.storage.builders import NOW, LogBench, batch, keeps_deleted_files, sized_batch


def test_batches_at_and_behind_the_offset_go(bench: LogBench) -> None:
    bench.fill(10)
    bench.commit()
    assert bench.log.truncate_to(6)
    log = bench.log
    assert (log.log_end_offset, log.high_watermark, log.size) == (6, 6, 6000)
    assert bench.read_all() == list(range(6))
    assert bench.append().base_offset == 6


def test_a_batch_that_holds_the_offset_goes_whole(bench: LogBench) -> None:
    bench.append(batch(count=5))
    bench.append(batch(count=5))
    bench.log.truncate_to(7)
    assert bench.log.log_end_offset == 5
    assert bench.read_all() == list(range(5))


def test_into_a_gap(bench: LogBench) -> None:
    bench.follow(batch(b"a", base_offset=0))
    bench.follow(batch(b"b", base_offset=20))
    bench.log.truncate_to(10)
    assert bench.log.log_end_offset == 1, "where the records end, not in the gap"
    assert bench.read_all() == [0]
    bench.follow(batch(b"b", base_offset=20))
    assert bench.read_all() == [0, 20]


@pytest.mark.parametrize(("offset", "end"), [(1, 1), (10, 1), (20, 1), (21, 21), (22, 21), (30, 21), (31, 31)])
@pytest.mark.parametrize("index_interval_bytes", [0, 4096])
def test_a_cut_behind_a_gap_lowers_what_was_flushed_to_where_the_log_ends(
    bench: LogBench, offset: int, end: int, index_interval_bytes: int
) -> None:
    bench.configure(index_interval_bytes=index_interval_bytes)
    for base, value in ((0, b"a"), (20, b"b"), (30, b"c"), (31, b"d")):
        bench.follow(batch(value, base_offset=base))
    bench.log.flush()
    lowered: list[int] = []
    bench.log.home.before_truncation = lambda log, offset: lowered.append(offset)
    bench.log.truncate_to(offset)
    assert (bench.log.log_end_offset, bench.log.recovery_point, lowered) == (end, end, [end])
    bench.reopen(recovery_point=lowered[0])
    assert bench.log.log_end_offset == end


def test_segments_behind_the_offset_go(bench: LogBench) -> None:
    bench.configure(segment_bytes=3000, index_interval_bytes=500)
    bench.fill(20)
    bench.log.truncate_to(7)
    assert [segment.base_offset for segment in bench.log.segments] == [0, 3, 6]
    assert bench.read_all() == list(range(7))
    assert min(name for name in bench.names() if name.endswith(".log.deleted")) == "00000000000000000009.log.deleted"
    bench.fill(5)
    assert bench.read_all() == list(range(12))
    bench.log.home.empty_trash(NOW + 59_999)
    assert any(name.endswith(".deleted") for name in bench.names()) is keeps_deleted_files(bench.disk)
    bench.log.home.empty_trash(NOW + 60_000)
    assert not any(name.endswith(".deleted") for name in bench.names())
    assert bench.read_all() == list(range(12))


@pytest.mark.parametrize("offset", [0, 3, 6])
def test_at_the_base_of_a_segment_an_empty_one_stays(bench: LogBench, offset: int) -> None:
    bench.configure(segment_bytes=3000)
    bench.fill(10)
    bench.log.truncate_to(offset)
    assert bench.log.active.base_offset == offset
    assert bench.log.active.size == 0
    bench.fill(2)
    assert bench.read_all() == list(range(offset + 2))


def test_beyond_the_end_only_epochs_change(bench: LogBench) -> None:
    bench.append(epoch=1)
    bench.log.assign_epoch(4, 1)
    assert not bench.log.truncate_to(1)
    assert not bench.log.truncate_to(99)
    assert bench.log.epochs.entries == [(1, 0)]
    assert bench.log.latest_epoch == 1


def test_epochs_that_began_behind_the_offset_go(bench: LogBench) -> None:
    for epoch in (1, 1, 3, 4):
        bench.append(epoch=epoch)
    bench.log.truncate_to(3)
    assert bench.log.epochs.entries == [(1, 0), (3, 2)]
    assert bench.log.latest_epoch == 3


def test_producers_are_as_they_were_at_the_offset(bench: LogBench) -> None:
    bench.configure(segment_bytes=250)
    for sequence in range(10):
        bench.append(batch(b"a", producer_id=1, producer_epoch=0, base_sequence=sequence))
    for offset in (9, 8, 5, 3, 1):
        bench.log.truncate_to(offset)
        assert bench.log.producers.by_id[1].last_sequence == offset - 1
        assert all(snapshot <= offset for snapshot in bench.log.snapshots.offsets)
    bench.log.truncate_to(0)
    assert bench.log.producers.by_id == {}
    bench.append(batch(b"a", producer_id=1, producer_epoch=0, base_sequence=77))


def test_below_the_first_segment_the_log_starts_anew(bench: LogBench) -> None:
    bench.log.truncate_and_start_at(10)
    bench.fill(3)
    bench.log.truncate_to(5)
    log = bench.log
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark) == (5, 5, 5)
    assert bench.append().base_offset == 5


def test_starting_at_an_offset(bench: LogBench) -> None:
    bench.configure(segment_bytes=3000)
    bench.fill(10, epoch=2)
    bench.commit()
    bench.log.truncate_and_start_at(1000)
    log = bench.log
    assert (log.log_start_offset, log.high_watermark, log.log_end_offset) == (1000, 1000, 1000)
    assert log.epochs.entries == []
    assert [segment.base_offset for segment in log.segments] == [1000]
    assert bench.append().base_offset == 1000
    bench.reopen()
    assert bench.log.log_start_offset == 1000
    assert bench.read_all() == [1000]


def test_starting_where_a_segment_begins(bench: LogBench) -> None:
    bench.fill(3)
    bench.log.truncate_and_start_at(0)
    assert bench.log.size == 0
    assert bench.append().base_offset == 0
    bench.reopen()
    assert bench.read_all() == [0]


def test_the_recovery_point_is_lowered_with_the_log(bench: LogBench) -> None:
    bench.fill(10)
    bench.log.flush()
    lowered: list[tuple[str, int]] = []
    bench.log.home.before_truncation = lambda log, offset: lowered.append((log.topic_partition, offset))
    bench.log.truncate_to(4)
    assert bench.log.recovery_point == 4
    assert lowered == [("topic-0", 4)]
    bench.fill(3)
    assert bench.log.recovery_point == 4
    bench.log.flush()
    assert bench.log.recovery_point == 7


def test_a_flush_that_a_truncation_overtakes_does_not_move_the_recovery_point(bench: LogBench) -> None:
    bench.fill(10)
    log = bench.log
    data = log.active.data
    file = data.use()

    class Overtaken:
        """The file, with a truncation that happens while it is being synced."""

        def sync(self) -> None:
            file.sync()
            data.file = file
            log.truncate_to(3)

        def close(self) -> None:
            file.close()

    data.file = Overtaken()  # type: ignore[assignment]  # only `sync` is called
    log.flush()
    assert (log.log_end_offset, log.recovery_point) == (3, 0)
    log.flush(2)
    assert log.recovery_point == 2, "what is below it was synced, by a flush that began afterwards"


@pytest.mark.parametrize("stop", ["restart", "reopen"])
def test_after_a_truncation_the_log_opens_as_it_was(bench: LogBench, stop: str) -> None:
    bench.configure(segment_bytes=3000, index_interval_bytes=500)
    bench.fill(10, epoch=1)
    bench.log.truncate_to(5)
    bench.fill(4, epoch=2)
    getattr(bench, stop)()
    assert bench.log.log_end_offset == 9
    assert bench.log.epochs.entries == [(1, 0), (2, 5)]
    assert bench.read_all() == list(range(9))


@pytest.mark.parametrize("seed", range(30))
def test_a_crash_within_a_truncation_leaves_no_hole(seed: int) -> None:
    """Truncate, fail at some disk call, crash: what is left is a prefix of what was, at least what should stay."""
    disk = FaultyDisk(seed)
    disk.make_directories("/data")
    disk.sync_directory("/")
    bench = LogBench(disk, ManualClock(time_ms=NOW), "/data")
    bench.configure(segment_bytes=3000)
    for number in range(20):
        bench.append(sized_batch(900 + number))
    bench.log.flush()
    disk.inject(5, operation="rename", after=seed % 15, times=None)
    try:
        bench.log.truncate_to(4)
    except OSError:
        assert bench.log.offline
    disk.recover()
    disk.crash()
    bench.reopen()
    found = bench.read_all()
    assert found == list(range(len(found)))
    assert len(found) >= 4


@pytest.mark.parametrize("seed", range(30))
def test_after_a_crash_nothing_that_an_emptied_log_had_stands_before_what_it_has(seed: int) -> None:
    disk = FaultyDisk(seed)
    disk.make_directories("/data")
    disk.sync_directory("/")
    bench = LogBench(disk, ManualClock(time_ms=NOW), "/data")
    bench.fill(3, epoch=1)
    bench.log.flush()
    bench.log.truncate_and_start_at(0)
    bench.fill(3, epoch=2)
    bench.log.roll()
    bench.fill(1, epoch=2)
    bench.log.roll()
    bench.kill()
    disk.crash()
    bench.open()
    assert len(bench.log.epochs.entries) <= 1


@pytest.mark.parametrize("damage", ["gone", "of an odd size", "garbage"])
def test_a_cut_into_a_segment_whose_time_index_is_damaged_builds_it_again(bench: LogBench, damage: str) -> None:
    bench.configure(segment_bytes=4000, index_interval_bytes=500)
    bench.fill(10)
    bench.log.close()
    path = f"{bench.directory}/{4:020}.timeindex"
    if damage == "gone":
        bench.disk.remove(path)
    else:
        bench.disk.write_file_atomically(path, b"\x01" * (13 if damage == "of an odd size" else 24))
    bench.open(clean=True)
    bench.log.truncate_to(6)
    assert bench.read_all() == list(range(6))
    found = bench.look_up(None)
    assert found is not None
    assert (found.timestamp, bench.log.active.offset_of_max_timestamp) == (NOW, 4)
