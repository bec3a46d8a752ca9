"""Batches as views: headers read, walked, patched; garbage refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blumfeld.protocol.batch import (
    HEADER_SIZE,
    CorruptBatch,
    RecordBatch,
    UnsupportedMagic,
    is_torn,
    iterate_batches,
    set_append_time,
    set_max_timestamp,
    set_offset_and_epoch,
)
from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.records import Record, build_batch, read_records


def a_batch(base_offset: int = 0, count: int = 3, value: bytes = b"value") -> bytes:
    records = [Record(base_offset + n, 1_700_000_000_000 + n, b"key", value) for n in range(count)]
    return build_batch(
        records, base_offset=base_offset, producer_id=77, producer_epoch=2, base_sequence=10, leader_epoch=5
    )


def test_the_header_is_where_kafka_has_it() -> None:
    raw = a_batch(1000)
    batch = RecordBatch(raw)
    assert HEADER_SIZE == 61
    assert struct.unpack_from(">q", raw, 0)[0] == batch.base_offset == 1000
    assert struct.unpack_from(">i", raw, 8)[0] + 12 == batch.length == len(raw)
    assert struct.unpack_from(">i", raw, 12)[0] == batch.leader_epoch == 5
    assert raw[16] == batch.magic == 2
    assert struct.unpack_from(">I", raw, 17)[0] == batch.crc == crc32c(raw[21:])
    assert struct.unpack_from(">h", raw, 21)[0] == batch.attributes == 0
    assert struct.unpack_from(">i", raw, 23)[0] == batch.last_offset_delta == 2
    assert struct.unpack_from(">q", raw, 27)[0] == batch.base_timestamp == 1_700_000_000_000
    assert struct.unpack_from(">q", raw, 35)[0] == batch.max_timestamp == 1_700_000_000_002
    assert struct.unpack_from(">q", raw, 43)[0] == batch.producer_id == 77
    assert struct.unpack_from(">h", raw, 51)[0] == batch.producer_epoch == 2
    assert struct.unpack_from(">i", raw, 53)[0] == batch.base_sequence == 10
    assert struct.unpack_from(">i", raw, 57)[0] == batch.record_count == 3
    assert batch.payload == raw[61:]


def test_what_the_header_means() -> None:
    batch = RecordBatch(a_batch(1000))
    assert (batch.last_offset, batch.next_offset, batch.last_sequence) == (1002, 1003, 12)
    assert batch.has_producer_id
    assert batch.is_valid_crc()
    assert (batch.codec, batch.timestamp_type, batch.is_transactional, batch.is_control) == (0, 0, False, False)
    assert batch.delete_horizon is None
    assert "1000…1002, 3 records" in repr(batch)


@pytest.mark.parametrize(
    ("attributes", "codec", "timestamp_type", "transactional", "control"),
    [(0x01, 1, 0, False, False), (0x0C, 4, 1, False, False), (0x10, 0, 0, True, False), (0x37, 7, 0, True, True)],
)
def test_attributes(attributes: int, codec: int, timestamp_type: int, transactional: bool, control: bool) -> None:
    raw = bytearray(a_batch())
    struct.pack_into(">h", raw, 21, attributes)
    batch = RecordBatch(raw)
    assert (batch.codec, batch.timestamp_type) == (codec, timestamp_type)
    assert (batch.is_transactional, batch.is_control) == (transactional, control)
    assert not batch.is_valid_crc()


def test_the_delete_horizon_is_where_the_base_timestamp_was() -> None:
    records = [Record(0, 50, b"k", None)]
    batch = RecordBatch(build_batch(records, delete_horizon=99))
    assert batch.delete_horizon == 99
    assert [record.timestamp for record in read_records(batch)] == [50]


def test_sequences_wrap_round() -> None:
    records = [Record(n, 0, None, b"") for n in range(4)]
    assert RecordBatch(build_batch(records, base_sequence=2**31 - 2)).last_sequence == 1
    assert RecordBatch(build_batch(records)).last_sequence == -1
    assert not RecordBatch(build_batch(records)).has_producer_id


def test_a_view_may_start_anywhere_and_copies_nothing() -> None:
    raw = bytearray(b"??" + a_batch(7) + b"?")
    batch = RecordBatch(memoryview(raw), 2)
    assert batch.base_offset == 7
    assert batch.is_valid_crc()
    batch.view[12:16] = b"\0\0\0\x09"
    assert RecordBatch(raw, 2).leader_epoch == 9


def test_batches_are_walked_in_order() -> None:
    first, second = a_batch(0), a_batch(3, 5)
    assert [batch.base_offset for batch in iterate_batches(first + second)] == [0, 3]
    assert [batch.base_offset for batch in iterate_batches(first + second, len(first))] == [3]
    assert list(iterate_batches(b"")) == []


@pytest.mark.parametrize("size", [1, 11, 12, 16, 17, 60, 61, 90])
def test_a_torn_tail_ends_the_walk_or_is_refused(size: int) -> None:
    whole = a_batch(0)
    torn = a_batch(3)[:size]
    assert size < len(a_batch(3))
    assert is_torn(torn)
    assert [batch.base_offset for batch in iterate_batches(whole + torn, torn_tail=True)] == [0]
    with pytest.raises(CorruptBatch):
        list(iterate_batches(whole + torn))


@pytest.mark.parametrize("length", [-(2**31), -1, 0, 14, 48, 2**31 - 1])
def test_absurd_lengths_are_refused(length: int) -> None:
    raw = bytearray(a_batch())
    struct.pack_into(">i", raw, 8, length)
    with pytest.raises(CorruptBatch):
        RecordBatch(raw)
    if length < 49:
        with pytest.raises(CorruptBatch):
            list(iterate_batches(raw, torn_tail=True))


@pytest.mark.parametrize("magic", [0, 1, 3, 127])
def test_other_formats_are_told_apart(magic: int) -> None:
    raw = bytearray(a_batch())
    raw[16] = magic
    with pytest.raises(UnsupportedMagic, match=f"record format {magic}"):
        RecordBatch(raw)
    with pytest.raises(UnsupportedMagic, match=f"record format {magic}"):
        RecordBatch(raw[:34])


@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_a_corrupt_batch(data: bytes, torn_tail: bool) -> None:
    try:
        for batch in iterate_batches(data, torn_tail=torn_tail):
            assert batch.length <= len(data)
    except CorruptBatch:
        pass


def test_a_leader_patches_offset_and_epoch_without_hashing() -> None:
    raw = bytearray(b"??" + a_batch(0))
    crc = RecordBatch(raw, 2).crc
    set_offset_and_epoch(raw, 123_456_789_012, 42, 2)
    batch = RecordBatch(raw, 2)
    assert (batch.base_offset, batch.leader_epoch, batch.crc) == (123_456_789_012, 42, crc)
    assert batch.is_valid_crc()
    assert [record.offset for record in read_records(batch)] == [123_456_789_012 + n for n in range(3)]


def test_append_time_changes_type_time_and_crc() -> None:
    raw = bytearray(b"??" + a_batch(0))
    set_append_time(memoryview(raw), 1_800_000_000_000, 2)
    batch = RecordBatch(raw, 2)
    assert (batch.timestamp_type, batch.max_timestamp) == (1, 1_800_000_000_000)
    assert batch.base_timestamp == 1_700_000_000_000
    assert batch.is_valid_crc()
    assert {record.timestamp for record in read_records(batch)} == {1_800_000_000_000}


def test_a_wrong_largest_timestamp_is_corrected() -> None:
    raw = bytearray(a_batch(0))
    set_max_timestamp(raw, 1_700_000_000_001)
    batch = RecordBatch(raw)
    assert (batch.timestamp_type, batch.max_timestamp) == (0, 1_700_000_000_001)
    assert batch.is_valid_crc()
