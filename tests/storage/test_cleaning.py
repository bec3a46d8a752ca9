"""Cleaning single batches: bytes in, bytes out."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blumfeld.protocol.batch import CorruptBatch, RecordBatch
from blumfeld.protocol.records import Header, Record, build_batch, read_records
from blumfeld.storage.cleaned_transactions import CleanedTransactions
from blumfeld.storage.cleaning import Cleaning, fill, read_slices, timestamp_delta
from blumfeld.storage.offset_map import OffsetMap

_NOW_MS = 1_000_000
_RETENTION_MS = 500


def cleaning(newest: dict[bytes, int], latest: int = 1_000, **changes: int) -> Cleaning:
    """A round that knows these newest offsets, up to `latest`."""
    offsets = OffsetMap(1 << 20)
    for key, offset in newest.items():
        offsets.put(key, offset)
    offsets.latest_offset = latest
    return Cleaning(
        offsets,
        CleanedTransactions([]),
        {},
        upper=changes.get("upper", 10_000),
        now_ms=changes.get("now_ms", _NOW_MS),
        delete_retention_ms=_RETENTION_MS,
    )


def clean(round_: Cleaning, data: bytes) -> RecordBatch | None:
    left = round_.clean(RecordBatch(data))
    return None if left is None else RecordBatch(left)


def test_a_batch_that_keeps_everything_is_not_touched() -> None:
    data = build_batch([Record(5, 100, b"a", b"1"), Record(6, 90, b"b", b"2")], base_offset=5, leader_epoch=3)
    left = cleaning({b"a": 5, b"b": 6}).clean(RecordBatch(data))
    assert isinstance(left, memoryview)
    assert left == data


def test_what_is_beyond_the_map_is_not_opened() -> None:
    data = bytearray(build_batch([Record(50, 100, b"a", b"1")], base_offset=50))
    data[-3:] = b"\xff\xff\xff"  # no record can be read here
    assert cleaning({b"a": 900}, latest=49).clean(RecordBatch(data)) == data


def test_a_rebuilt_batch_keeps_its_identity_and_corrects_its_largest_time() -> None:
    headers = (Header("h", b"v"), Header("n", None))
    records = [Record(7, 500, b"a", b"1"), Record(8, 100, b"b", b"2", headers), Record(9, 300, b"c", b"3")]
    data = build_batch(
        records, base_offset=7, leader_epoch=4, producer_id=3, producer_epoch=2, base_sequence=11, transactional=True
    )
    left = clean(cleaning({b"a": 99}), data)
    assert left is not None
    assert list(read_records(left)) == records[1:]
    assert (left.base_offset, left.last_offset, left.leader_epoch) == (7, 9, 4)
    assert (left.producer_id, left.producer_epoch, left.base_sequence, left.is_transactional) == (3, 2, 11, True)
    assert (left.max_timestamp, left.is_valid_crc()) == (300, True)


def test_the_brokers_time_stays() -> None:
    records = [Record(0, 1, b"a", b"1"), Record(1, 2, b"b", b"2")]
    data = build_batch(records, timestamp_type=1, max_timestamp=777)
    left = clean(cleaning({b"a": 99}), data)
    assert left is not None
    assert [(record.offset, record.timestamp) for record in read_records(left)] == [(1, 777)]


def as_java(timestamp: int) -> int:
    return (timestamp + 2**63) % 2**64 - 2**63


@pytest.mark.parametrize("extreme", [2**63 - 1, 2**63 + 99, 100 - 2**63])
def test_times_at_the_edge_of_64_bits_stay_what_they_are_to_java(extreme: int) -> None:
    records = [Record(0, 100, b"a", None), Record(1, extreme, b"b", None), Record(2, 200, b"c", None)]
    data = build_batch(records, max_timestamp=200)
    for newest in ({b"a": 0}, {b"a": 99}):
        left = clean(cleaning(newest), data)
        assert left is not None
        assert left.is_valid_crc()
        times = {record.key: as_java(record.timestamp) for record in read_records(left)}
        assert times.pop(b"a", 100) == 100
        assert times == {b"b": as_java(extreme), b"c": 200}
        assert left.max_timestamp == max(times.values())
        data = bytes(left.view)


def test_a_tombstones_batch_gets_its_horizon_once() -> None:
    data = build_batch([Record(0, 40, b"a", None), Record(1, 50, b"b", b"2")])
    left = clean(cleaning({b"a": 0, b"b": 1}), data)
    assert left is not None
    assert left.delete_horizon == _NOW_MS + _RETENTION_MS
    assert [(record.key, record.timestamp) for record in read_records(left)] == [(b"a", 40), (b"b", 50)]
    stamped = bytes(left.view)
    for later_ms, keys in [(_RETENTION_MS - 1, [b"a", b"b"]), (_RETENTION_MS, [b"b"])]:
        again = clean(cleaning({b"a": 0, b"b": 1}, now_ms=_NOW_MS + later_ms), stamped)
        assert again is not None
        assert again.delete_horizon == _NOW_MS + _RETENTION_MS
        assert [record.key for record in read_records(again)] == keys


def test_an_emptied_batch_is_kept_only_where_it_says_more_than_its_records() -> None:
    data = build_batch([Record(4, 60, b"a", b"1")], base_offset=4, producer_id=8, producer_epoch=0, base_sequence=0)
    assert clean(cleaning({b"a": 99}), data) is None
    at_the_end = clean(cleaning({b"a": 99}, upper=5), data)
    of_live_producer = cleaning({b"a": 99})
    of_live_producer.last_batches[8] = (4, 0)
    for left in (at_the_end, clean(of_live_producer, data)):
        assert left is not None
        assert (left.record_count, left.base_offset, left.last_offset, left.max_timestamp) == (0, 4, 4, 60)
        assert (left.base_timestamp, left.producer_id, left.is_valid_crc()) == (-1, 8, True)
    other = cleaning({b"a": 99})
    other.last_batches[8] = (3, 0)
    assert clean(other, data) is None


def test_keys_are_noted_from_where_the_dirty_part_begins() -> None:
    offsets, none = OffsetMap(1 << 20), CleanedTransactions([])
    data = build_batch([Record(3, 0, b"a", b""), Record(4, 0, b"b", b""), Record(5, 0, None, b"")], base_offset=3)
    assert fill(offsets, RecordBatch(data), 4, none)
    assert (offsets.get(b"a"), offsets.get(b"b"), offsets.latest_offset) == (-1, 4, 5)
    tiny = OffsetMap(200)
    assert not fill(tiny, RecordBatch(data), 0, none)
    assert tiny.latest_offset == -1


_texts = st.one_of(st.none(), st.binary(max_size=200))


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(-(1 << 40), 1 << 40), _texts, _texts, st.booleans()), max_size=20
    )
)
def test_slices_are_what_the_reader_of_records_reads(parts: list[tuple[int, int, bytes, bytes, bool]]) -> None:
    records, offset = [], 0
    for gap, timestamp, key, value, has_header in parts:
        offset += gap
        records.append(Record(offset, timestamp, key, value, (Header("name", value),) if has_header else ()))
        offset += 1
    if not records:
        return
    batch = RecordBatch(build_batch(records))
    payload = bytes(batch.payload)
    slices = read_slices(payload, batch.record_count)
    assert [(delta, key, has_value) for delta, key, has_value, _, _ in slices] == [
        (record.offset, record.key, record.value is not None) for record in records
    ]
    assert b"".join(payload[start:end] for *_, start, end in slices) == payload
    assert [batch.base_timestamp + timestamp_delta(payload[start:end]) for *_, start, end in slices] == [
        record.timestamp for record in records
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_count_is_damage(count: int) -> None:
    payload = bytes(RecordBatch(build_batch([Record(0, 0, b"a", b"1"), Record(1, 0, b"b", b"2")])).payload)
    with pytest.raises(CorruptBatch):
        read_slices(payload, count)


@given(st.binary(max_size=60), st.integers(1, 5))
def test_garbage_is_damage_or_records_but_nothing_else(payload: bytes, count: int) -> None:
    with suppress(CorruptBatch):
        read_slices(payload, count)
