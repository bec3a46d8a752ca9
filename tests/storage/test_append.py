"""Appends by a leader: offsets, epochs, times, codecs, segments."""

from __future__ import annotations

import pytest

from blumfeld.protocol.batch import HEADER_SIZE, RecordBatch, iterate_batches
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.records import read_records
from tests.storage.builders import NOW, LogBench, batch, first_batch, offsets, ranges, sized_batch


def test_an_empty_log(bench: LogBench) -> None:
    log = bench.log
    assert (log.log_start_offset, log.high_watermark, log.log_end_offset, log.recovery_point) == (0, 0, 0, 0)
    assert log.latest_epoch == -1
    assert log.size == 0
    assert bench.read(0).next_offset == 0
    assert (log.topic, log.partition, log.topic_partition) == ("topic", 0, "topic-0")


def test_batches_get_the_next_offsets_and_the_leaders_epoch(bench: LogBench) -> None:
    first = bench.append(batch(b"a", b"b", b"c"), epoch=5)
    second = bench.append(batch(b"d"), epoch=5)
    assert (first.base_offset, first.last_offset) == (0, 2)
    assert (second.base_offset, second.last_offset) == (3, 3)
    assert bench.log.log_end_offset == 4
    assert bench.log.latest_epoch == 5
    written = list(iterate_batches(bench.read(0).records))
    assert [(b.base_offset, b.leader_epoch, b.is_valid_crc()) for b in written] == [(0, 5, True), (3, 5, True)]


def test_a_writable_buffer_is_patched_in_place_and_a_read_only_one_left_alone(bench: LogBench) -> None:
    bench.append()
    mine = batch(b"mine")
    bench.append(memoryview(mine), epoch=2)
    assert first_batch(mine).base_offset == 1
    theirs = bytes(batch(b"theirs"))
    bench.append(theirs, epoch=2)
    assert first_batch(theirs).base_offset == 0
    assert [b.base_offset for b in iterate_batches(bench.read(0).records)] == [0, 1, 2]


def test_several_batches_in_one_append(bench: LogBench) -> None:
    result = bench.append(batch(b"a", b"b") + batch(b"c") + batch(b"d", b"e", b"f"))
    assert (result.base_offset, result.last_offset) == (0, 5)
    assert ranges(bench.read(0).records) == [(0, 1), (2, 2), (3, 5)]


def test_leader_epochs_are_noted_where_they_begin(bench: LogBench) -> None:
    bench.append(epoch=1)
    bench.append(epoch=1)
    bench.append(epoch=4)
    bench.log.assign_epoch(7, bench.log.log_end_offset)
    assert bench.log.epochs.entries == [(1, 0), (4, 2), (7, 3)]
    assert bench.log.end_offset_for_epoch(3) == (1, 2)
    assert bench.log.end_offset_for_epoch(7) == (7, 3)
    assert bench.log.end_offset_for_epoch(9) == (-1, -1)


@pytest.mark.parametrize("codec", list(Codec))
def test_compressed_batches_stay_as_they_are(bench: LogBench, codec: Codec) -> None:
    data = batch(b"x" * 500, b"y" * 500, codec=codec)
    payload = bytes(data[HEADER_SIZE:])
    bench.append(data)
    written = first_batch(bench.read(0).records)
    assert written.codec == codec
    assert bytes(written.payload) == payload


@pytest.mark.parametrize(
    ("setting", "codec"), [("gzip", Codec.GZIP), ("zstd", Codec.ZSTD), ("uncompressed", Codec.NONE), ("lz4", Codec.LZ4)]
)
def test_compression_type_compresses_anew(bench: LogBench, setting: str, codec: Codec) -> None:
    bench.configure(compression_type=setting)
    bench.append(
        batch(b"x" * 500, codec=Codec.SNAPPY, timestamp=NOW - 5, producer_id=4, producer_epoch=1, base_sequence=0)
    )
    bench.append(batch(b"y" * 500))
    first, second = iterate_batches(bench.read(0).records)
    assert (first.codec, second.codec) == (codec, codec)
    assert (first.producer_id, first.producer_epoch, first.base_sequence) == (4, 1, 0)
    assert first.max_timestamp == NOW - 5
    assert first.is_valid_crc()
    assert [record.value for record in read_records(first)] == [b"x" * 500]
    assert offsets(bench.read(0).records) == [0, 1]


def test_log_append_time_stamps_batches(bench: LogBench) -> None:
    bench.configure(message_timestamp_type="LogAppendTime")
    bench.clock.advance(ms=1234)
    result = bench.append(batch(b"a", b"b", timestamp=NOW - 99_999))
    assert result.log_append_time == NOW + 1234
    written = first_batch(bench.read(0).records)
    assert (written.timestamp_type, written.max_timestamp) == (1, NOW + 1234)
    assert written.is_valid_crc()
    assert [record.timestamp for record in read_records(written)] == [NOW + 1234] * 2


def test_create_time_takes_a_wrong_timestamp_type_back(bench: LogBench) -> None:
    assert bench.append().log_append_time == -1
    bench.append(batch(b"a", timestamp_type=1, max_timestamp=NOW))
    written = list(iterate_batches(bench.read(0).records))[1]
    assert written.timestamp_type == 0
    assert written.is_valid_crc()


def test_a_segment_rolls_by_size(bench: LogBench) -> None:
    bench.configure(segment_bytes=5000)
    bench.fill(12, size=1000)
    assert [segment.base_offset for segment in bench.log.segments] == [0, 5, 10]
    assert [segment.size for segment in bench.log.segments] == [5000, 5000, 2000]
    assert bench.read_all() == list(range(12))
    assert "00000000000000000005.snapshot" in bench.names()
    assert bench.disk.size(f"{bench.directory}/00000000000000000000.index") == 0


def test_a_segment_rolls_by_the_time_of_its_records(bench: LogBench) -> None:
    bench.configure(segment_ms=1000, message_timestamp_after_max_ms=10**9)
    bench.append(batch(b"a", timestamp=NOW))
    bench.append(batch(b"b", timestamp=NOW + 1000))
    bench.append(batch(b"c", timestamp=NOW + 1001))
    assert [segment.base_offset for segment in bench.log.segments] == [0, 2]


@pytest.mark.parametrize(("policy", "bases"), [("compact", [0, 2]), ("delete", [0])])
def test_a_compacted_segment_takes_no_longer_than_its_records_may_wait(
    bench: LogBench, policy: str, bases: list[int]
) -> None:
    """Kept active for longer, it would keep them from compaction."""
    bench.configure(cleanup_policy=(policy,), max_compaction_lag_ms=1000, message_timestamp_after_max_ms=10**9)
    for wait_ms in (0, 1000, 1001):
        bench.append(batch(b"v", timestamp=NOW + wait_ms))
    assert [segment.base_offset for segment in bench.log.segments] == bases


def test_a_segment_without_timestamps_rolls_by_the_clock(bench: LogBench) -> None:
    bench.configure(segment_ms=1000)
    bench.append(batch(b"a", timestamp=-1))
    bench.clock.advance(ms=1001)
    bench.append(batch(b"b", timestamp=-1))
    assert [segment.base_offset for segment in bench.log.segments] == [0, 1]


def test_a_segment_rolls_when_its_index_is_full(bench: LogBench) -> None:
    bench.configure(segment_index_bytes=24, index_interval_bytes=100)  # two time entries, one of them kept in reserve
    for number in range(5):
        bench.append(batch(b"x" * 200, timestamp=NOW + number))
    assert len(bench.log.segments) > 1
    assert bench.read_all() == list(range(5))


def test_a_segment_rolls_when_offsets_are_too_far_from_its_base(bench: LogBench) -> None:
    bench.follow(batch(b"a", base_offset=0))
    bench.follow(batch(b"b", base_offset=2**31 - 1))
    bench.follow(batch(b"c", base_offset=2**31))
    assert [segment.base_offset for segment in bench.log.segments] == [0, 2**31]
    assert bench.read_all() == [0, 2**31 - 1, 2**31]


def test_the_jitter_of_rolling_is_drawn_once_for_a_segment(bench: LogBench) -> None:
    bench.configure(segment_ms=1000, segment_jitter_ms=500, message_timestamp_after_max_ms=10**9)
    bench.log.home.jitter = lambda bound: bound - 100
    bench.log.roll()
    bench.log.truncate_and_start_at(0)
    log = bench.log
    log.segments[0].roll_jitter_ms = 400
    bench.append(batch(b"a", timestamp=NOW))
    bench.append(batch(b"b", timestamp=NOW + 601))
    assert [segment.base_offset for segment in log.segments] == [0, 1]
    assert log.active.roll_jitter_ms == 400


def test_rolling_an_empty_log_changes_nothing(bench: LogBench) -> None:
    assert bench.log.roll() is bench.log.segments[0]
    assert len(bench.log.segments) == 1


def test_an_index_entry_every_four_kibibytes(bench: LogBench) -> None:
    bench.fill(30, size=1000)
    entries = bench.log.active.offset_index.all()
    assert entries == [(5, 5000), (10, 10000), (15, 15000), (20, 20000), (25, 25000)]
    records = bench.read(0).records
    for last_offset, position in entries:
        assert RecordBatch(records, position).last_offset == last_offset


def test_the_flush_policy_is_told_to_the_caller(bench: LogBench) -> None:
    bench.configure(flush_messages=3)
    assert [bench.append().must_flush for _ in range(3)] == [False, False, True]
    bench.log.flush()
    assert not bench.append().must_flush


def test_a_preallocated_segment_has_its_full_size_until_it_is_sealed(bench: LogBench) -> None:
    bench.configure(preallocate=True, segment_bytes=5000)
    bench.fill(3)
    path = bench.log.active.data.path
    assert bench.disk.size(path) == 5000
    assert bench.log.size == 3000
    bench.fill(3)
    assert bench.disk.size(path) == 5000
    bench.restart()
    assert bench.read_all() == list(range(6))
    assert bench.disk.size(bench.log.active.data.path) == 1000


def test_raft_batches_keep_their_offsets_and_epochs(bench: LogBench) -> None:
    bench.append(batch(b"a", b"b", base_offset=0, leader_epoch=3), epoch=3, origin="raft")
    bench.append(
        batch(b"c", base_offset=2, leader_epoch=3) + batch(b"d", base_offset=3, leader_epoch=3), epoch=3, origin="raft"
    )
    assert bench.log.log_end_offset == 4
    assert bench.log.epochs.entries == [(3, 0)]
    wrong_epoch = bench.try_append(batch(b"e", base_offset=4, leader_epoch=2), epoch=3, origin="raft")
    assert wrong_epoch.error is ErrorCode.INVALID_RECORD
    too_low = bench.try_append(batch(b"e", base_offset=3, leader_epoch=3), epoch=3, origin="raft")
    assert too_low.error is ErrorCode.OFFSET_OUT_OF_RANGE


def test_open_files_stay_within_their_bound(bench: LogBench) -> None:
    bench.configure(segment_bytes=1000)
    log = bench.open(max_open_files=4)
    bench.fill(20, size=1000)
    assert len(log.segments) == 20
    for _ in range(2):
        assert bench.read_all(max_bytes=1000) == list(range(20))
        assert len(log.home.open_files) <= 4


def test_a_batch_as_large_as_the_segment(bench: LogBench) -> None:
    bench.configure(segment_bytes=5000)
    bench.append(sized_batch(5000))
    bench.append(sized_batch(5000))
    assert [segment.base_offset for segment in bench.log.segments] == [0, 1]
