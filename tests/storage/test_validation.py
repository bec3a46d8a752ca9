"""What a log refuses, and with which error: nothing of a refused append is there afterwards."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from blumfeld.protocol.compression import Codec
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.records import Record, build_batch
from blumfeld.storage.log_config import FOREVER
from tests.storage.builders import NOW, LogBench, batch, far_future, marker, sized_batch


def with_crc(data: bytearray) -> bytearray:
    from blumfeld.protocol.checksum import crc32c

    struct.pack_into(">I", data, 17, crc32c(bytes(data[21:])))
    return data


def patched(at: int, layout: str, value: int, data: bytearray | None = None) -> bytearray:
    """A batch with one header field changed and a CRC that fits."""
    data = batch(b"a", b"b") if data is None else data
    struct.pack_into(layout, data, at, value)
    return with_crc(data)


REFUSALS: dict[str, tuple[Callable[[], bytearray], ErrorCode]] = {
    "nothing at all": (bytearray, ErrorCode.INVALID_RECORD),
    "a cut header": (lambda: batch()[:40], ErrorCode.CORRUPT_MESSAGE),
    "a cut batch": (lambda: batch(b"x" * 100)[:-1], ErrorCode.CORRUPT_MESSAGE),
    "garbage behind the batch": (lambda: batch() + b"garbage", ErrorCode.CORRUPT_MESSAGE),
    "a length smaller than the header": (lambda: patched(8, ">i", 10), ErrorCode.CORRUPT_MESSAGE),
    "a negative length": (lambda: patched(8, ">i", -5), ErrorCode.CORRUPT_MESSAGE),
    "magic 1": (lambda: patched(16, ">b", 1), ErrorCode.INVALID_RECORD),
    "magic 0": (lambda: patched(16, ">b", 0), ErrorCode.INVALID_RECORD),
    "magic 3": (lambda: patched(16, ">b", 3), ErrorCode.CORRUPT_MESSAGE),
    "a wrong CRC": (lambda: batch(b"a")[:-1] + b"\x01", ErrorCode.CORRUPT_MESSAGE),
    "a base offset": (lambda: batch(b"a", base_offset=7), ErrorCode.INVALID_RECORD),
    "a last offset before the first": (lambda: patched(23, ">i", -2), ErrorCode.INVALID_RECORD),
    "more offsets than records": (lambda: patched(23, ">i", 5), ErrorCode.INVALID_RECORD),
    "no records": (lambda: patched(57, ">i", 0), ErrorCode.INVALID_RECORD),
    "a negative count": (lambda: patched(57, ">i", -1), ErrorCode.INVALID_RECORD),
    "an unknown codec": (lambda: patched(21, ">h", 5), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
    "a control batch": (lambda: marker(commit=True, producer_id=1), ErrorCode.INVALID_RECORD),
    "a producer without a sequence": (
        lambda: batch(b"a", producer_id=1, producer_epoch=0, base_sequence=-1),
        ErrorCode.INVALID_RECORD,
    ),
    "too large a batch": (lambda: sized_batch(2001), ErrorCode.MESSAGE_TOO_LARGE),
    "a record from the far future": (lambda: batch(b"a", timestamp=NOW + 10_001), ErrorCode.INVALID_TIMESTAMP),
    "a record from the far past": (lambda: batch(b"a", timestamp=NOW - 20_001), ErrorCode.INVALID_TIMESTAMP),
    "one bad batch behind a good one": (lambda: batch() + patched(57, ">i", 0), ErrorCode.INVALID_RECORD),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refused(bench: LogBench, what: str) -> None:
    bench.configure(
        max_message_bytes=2000, message_timestamp_after_max_ms=10_000, message_timestamp_before_max_ms=20_000
    )
    bench.append()
    make, error = REFUSALS[what]
    result = bench.try_append(make())
    assert result.error is error, result
    assert result.message
    assert bench.log.log_end_offset == 1
    assert bench.append(batch(b"next")).base_offset == 1
    assert bench.read_all() == [0, 1]


def test_limits_are_inclusive(bench: LogBench) -> None:
    bench.configure(
        max_message_bytes=2000, message_timestamp_after_max_ms=10_000, message_timestamp_before_max_ms=20_000
    )
    bench.append(sized_batch(2000))
    bench.append(batch(b"a", timestamp=NOW + 10_000))
    bench.append(batch(b"a", timestamp=NOW - 20_000))
    bench.append(batch(b"a", timestamp=-1))


def test_the_records_at_fault_are_named(bench: LogBench) -> None:
    bench.configure(message_timestamp_after_max_ms=1000)
    records = [Record(i, NOW + 600 * i, None, b"") for i in range(4)]
    result = bench.try_append(bytearray(build_batch(records)))
    assert result.error is ErrorCode.INVALID_TIMESTAMP
    assert [index for index, _ in result.record_errors] == [2, 3]


def test_a_set_of_batches_larger_than_a_segment(bench: LogBench) -> None:
    bench.configure(segment_bytes=2000)
    result = bench.try_append(sized_batch(1500) + sized_batch(1500))
    assert result.error is ErrorCode.RECORD_LIST_TOO_LARGE
    assert bench.try_append(sized_batch(2001)).error is ErrorCode.RECORD_LIST_TOO_LARGE


def test_compacted_topics_need_keys(bench: LogBench) -> None:
    bench.configure(cleanup_policy=("compact",))
    bench.append(batch(b"a", key=b"k"))
    for codec in (Codec.NONE, Codec.ZSTD):
        records = [Record(0, NOW, b"k", b""), Record(1, NOW, None, b""), Record(2, NOW, b"", b"")]
        result = bench.try_append(bytearray(build_batch(records, codec=codec)))
        assert result.error is ErrorCode.INVALID_RECORD
        assert [index for index, _ in result.record_errors] == [1]
    assert bench.log.log_end_offset == 1


@pytest.mark.parametrize("settings", [{}, {"message_timestamp_after_max_ms": FOREVER}], ids=["bounded", "unbounded"])
def test_times_of_single_records_count_where_batches_are_opened(bench: LogBench, settings: dict[str, int]) -> None:
    bench.configure(cleanup_policy=("compact",), **settings)
    assert bench.try_append(far_future()).error is ErrorCode.INVALID_TIMESTAMP
    bench.configure(message_timestamp_type="LogAppendTime")
    bench.append(far_future())


def test_records_that_cannot_be_opened_are_refused_where_they_are_opened(bench: LogBench) -> None:
    bench.configure(cleanup_policy=("compact",))
    broken = batch(b"x" * 400, codec=Codec.ZSTD)
    broken[70:90] = bytes(20)
    assert bench.try_append(with_crc(broken)).error is ErrorCode.CORRUPT_MESSAGE
    bench.configure(cleanup_policy=("delete",), compression_type="gzip")
    assert bench.try_append(broken).error is ErrorCode.CORRUPT_MESSAGE


def test_what_becomes_too_large_when_compressed_anew(bench: LogBench) -> None:
    bench.configure(compression_type="uncompressed", max_message_bytes=1000)
    result = bench.try_append(batch(bytes(5000), codec=Codec.GZIP))
    assert result.error is ErrorCode.MESSAGE_TOO_LARGE


def test_producers_may_not_claim_the_logs_own_time(bench: LogBench) -> None:
    bench.configure(message_timestamp_type="LogAppendTime")
    result = bench.try_append(batch(b"a", timestamp_type=1, max_timestamp=NOW))
    assert result.error is ErrorCode.INVALID_TIMESTAMP


def test_log_append_time_does_not_mind_the_producers_times(bench: LogBench) -> None:
    bench.configure(message_timestamp_type="LogAppendTime", message_timestamp_after_max_ms=1)
    bench.append(batch(b"a", timestamp=NOW + 10**9))
