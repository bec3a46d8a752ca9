"""Offsets by time: what ListOffsets asks for."""

from __future__ import annotations

import random

import pytest

from blumfeld.protocol.compression import Codec
from blumfeld.protocol.records import Record, build_batch
from tests.storage.builders import NOW, LogBench, batch, far_future


def timed(*timestamps: int, **options: object) -> bytearray:
    records = [Record(i, NOW + t, b"k", b"x" * 300) for i, t in enumerate(timestamps)]
    return bytearray(build_batch(records, **options))  # type: ignore[arg-type]  # options are passed through


@pytest.fixture
def filled(bench: LogBench) -> LogBench:
    """Offsets 0…8, two batches to a segment, times out of order."""
    bench.configure(segment_bytes=1800)
    for times in ((10, 20), (30, 5), (25, 40, 35), (60, 50)):
        bench.append(timed(*times), epoch=3)
    return bench


@pytest.mark.parametrize(
    ("wanted", "offset"), [(-100, 0), (10, 0), (11, 1), (20, 1), (21, 2), (30, 2), (31, 5), (41, 7), (60, 7)]
)
def test_the_first_record_at_or_after_a_time(filled: LogBench, wanted: int, offset: int) -> None:
    found = filled.look_up(NOW + wanted)
    assert found is not None
    assert found.offset == offset
    assert found.timestamp >= NOW + wanted
    assert found.leader_epoch == 3


def test_after_all_records_there_is_none(filled: LogBench) -> None:
    assert filled.look_up(NOW + 61) is None


def test_records_below_the_logs_start_do_not_count(filled: LogBench) -> None:
    filled.commit()
    filled.log.advance_log_start_offset(5)
    found = filled.look_up(NOW)
    assert found is not None
    assert found.offset == 5


def test_the_largest_timestamp(filled: LogBench) -> None:
    found = filled.look_up(None)
    assert found is not None
    assert (found.offset, found.timestamp) == (7, NOW + 60)


def test_an_empty_log_has_no_timestamps(bench: LogBench) -> None:
    assert bench.look_up(None) is None
    assert bench.look_up(0) is None


def test_records_without_timestamps(bench: LogBench) -> None:
    bench.append(batch(b"a", timestamp=-1))
    assert bench.look_up(None) is None
    assert bench.look_up(0) is None


def test_earliest_and_latest_have_their_epochs(filled: LogBench) -> None:
    filled.log.assign_epoch(9, 9)
    assert (filled.log.earliest().offset, filled.log.earliest().leader_epoch) == (0, 3)
    assert (filled.log.latest().offset, filled.log.latest().leader_epoch) == (9, 9)


@pytest.mark.parametrize("stop", ["running", "restart", "reopen"])
def test_many_times_are_found_however_the_log_was_stopped(bench: LogBench, stop: str) -> None:
    rng = random.Random(3)
    bench.configure(segment_bytes=20_000, index_interval_bytes=500, message_timestamp_after_max_ms=10**9)
    times: list[int] = []
    for _ in range(60):
        chosen = [rng.randrange(100_000) for _ in range(rng.randrange(1, 4))]
        bench.append(timed(*chosen, codec=rng.choice([Codec.NONE, Codec.GZIP])))
        times += chosen
    if stop != "running":
        getattr(bench, stop)()
    for _ in range(200):
        wanted = rng.randrange(101_000)
        first = next((offset for offset, time in enumerate(times) if time >= wanted), None)
        found = bench.look_up(NOW + wanted)
        assert (found.offset if found else None) == first
    largest = bench.look_up(None)
    assert largest is not None
    assert largest.offset == times.index(max(times))


def test_after_a_truncation_the_dropped_times_are_gone(filled: LogBench) -> None:
    filled.log.truncate_to(4)
    found = filled.look_up(None)
    assert found is not None
    assert (found.offset, found.timestamp) == (2, NOW + 30)
    assert filled.look_up(NOW + 31) is None


def test_a_time_that_no_answer_can_hold_is_not_found(bench: LogBench) -> None:
    bench.append(far_future())
    bench.append(timed(5))
    found = bench.look_up(NOW)
    assert found is not None
    assert (found.timestamp, found.offset) == (NOW + 5, 1)
