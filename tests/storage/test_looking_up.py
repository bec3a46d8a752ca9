"""Look-ups by time that would stop the event loop: what a thread does instead, and what overtakes it."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.faulty_disk import FaultyDisk, FaultyFile
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.records import Record, build_batch
from blumfeld.storage import looking_up, segment
from blumfeld.storage.compaction import Limits, Round, assess
from blumfeld.storage.results import LookUpResult
from blumfeld.storage.scan import scan
from tests.storage.builders import NOW, LogBench, sized_batch


def timed(*timestamps: int, key: bytes = b"k", **options: Any) -> bytearray:
    """A batch with a record of 300 bytes for each time."""
    records = [Record(i, NOW + t, key, b"x" * 300) for i, t in enumerate(timestamps)]
    return bytearray(build_batch(records, **options))


def on_a_disk(cold: float) -> LogBench:
    """A log whose reads would have to wait as often as that."""
    clock = ManualClock(time_ms=NOW)
    disk = FaultyDisk(1, cold=cold, clock=clock)
    disk.make_directories("/data")
    return LogBench(disk, clock, "/data")


@pytest.fixture
def cold() -> Iterator[LogBench]:
    """Offsets 0…8 in four segments, opened after a clean stop, on a disk whose reads would always wait."""
    bench = on_a_disk(1.0)
    bench.configure(segment_bytes=1000, file_delete_delay_ms=1000)
    for times in ((10, 20), (30, 5), (25, 40, 35), (60, 50)):
        bench.append(timed(*times), epoch=3)
    bench.commit()
    bench.restart()
    yield bench
    bench.stop()


def work(result: LookUpResult) -> Callable[[], LookUpResult]:
    assert result.cold is not None
    return result.cold


def offset_of(result: LookUpResult) -> int | None:
    assert result.cold is None
    assert result.error is ErrorCode.NONE, result
    return None if result.found is None else result.found.offset


@pytest.mark.parametrize("wanted", [0, 31, 61, None])
def test_nothing_is_waited_for_before_the_thread_begins(
    cold: LogBench, monkeypatch: pytest.MonkeyPatch, wanted: int | None
) -> None:
    log = cold.log

    def refuse(*_: object) -> bytes:
        raise AssertionError("the event loop would wait for the device")

    with monkeypatch.context() as patched:
        patched.setattr(FaultyFile, "read_at", refuse)
        result = log.offset_of_max_timestamp() if wanted is None else log.offset_for_timestamp(NOW + wanted)
    assert offset_of(work(result)()) == {0: 0, 31: 5, 61: None, None: 7}[wanted]


def test_what_the_thread_has_learnt_is_known_from_then_on(cold: LogBench) -> None:
    assert [segment.known_max_timestamp for segment in cold.log.segments] == [None] * 4
    work(cold.log.offset_of_max_timestamp())()
    assert [segment.known_max_timestamp for segment in cold.log.segments[:3]] == [NOW + 20, NOW + 30, NOW + 40]
    cold.append(timed(70))
    assert cold.look_up(None) is not None
    assert offset_of(cold.log.offset_for_timestamp(NOW + 71)) is None, "nothing has to be read for that"


def test_many_times_are_found_by_threads_and_at_once() -> None:
    """Each answer is checked, wherever it comes from; on a disk that is cold now and then."""
    rng = random.Random(5)
    mixed = on_a_disk(0.3)
    mixed.configure(segment_bytes=20_000, index_interval_bytes=500, message_timestamp_after_max_ms=10**9)
    times: list[int] = []
    for _ in range(80):
        chosen = [rng.randrange(100_000) for _ in range(rng.randrange(1, 4))]
        mixed.append(timed(*chosen, codec=rng.choice([Codec.NONE, Codec.GZIP])))
        times += chosen
    mixed.restart()
    threads = 0
    for _ in range(300):
        wanted = rng.randrange(101_000)
        first = next((offset for offset, time in enumerate(times) if time >= wanted), None)
        result = mixed.log.offset_for_timestamp(NOW + wanted)
        threads += result.cold is not None
        assert offset_of(result if result.cold is None else result.cold()) == first
    assert 20 < threads < 280
    mixed.stop()


# What is at hand, and little.
@pytest.fixture
def warm() -> Iterator[LogBench]:
    """A log on a disk that has everything in memory."""
    bench = on_a_disk(0.0)
    yield bench
    bench.stop()


def test_what_is_in_memory_is_answered_at_once_after_a_restart_too(
    warm: LogBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm.configure(segment_bytes=1000)
    for time in (10, 20, 30):
        warm.append(timed(time, time))
    warm.restart()
    with monkeypatch.context() as patched:
        patched.setattr(looking_up, "_AT_ONCE_INDEX_BYTES", 11)  # less than an entry
        assert warm.log.offset_for_timestamp(NOW + 11).cold is not None
    assert offset_of(warm.log.offset_for_timestamp(NOW + 11)) == 2
    assert offset_of(warm.log.offset_of_max_timestamp()) == 4


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD], ids=lambda codec: codec.name)
def test_a_compressed_batch_is_unpacked_in_a_thread(warm: LogBench, codec: Codec) -> None:
    warm.append(timed(10, 20, codec=codec))
    warm.append(timed(30))
    assert offset_of(work(warm.log.offset_for_timestamp(NOW + 11))()) == 1
    assert offset_of(warm.log.offset_for_timestamp(NOW + 21)) == 2, "it is passed by unopened"


def test_a_batch_of_many_records_is_opened_in_a_thread(warm: LogBench) -> None:
    few, many = looking_up._AT_ONCE_RECORDS, looking_up._AT_ONCE_RECORDS + 1
    for count in (few, many):
        warm.append(build_batch([Record(i, NOW + count, None, b"") for i in range(count)]))
    assert offset_of(warm.log.offset_for_timestamp(NOW + few)) == 0
    assert offset_of(work(warm.log.offset_for_timestamp(NOW + many))()) == few


def test_a_long_walk_is_for_a_thread(warm: LogBench) -> None:
    """Where no time is larger than an early one, the time index says nothing for long."""
    warm.configure(segment_bytes=1 << 20)
    warm.append(timed(50))
    for _ in range(100):
        warm.append(sized_batch(1000, timestamp=NOW))
    warm.append(timed(60))
    assert offset_of(warm.log.offset_for_timestamp(NOW + 50)) == 0
    assert offset_of(work(warm.log.offset_for_timestamp(NOW + 51))()) == 101


def test_a_large_batch_is_for_a_thread(warm: LogBench) -> None:
    warm.append(sized_batch(looking_up._AT_ONCE_BYTES + 1, timestamp=NOW))
    assert offset_of(work(warm.log.offset_for_timestamp(NOW))()) == 0


# What happens meanwhile.
def test_appends_and_rolls_meanwhile_change_nothing(cold: LogBench) -> None:
    first, later, largest = (
        cold.log.offset_for_timestamp(NOW + 41),
        cold.log.offset_for_timestamp(NOW + 61),
        cold.log.offset_of_max_timestamp(),
    )
    cold.configure(segment_bytes=2000)
    for _ in range(8):
        cold.append(timed(70))
    assert cold.log.segments[4].base_offset > 10, "the segment that was active has grown before it was sealed"
    assert offset_of(work(first)()) == 7
    assert offset_of(work(later)()) is None, "there was none when it was asked"
    assert offset_of(work(largest)()) == 7
    assert cold.log.segments[3].known_max_timestamp == NOW + 70


def test_a_truncation_makes_it_ask_again(cold: LogBench) -> None:
    results = [cold.log.offset_for_timestamp(NOW + time) for time in (0, 31, 41)]
    cold.log.truncate_to(3)
    for result in results:
        assert work(result)().error is ErrorCode.OFFSET_NOT_AVAILABLE
    found = cold.look_up(None)
    assert found is not None
    assert found.offset == 1, "nothing of what was cut is remembered"
    assert not cold.log.offline


def test_a_log_that_is_emptied_makes_it_ask_again(cold: LogBench) -> None:
    result = cold.log.offset_of_max_timestamp()
    cold.log.truncate_and_start_at(100)
    cold.log.home.empty_trash(NOW + 5000)
    assert work(result)().error is ErrorCode.OFFSET_NOT_AVAILABLE
    assert not cold.log.offline


@pytest.mark.parametrize("files", ["kept", "gone"])
def test_segments_that_retention_takes(cold: LogBench, files: str) -> None:
    taken, left = cold.log.offset_for_timestamp(NOW), cold.log.offset_for_timestamp(NOW + 41)
    cold.log.delete_old_segments(lambda segment, _: segment.base_offset < 4, "test")
    if files == "gone":
        cold.log.home.empty_trash(NOW + 5000)
    assert work(taken)().error is ErrorCode.OFFSET_NOT_AVAILABLE
    assert work(left)().error is ErrorCode.OFFSET_NOT_AVAILABLE, "all segments are looked at"
    assert not cold.log.offline
    found = cold.look_up(NOW)
    assert found is not None
    assert found.offset == 4


def test_records_that_are_deleted_meanwhile_are_no_answer(cold: LogBench) -> None:
    below, above = cold.log.offset_for_timestamp(NOW), cold.log.offset_for_timestamp(NOW + 31)
    cold.log.advance_log_start_offset(1)
    assert work(below)().error is ErrorCode.OFFSET_NOT_AVAILABLE
    assert offset_of(work(above)()) == 5


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("files", ["kept", "gone"])
def test_segments_that_are_compacted_meanwhile(cold: LogBench, files: str, rounds: int) -> None:
    """After a second round a file of the first has the name under which the thread would find that of the segment."""
    cold.configure(cleanup_policy=("compact",))
    result, read = cold.log.offset_for_timestamp(NOW + 11), cold.log.read(1, 1000)
    for _ in range(rounds):
        due = assess(cold.log, 0, NOW)
        assert due is not None
        for step in Round(due, NOW, Limits(1 << 20, 600)).steps():
            step()
    if files == "gone":
        cold.log.home.empty_trash(NOW + 5000)
    assert work(result)().error is ErrorCode.OFFSET_NOT_AVAILABLE
    assert read.cold is not None
    again = read.cold()
    assert (again.error, again.records, again.next_offset) == (ErrorCode.NONE, b"", 1)
    assert not cold.log.offline
    assert cold.look_up(NOW + 11) is not None


def test_a_log_that_is_deleted_meanwhile(cold: LogBench) -> None:
    result = cold.log.offset_for_timestamp(NOW)
    cold.log.deleted = True
    cold.log.abandon()
    cold.disk.rename(cold.directory, cold.directory + ".gone")
    assert work(result)().error is ErrorCode.OFFSET_NOT_AVAILABLE
    assert not cold.log.offline


def test_no_handle_is_kept_for_a_look_up_that_nobody_does(cold: LogBench) -> None:
    assert cold.log.offset_for_timestamp(NOW).cold is not None
    assert cold.log.offset_for_timestamp(NOW + 41).cold is not None
    assert [segment.data.pins for segment in cold.log.segments] == [0] * 4


# Damage.
@pytest.mark.parametrize("where", ["the loop", "a thread"])
def test_a_disk_error_takes_the_directory_offline(cold: LogBench, where: str) -> None:
    assert isinstance(cold.disk, FaultyDisk)
    result = cold.log.offset_for_timestamp(NOW)
    cold.disk.inject(errno.EIO, "open" if where == "the loop" else "read_at")
    failed = cold.log.offset_for_timestamp(NOW) if where == "the loop" else work(result)()
    assert failed.error is ErrorCode.KAFKA_STORAGE_ERROR
    assert cold.log.offline
    assert cold.log.offset_of_max_timestamp().error is ErrorCode.KAFKA_STORAGE_ERROR
    cold.disk.recover()


@pytest.mark.parametrize("where", ["the loop", "a thread"])
def test_a_damaged_batch_is_an_error(cold: LogBench, warm: LogBench, where: str) -> None:
    bench = cold
    if where == "the loop":
        bench = warm
        bench.append(timed(10, 20), epoch=3)
        bench.restart()
    bench.overwrite("00000000000000000000.log", 8, b"\xff\xff\xff\xf4")
    result = bench.log.offset_for_timestamp(NOW)
    assert (result.cold is None) == (where == "the loop")
    result = result if result.cold is None else result.cold()
    assert result.error is ErrorCode.CORRUPT_MESSAGE
    assert not bench.log.offline


@pytest.mark.parametrize("name", ["timeindex", "index"])
def test_a_thread_does_without_an_index_that_is_damaged(cold: LogBench, name: str) -> None:
    cold.overwrite(f"00000000000000000004.{name}", 0, b"\xff" * 24)
    for wanted, offset in ((31, 5), (36, 5), (41, 7), (61, None)):
        assert offset_of(work(cold.log.offset_for_timestamp(NOW + wanted))()) == offset


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_indexes_that_are_just_being_built_again_are_not_gone_by(
    cold: LogBench, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    cold.configure(segment_bytes=4000, index_interval_bytes=100)
    for times in ((100, 110), (130, 120), (150, 140), (200,), (210,), (220,)):
        cold.append(timed(*times))
    cold.append(timed(300, key=b"x" * 3000))
    cold.restart()
    rebuilt = cold.log.segments[-2]
    look_up = work(cold.log.offset_for_timestamp(NOW + 145))
    found: list[LookUpResult] = []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        for number, item in enumerate(scan(*arguments, **options)):
            if number == batches:
                found.append(look_up())
            yield item

    monkeypatch.setattr(segment, "scan", interrupted)
    rebuilt.rebuild_indexes("of no reason")
    assert [offset_of(result) for result in found] == [13]
    assert offset_of(look_up()) == 13
