"""Batches that are opened on behalf of a client, at the edge of what may be opened."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from blumfeld.protocol.batch import HEADER_SIZE
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage import validate
from tests.storage.builders import NOW, LogBench, batch

CODECS = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]
OPENING: list[dict[str, Any]] = [
    {"cleanup_policy": ("compact",)},
    {"compression_type": "uncompressed"},
]
MIB = 1 << 20


def bomb(size: int, codec: Codec) -> bytearray:
    """A batch whose records are `size` bytes once they are unpacked."""
    around = len(batch(bytes(size - 20))) - HEADER_SIZE - (size - 20)
    return batch(bytes(size - around), codec=codec, timestamp=NOW)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("settings", OPENING, ids=lambda settings: next(iter(settings)))
def test_what_unpacks_to_the_bound_is_opened_and_a_byte_more_is_not(
    bench: LogBench, settings: dict[str, Any], codec: Codec
) -> None:
    bench.configure(max_decompressed_bytes=MIB, segment_bytes=8 * MIB, max_message_bytes=8 * MIB, **settings)
    bench.append(bomb(MIB, codec))
    result = bench.try_append(bomb(MIB + 1, codec))
    assert result.error is ErrorCode.CORRUPT_MESSAGE
    assert str(MIB) in (result.message or "")
    assert bench.log.log_end_offset == 1


def test_a_batch_of_too_many_records_is_not_opened(bench: LogBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "MAX_OPENED_RECORDS", 100)
    bench.configure(cleanup_policy=("compact",))
    bench.append(batch(count=100))
    result = bench.try_append(batch(count=101))
    assert result.error is ErrorCode.CORRUPT_MESSAGE
    assert "101 records" in (result.message or "")


def test_only_so_many_bad_records_are_named(bench: LogBench) -> None:
    bench.configure(cleanup_policy=("compact",))
    result = bench.try_append(batch(count=1500, key=None))
    assert result.error is ErrorCode.INVALID_RECORD
    assert len(result.record_errors) == 1000


def test_a_bomb_is_stored_unopened_and_costs_a_search_for_its_time_no_more_than_the_bound(bench: LogBench) -> None:
    bench.configure(max_decompressed_bytes=MIB, segment_bytes=8 * MIB)
    bench.append(bomb(64 * MIB, Codec.ZSTD))
    bench.append(batch(b"after", timestamp=NOW + 1))
    tracemalloc.start()
    found = bench.look_up(NOW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is not None
    assert found.offset == 1, "what can't be opened is passed over"
    assert peak < 4 * MIB
