"""What leaves a log at its start, and segments replaced by rewritten ones."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.log import Log
from blumfeld.storage.recovery import CLEANED
from blumfeld.storage.segment import Segment
from tests.storage.builders import NOW, LogBench, batch, keeps_deleted_files, sized_batch


@pytest.fixture
def segmented(bench: LogBench) -> LogBench:
    """Ten records in segments of three."""
    return fill(bench)


def fill(bench: LogBench) -> LogBench:
    bench.configure(segment_bytes=3000, index_interval_bytes=500)
    bench.fill(10, epoch=1)
    bench.commit()
    return bench


def first(count: int) -> object:
    """A predicate that lets the oldest `count` segments go."""
    asked: list[Segment] = []

    def deletable(segment: Segment, following: Segment | None) -> bool:
        asked.append(segment)
        return len(asked) <= count

    return deletable


def delete(bench: LogBench, count: int) -> int:
    return bench.log.delete_old_segments(first(count), "test")  # type: ignore[arg-type]  # a callable


def test_the_start_moves_up_to_the_high_watermark(bench: LogBench) -> None:
    bench.fill(5)
    bench.log.update_high_watermark(3)
    assert bench.log.advance_log_start_offset(4) is ErrorCode.OFFSET_OUT_OF_RANGE
    assert bench.log.advance_log_start_offset(3) is ErrorCode.NONE
    assert bench.log.advance_log_start_offset(1) is ErrorCode.NONE
    assert bench.log.log_start_offset == 3
    assert bench.read_all() == [3, 4]


def test_epochs_begin_at_the_start(bench: LogBench) -> None:
    for epoch in (1, 2, 3):
        bench.append(epoch=epoch)
    bench.commit()
    bench.log.advance_log_start_offset(2)
    assert bench.log.epochs.entries == [(3, 2)]
    assert bench.log.end_offset_for_epoch(1) == (1, 2)


def test_segments_go_from_the_oldest(segmented: LogBench) -> None:
    assert delete(segmented, 2) == 2
    log = segmented.log
    assert log.log_start_offset == 6
    assert [segment.base_offset for segment in log.segments] == [6, 9]
    assert segmented.read_all() == [6, 7, 8, 9]
    assert segmented.read(5).error is ErrorCode.OFFSET_OUT_OF_RANGE
    assert log.snapshots.offsets == [6, 9]


def test_files_go_after_their_delay(segmented: LogBench) -> None:
    delete(segmented, 2)
    home = segmented.log.home
    assert [name for name in segmented.names() if name.endswith(".log")] == [
        "00000000000000000006.log",
        "00000000000000000009.log",
    ]
    if keeps_deleted_files(segmented.disk):
        assert home.next_due_ms() == NOW + 60_000
        assert home.empty_trash(NOW + 59_999) == 0
    assert home.empty_trash(NOW + 60_000) == 6
    assert home.next_due_ms() is None
    assert not [name for name in segmented.names() if name.endswith(".deleted")]


def test_nothing_at_or_above_the_high_watermark_goes(bench: LogBench) -> None:
    bench.configure(segment_bytes=3000)
    bench.fill(10)
    bench.log.update_high_watermark(5)
    assert delete(bench, 10) == 1
    assert bench.log.log_start_offset == 3


def test_when_everything_goes_an_empty_segment_stays(segmented: LogBench) -> None:
    assert delete(segmented, 10) == 4
    log = segmented.log
    assert [(segment.base_offset, segment.size) for segment in log.segments] == [(10, 0)]
    assert (log.log_start_offset, log.log_end_offset) == (10, 10)
    assert delete(segmented, 10) == 0
    segmented.fill(1)
    segmented.restart()
    assert segmented.read_all() == [10]


def test_after_a_restart_the_start_is_where_it_was(segmented: LogBench) -> None:
    delete(segmented, 1)
    segmented.log.advance_log_start_offset(5)
    segmented.restart(log_start_offset=5)
    assert segmented.log.log_start_offset == 5
    segmented.restart(log_start_offset=0)
    assert segmented.log.log_start_offset == 3, "the first segment says so"


def test_a_reader_of_a_deleted_segment_is_told(segmented: LogBench) -> None:
    result = segmented.read(0, 1000)
    delete(segmented, 1)
    assert segmented.read(result.next_offset).error is ErrorCode.OFFSET_OUT_OF_RANGE


# Replacing.
def rewrite(log: Log, old: list[Segment], keep: set[int]) -> Segment:
    """What a compaction does: a `.cleaned` segment with some of the records."""
    new = Segment(log.home, log.directory, old[0].base_offset, log.config, suffix=CLEANED)
    new.create()
    for segment in old:
        for _, header, data in segment.batches():
            if header[0] in keep:
                new.append(bytes(data), len(data), header[0] + header[6], header[8])
    new.seal()
    new.data.close()
    return new


def replace(bench: LogBench, keep: set[int]) -> None:
    log = bench.log
    old = log.segments[:2]
    log.replace_segments([rewrite(log, old, keep)], old)


def test_rewritten_segments_take_the_place_of_old_ones(segmented: LogBench) -> None:
    replace(segmented, {1, 5})
    assert segmented.read_all() == [1, 5, 6, 7, 8, 9]
    assert [segment.base_offset for segment in segmented.log.segments] == [0, 6, 9]
    assert not [name for name in segmented.names() if name.endswith((".cleaned", ".swap"))]
    segmented.restart()
    assert segmented.read_all() == [1, 5, 6, 7, 8, 9]
    assert not [name for name in segmented.names() if name.endswith(".deleted")]


def test_appends_and_truncations_go_on_after_a_replacement(segmented: LogBench) -> None:
    replace(segmented, {0, 4})
    segmented.fill(2)
    segmented.log.truncate_to(5)
    assert segmented.read_all() == [0, 4]
    assert segmented.append().base_offset == 5


def test_a_reader_within_a_replaced_segment_goes_on(segmented: LogBench) -> None:
    result = segmented.read(0, 1000)
    assert result.next_offset == 1
    replace(segmented, {0, 4})
    assert [b.base_offset for b in iterate_batches(segmented.read(1).records)] == [4]


def test_leftovers_of_a_compaction_that_was_not_finished_go(segmented: LogBench) -> None:
    rewrite(segmented.log, segmented.log.segments[:2], {1})
    segmented.reopen()
    assert segmented.read_all() == list(range(10))
    assert not [name for name in segmented.names() if name.endswith(".cleaned")]


def test_a_swap_that_was_begun_is_finished(segmented: LogBench) -> None:
    log = segmented.log
    new = rewrite(log, log.segments[:2], {1, 5})
    new.rename(CLEANED, ".swap")
    segmented.reopen()
    assert segmented.read_all() == [1, 5, 6, 7, 8, 9]
    assert not [name for name in segmented.names() if name.endswith((".swap", ".deleted"))]


def test_a_swap_beside_a_cleaned_file_is_rolled_back(segmented: LogBench) -> None:
    log = segmented.log
    first_new, second_new = (rewrite(log, [segment], {segment.base_offset}) for segment in log.segments[:2])
    second_new.rename(CLEANED, ".swap")
    del first_new
    segmented.reopen()
    assert segmented.read_all() == list(range(10))


@pytest.mark.parametrize("seed", range(60))
def test_a_crash_within_a_replacement_leaves_the_old_or_the_new(seed: int) -> None:
    disk = FaultyDisk(seed)
    disk.make_directories("/data")
    disk.sync_directory("/")
    bench = LogBench(disk, ManualClock(time_ms=NOW), "/data")
    fill(bench)
    bench.log.flush()
    recovery_point = bench.log.recovery_point
    log = bench.log
    old = log.segments[:2]
    new = rewrite(log, old, {1, 5})
    disk.inject(5, after=seed, times=None)
    with contextlib.suppress(OSError):
        log.replace_segments([new], old)
    disk.recover()
    disk.crash()
    bench.reopen(recovery_point=recovery_point)
    assert bench.read_all() in (list(range(10)), [1, 5, 6, 7, 8, 9])
    assert not [name for name in bench.names() if name.endswith((".swap", ".cleaned", ".deleted"))]
    bench.append(batch(b"next"))
    bench.append(sized_batch(1000))
    assert bench.read_all()[-2:] == [10, 11]


# Threads that compact, beside the log's owner.
def test_a_snapshot_that_is_written_while_a_thread_removes_another_is_not_forgotten(segmented: LogBench) -> None:
    log = segmented.log
    rolling = threading.Thread(target=log.roll)

    class WalkedOver(list[int]):
        def __iter__(self) -> Iterator[int]:
            found = list(super().__iter__())
            if rolling.ident is None:
                rolling.start()
                rolling.join(0.05)  # it may have to wait for us
            return iter(found)

    assert log.snapshots.offsets == [3, 6, 9]
    log.snapshots.offsets = WalkedOver(log.snapshots.offsets)
    log.snapshots.remove(3)
    rolling.join()
    assert log.snapshots.offsets == [6, 9, 10]


def test_the_age_of_a_segment_is_known_while_a_thread_gives_it_another_name(
    bench: LogBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of records without timestamps the file's counts."""
    bench.append(batch(timestamp=-1))
    segment, disk = bench.log.active, bench.disk
    ages: list[int] = []
    asking = threading.Thread(target=lambda: ages.append(segment.largest_timestamp))

    class Renaming:
        def __getattr__(self, name: str) -> Any:
            return getattr(disk, name)

        def rename(self, source: str, target: str) -> None:
            disk.rename(source, target)
            if asking.ident is None:
                asking.start()
                asking.join(0.05)  # it may have to wait for us

    monkeypatch.setattr(bench.log.home, "disk", Renaming())
    segment.rename("", ".swap")
    asking.join()
    assert ages == [disk.modified_ms(segment.data.path)]
