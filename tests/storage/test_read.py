"""Reads: whole batches, bounded by bytes and offsets, from any place, in one slice."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Buffer
from blumfeld.env.faulty_disk import FaultyDisk, FaultyFile
from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.results import ReadResult
from tests.storage.builders import NOW, LogBench, batch, ranges, sized_batch


def test_from_the_middle_of_a_batch_the_whole_batch_comes(bench: LogBench) -> None:
    bench.append(batch(count=10))
    bench.append(batch(count=10))
    result = bench.read(5)
    assert ranges(result.records) == [(0, 9), (10, 19)]
    assert result.next_offset == 20
    assert ranges(bench.read(10).records) == [(10, 19)]


def test_at_the_end_nothing_comes(bench: LogBench) -> None:
    bench.append(batch(count=3))
    result = bench.read(3)
    assert (len(result.records), result.next_offset, result.error) == (0, 3, ErrorCode.NONE)


def test_offsets_outside_the_log(bench: LogBench) -> None:
    bench.fill(5)
    bench.commit()
    bench.log.advance_log_start_offset(2)
    assert bench.read(6).error is ErrorCode.OFFSET_OUT_OF_RANGE
    assert bench.read(1).error is ErrorCode.OFFSET_OUT_OF_RANGE
    assert bench.read(2).error is ErrorCode.NONE
    assert bench.read(5).error is ErrorCode.NONE


def test_no_more_than_max_bytes_of_whole_batches(bench: LogBench) -> None:
    bench.fill(20, size=1000)
    for wanted, count in ((1000, 1), (1999, 1), (2000, 2), (7500, 7), (1 << 20, 20)):
        result = bench.read(0, wanted)
        assert len(result.records) == 1000 * count
        assert result.next_offset == count


def test_the_first_batch_comes_whole_unless_told_otherwise(bench: LogBench) -> None:
    bench.append(sized_batch(50_000))
    bench.append(sized_batch(100))
    assert ranges(bench.read(0, 1000).records) == [(0, 0)]
    assert ranges(bench.read(0, 0).records) == [(0, 0)]
    nothing = bench.read(0, 49_999, at_least_one=False)
    assert (len(nothing.records), nothing.next_offset) == (0, 0)
    assert ranges(bench.read(0, 50_000, at_least_one=False).records) == [(0, 0)]


def test_nothing_that_reaches_the_upper_bound(bench: LogBench) -> None:
    for _ in range(10):
        bench.append(batch(*[b"x" * 200] * 5))
    for upper in range(51):
        result = bench.read(0, upper=upper)
        assert result.next_offset == upper - upper % 5
        assert ranges(result.records) == [(i, i + 4) for i in range(0, upper - upper % 5, 5)]
    assert bench.read(20, upper=20).error is ErrorCode.NONE
    assert bench.read(25, upper=20).error is ErrorCode.NONE, "beyond what is committed, but not beyond the log"


def test_a_log_is_read_through_by_next_offset(bench: LogBench) -> None:
    bench.configure(segment_bytes=20_000)
    bench.fill(100, size=700)
    for max_bytes in (1, 700, 1500, 5000, 1 << 20):
        assert bench.read_all(max_bytes=max_bytes) == list(range(100))


def test_readers_that_follow_the_appends(bench: LogBench) -> None:
    bench.configure(segment_bytes=5000)
    offset = 0
    for number in range(40):
        bench.fill(1, size=900)
        result = bench.read(offset)
        assert ranges(result.records) == [(number, number)]
        offset = result.next_offset


def test_gaps_that_compaction_left_are_passed(bench: LogBench) -> None:
    bench.configure(segment_bytes=2000)
    for offset in (0, 5, 6, 20, 21, 50):
        bench.follow(sized_batch(900, base_offset=offset))
    assert [segment.base_offset for segment in bench.log.segments] == [0, 6, 21]
    assert bench.read(1).next_offset == 6
    assert ranges(bench.read(7).records) == [(20, 20)]
    assert ranges(bench.read(22).records) == [(50, 50)]
    assert ranges(bench.read(1, 10).records) == [(5, 5)]
    assert bench.read_all() == [0, 5, 6, 20, 21, 50]


def test_a_gap_at_the_end_of_a_segment(bench: LogBench) -> None:
    bench.configure(segment_bytes=2000)
    bench.follow(sized_batch(900, base_offset=0))
    bench.follow(sized_batch(900, base_offset=30))
    bench.follow(sized_batch(900, base_offset=60))
    assert bench.log.truncate_to(60)
    bench.log.segments[0].truncate_to(30)
    assert ranges(bench.read(10, upper=60).records) == []
    bench.follow(sized_batch(900, base_offset=60))
    assert ranges(bench.read(10).records) == [(60, 60)]
    assert bench.read(10, upper=60).next_offset == 10


def test_random_reads_equal_what_a_walk_over_everything_gives(bench: LogBench) -> None:
    rng = random.Random(7)
    bench.configure(segment_bytes=30_000, index_interval_bytes=1000)
    for _ in range(200):
        bench.append(batch(*[b"x" * rng.randrange(200)] * rng.randrange(1, 8)))
    everything: list[tuple[int, int, bytes]] = []
    offset = 0
    while offset < bench.log.log_end_offset:
        result = bench.read(offset, 1)
        (first,) = iterate_batches(result.records)
        everything.append((first.base_offset, first.last_offset, bytes(result.records)))
        offset = result.next_offset
    for _ in range(500):
        offset = rng.randrange(bench.log.log_end_offset)
        upper = rng.choice([None, rng.randrange(bench.log.log_end_offset + 1)])
        max_bytes = rng.choice([1, 300, 2000, 10_000])
        result = bench.read(offset, max_bytes, upper=upper)
        assert bytes(result.records) == expected(everything, bench, offset, max_bytes, upper)


def expected(
    everything: list[tuple[int, int, bytes]], bench: LogBench, offset: int, max_bytes: int, upper: int | None
) -> bytes:
    """What one segment has to give."""
    bases = [segment.base_offset for segment in bench.log.segments]
    holder = max(base for base in bases if base <= offset)
    end = min([base for base in bases if base > holder], default=1 << 60)
    found = b""
    for first, last, data in everything:
        if last < offset or first < holder:
            continue
        if first >= end or (upper is not None and last >= upper) or (found and len(found) + len(data) > max_bytes):
            break
        found += data
        if len(found) >= max_bytes:
            break
    return found


# Cold reads.
@pytest.fixture
def cold() -> Iterator[LogBench]:
    """A log on a disk whose reads would always wait."""
    clock = ManualClock(time_ms=NOW)
    disk = FaultyDisk(1, cold=1.0, clock=clock)
    disk.make_directories("/data")
    bench = LogBench(disk, clock, "/data")
    yield bench
    bench.stop()


def through(result: ReadResult) -> Buffer:
    assert result.cold is not None
    return result.cold().records


def test_a_cold_read_is_work_for_a_thread(cold: LogBench) -> None:
    cold.fill(10)
    result = cold.log.read(3, 2500)
    assert len(result.records) == 0
    assert result.cold is not None
    done = result.cold()
    assert done.cold is None
    assert ranges(done.records) == [(3, 3), (4, 4)]
    assert done.next_offset == 5


def test_a_cold_read_survives_eviction_of_its_file(cold: LogBench) -> None:
    cold.configure(segment_bytes=3000)
    cold.open(max_open_files=2)
    cold.fill(12)
    result = cold.log.read(1, 1000)
    cold.read_all()  # opens the other files
    assert ranges(through(result)) == [(1, 1)]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_an_index_that_is_not_in_memory_is_for_the_thread_too(
    cold: LogBench, monkeypatch: pytest.MonkeyPatch, is_damaged: bool
) -> None:
    cold.configure(index_interval_bytes=100, segment_bytes=6000)
    cold.fill(12)
    cold.commit()
    segment = cold.log.segments[0]
    segment.release()
    if is_damaged:
        cold.disk.write_file_atomically(segment.offset_index.path, b"\xff" * 40)
    where = "the loop"
    read_at = FaultyFile.read_at

    def watched(file: FaultyFile, position: int, size: int) -> Buffer:
        assert where == "a thread", f"the event loop waits for {file.path}"
        return read_at(file, position, size)

    monkeypatch.setattr(FaultyFile, "read_at", watched)
    result = cold.log.read(4, 1500)
    where = "a thread"
    assert ranges(through(result)) == [(4, 4)]
    assert not cold.log.offline


def test_a_cold_read_that_a_truncation_overtakes_gives_nothing(cold: LogBench) -> None:
    cold.fill(10)
    result = cold.log.read(3, 2500)
    cold.log.truncate_to(2)
    assert result.cold is not None
    done = result.cold()
    assert (len(done.records), done.next_offset, done.error) == (0, 3, ErrorCode.NONE)


def test_a_cold_read_that_a_truncation_overtakes_leads_no_later_one_astray(cold: LogBench) -> None:
    cold.fill(4)
    result = cold.log.read(3, 2500)
    cold.log.truncate_to(2)
    for offset, size in ((2, 900), (3, 900), (4, 900)):
        cold.follow(sized_batch(size, base_offset=offset))
    assert result.cold is not None
    result.cold()  # it read to the end of what the log was then, which is somewhere within a batch now
    assert cold.read_all(4) == [4]


def test_a_cold_read_in_a_segment_that_is_dropped_meanwhile_leads_no_later_one_astray(cold: LogBench) -> None:
    cold.configure(segment_bytes=2000)
    cold.fill(6)
    result = cold.log.read(2, 1000)
    cold.log.truncate_to(1)
    cold.fill(5)
    assert result.cold is not None
    result.cold()
    assert cold.read_all(3) == [3, 4, 5]


def test_a_cold_read_into_a_gap_is_found_by_the_next_attempt(cold: LogBench) -> None:
    cold.configure(segment_bytes=2000)
    for offset in (0, 1, 30, 60):
        cold.follow(sized_batch(900, base_offset=offset))
    cold.log.segments[1].truncate_to(60)
    cold.log.segments[0].truncate_to(1)
    first = cold.log.read(1, 1000)
    assert len(through(first)) == 0
    assert cold.read_all(1) == [30]


def test_a_damaged_length_is_an_error_not_a_loop(bench: LogBench) -> None:
    bench.fill(10)
    bench.reopen()
    bench.overwrite("00000000000000000000.log", 3008, b"\xff\xff\xff\xf4")
    bench.log.hints.clear()
    assert bench.read(4).error is ErrorCode.CORRUPT_MESSAGE
    assert not bench.log.offline
