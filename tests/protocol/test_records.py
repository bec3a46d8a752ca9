"""Records opened and built, against the record builders of two clients, and against damage."""

from __future__ import annotations

import struct
import warnings
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatch as AioBatch
from aiokafka.record.default_records import DefaultRecordBatchBuilder as AioBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from blumfeld.protocol.batch import CorruptBatch, RecordBatch
from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.records import (
    ControlType,
    Header,
    Record,
    build_batch,
    control_batch,
    control_type,
    end_transaction_batch,
    read_control_records,
    read_records,
    repack,
)
from tests.protocol import golden_batches

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python reads its schemas in an old way
    from kafka.record.default_records import DefaultRecordBatch as KafkaPythonBatch
    from kafka.record.default_records import DefaultRecordBatchBuilder as KafkaPythonBuilder

START = 1_700_000_000_000

HEADERS = st.lists(st.builds(Header, st.text(max_size=5), st.none() | st.binary(max_size=70)), max_size=3).map(tuple)
CONTENTS = st.lists(
    st.tuples(
        st.integers(-(2**40), 2**40),
        st.none() | st.binary(max_size=100),
        st.none() | st.binary(max_size=300),
        HEADERS,
    ),
    min_size=1,
    max_size=20,
)


def records_of(contents: list[Any], base_offset: int = 0) -> list[Record]:
    return [
        Record(base_offset + n, START + delta, key, value, headers)
        for n, (delta, key, value, headers) in enumerate(contents)
    ]


def some_records(base_offset: int = 0) -> list[Record]:
    return [
        Record(
            base_offset + n,
            START + n * 7,
            None if n % 3 == 0 else b"key %d" % n,
            None if n % 5 == 0 else b"value" * n,
            (Header("trace", b"\x00\x01"), Header("none", None)) if n % 4 == 0 else (),
        )
        for n in range(100)
    ]


def plain(records: Any) -> list[tuple[Any, ...]]:
    return [
        (one.offset, one.timestamp, one.key, one.value, tuple((key, value) for key, value in one.headers))
        for one in records
    ]


@given(CONTENTS, st.sampled_from(Codec), st.integers(0, 2**62))
def test_any_records_return(contents: list[Any], codec: Codec, base_offset: int) -> None:
    records = records_of(contents, base_offset)
    batch = RecordBatch(build_batch(records, base_offset=base_offset, codec=codec))
    assert batch.is_valid_crc()
    assert batch.codec == codec
    assert (batch.base_offset, batch.last_offset, batch.record_count) == (base_offset, records[-1].offset, len(records))
    assert batch.max_timestamp == max(record.timestamp for record in records)
    assert list(read_records(batch)) == records


@pytest.mark.parametrize("codec", Codec, ids=lambda codec: codec.name)
def test_aiokafka_reads_ours(codec: Codec) -> None:
    records = some_records(500)
    raw = build_batch(
        records, base_offset=500, codec=codec, producer_id=9, producer_epoch=1, base_sequence=3, transactional=True
    )
    read = AioBatch(raw)
    assert read.validate_crc()
    assert (read.producer_id, read.producer_epoch, read.base_sequence) == (9, 1, 3)
    assert read.is_transactional
    assert not read.is_control_batch
    assert plain(read) == plain(records)


@pytest.mark.parametrize("codec", Codec, ids=lambda codec: codec.name)
def test_we_read_aiokafkas(codec: Codec) -> None:
    builder = AioBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=5,
        producer_epoch=6,
        base_sequence=7,
        batch_size=1 << 20,
    )
    records = some_records()
    for one in records:
        headers = [(header.key, header.value) for header in one.headers]
        builder.append(one.offset, timestamp=one.timestamp, key=one.key, value=one.value, headers=headers)
    batch = RecordBatch(bytes(builder.build()))
    assert batch.is_valid_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (5, 6, 7)
    assert list(read_records(batch)) == records


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.GZIP], ids=lambda codec: codec.name)
def test_kafka_python_reads_ours_and_we_read_its(codec: Codec) -> None:
    """The codecs for which kafka-python needs no library of its own."""
    records = some_records(1000)
    read = KafkaPythonBatch(build_batch(records, base_offset=1000, codec=codec, leader_epoch=4))
    assert read.validate_crc()
    assert read.leader_epoch == 4
    assert plain(read) == plain(records)

    builder = KafkaPythonBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=True,
        producer_id=5,
        producer_epoch=6,
        base_sequence=7,
        batch_size=1 << 20,
    )
    for n, one in enumerate(records):
        headers = [(header.key, header.value) for header in one.headers]
        builder.append(n, one.timestamp, one.key, one.value, headers)
    batch = RecordBatch(bytes(builder.build()))
    assert batch.is_valid_crc()
    assert batch.is_transactional
    assert [record[1:] for record in read_records(batch)] == [record[1:] for record in records]


def test_without_records_and_codec_the_bytes_are_kafka_pythons() -> None:
    builder = KafkaPythonBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=9999,
    )
    builder.append(0, START, b"k", b"v", [("h", b"x")])
    ours = bytearray(build_batch([Record(0, START, b"k", b"v", (Header("h", b"x"),))]))
    theirs = bytearray(builder.build())
    ours[12:16] = theirs[12:16]  # a client writes any leader epoch
    assert ours == theirs


@pytest.mark.parametrize("codec", Codec, ids=lambda codec: codec.name)
def test_apache_kafkas_batches_are_read(codec: Codec) -> None:
    batch = RecordBatch(golden_batches.BATCHES[codec.name])
    assert batch.is_valid_crc()
    assert batch.codec == codec
    assert list(read_records(batch)) == golden_batches.RECORDS


def test_ours_are_apache_kafkas_to_the_byte() -> None:
    assert build_batch(golden_batches.RECORDS, base_offset=10) == golden_batches.BATCHES["NONE"]


def test_an_emptied_batch_keeps_offsets_and_time() -> None:
    batch = RecordBatch(
        build_batch(
            [], base_offset=10, last_offset=14, max_timestamp=START, producer_id=3, producer_epoch=0, base_sequence=5
        )
    )
    assert (batch.last_offset, batch.record_count, batch.max_timestamp, batch.last_sequence) == (14, 0, START, 9)
    assert batch.length == 61
    assert batch.is_valid_crc()
    assert list(read_records(batch)) == []
    with pytest.raises(ValueError, match="without records"):
        build_batch([])


def test_compaction_leaves_gaps() -> None:
    records = [Record(12, START, b"a", b"1"), Record(17, START, b"b", b"2")]
    batch = RecordBatch(build_batch(records, base_offset=10, last_offset=19))
    assert (batch.base_offset, batch.last_offset) == (10, 19)
    assert list(read_records(batch)) == records


def test_append_time_overrides_the_records_own() -> None:
    batch = RecordBatch(build_batch(some_records(), timestamp_type=1, max_timestamp=START + 10**6))
    assert {record.timestamp for record in read_records(batch)} == {START + 10**6}


def test_an_end_marker_is_a_transactional_control_batch() -> None:
    raw = end_transaction_batch(
        commit=False,
        base_offset=8,
        timestamp=START,
        leader_epoch=1,
        producer_id=77,
        producer_epoch=3,
        coordinator_epoch=6,
    )
    batch = RecordBatch(raw)
    assert batch.is_control
    assert batch.is_transactional
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (77, 3, -1)
    assert control_type(batch) is ControlType.ABORT
    [record] = read_records(batch)
    assert record == Record(8, START, b"\0\0\0\0", b"\0\0\0\0\0\x06")
    assert AioBatch(raw).is_control_batch


def test_a_control_batch_of_several_records() -> None:
    controls = [(ControlType.SNAPSHOT_HEADER, b"head"), (ControlType.KRAFT_VERSION, b"version")]
    batch = RecordBatch(control_batch(controls, base_offset=3, timestamp=START, leader_epoch=2))
    assert not batch.is_transactional
    found = read_control_records(batch)
    assert [(kind, record.value, record.offset) for record, kind in found] == [
        (ControlType.SNAPSHOT_HEADER, b"head", 3),
        (ControlType.KRAFT_VERSION, b"version", 4),
    ]


def test_control_records_of_unknown_kind_and_broken_ones() -> None:
    unknown = build_batch([Record(0, START, b"\0\0\0\x63", b"")], control=True)
    assert control_type(RecordBatch(unknown)) is None
    for key in (None, b"", b"\0\0\0"):
        with pytest.raises(CorruptBatch):
            control_type(RecordBatch(build_batch([Record(0, START, key, b"")], control=True)))
    emptied = build_batch([], last_offset=0, max_timestamp=0, control=True)
    assert control_type(RecordBatch(emptied)) is None


def with_payload(payload: bytes, count: int = 1, attributes: int = 0) -> RecordBatch:
    """A batch whose header is right and whose records are `payload`."""
    raw = bytearray(build_batch([Record(0, START, None, None)])[:61] + payload)
    struct.pack_into(">i", raw, 8, len(raw) - 12)
    struct.pack_into(">h", raw, 21, attributes)
    struct.pack_into(">i", raw, 57, count)
    struct.pack_into(">I", raw, 17, crc32c(raw[21:]))
    batch = RecordBatch(raw)
    assert batch.is_valid_crc()
    return batch


WHOLE = "0c 00 00 00 01 01 00"


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        ("", 1),  # no record
        (WHOLE, 2),  # fewer than announced
        (WHOLE, 0),  # more than announced
        (WHOLE, -1),
        (WHOLE, 2**31 - 1),
        (WHOLE + "00", 1),  # bytes left over
        (WHOLE[:-3], 1),  # cut off
        ("80", 1),  # a varint cut off
        ("ffffffffff", 1),  # a varint too long
        ("01 00 00 00 01 01 00", 1),  # a negative size
        ("0e 00 00 00 01 01 00 00", 1),  # a size too large by one
        ("0a 00 00 00 01 01 00", 1),  # too small by one
        ("0c 00 00 00 03 01 00", 1),  # a key of length −2
        ("0c 00 00 00 10 01 00", 1),  # a key longer than the record
        ("0c 00 00 00 01 7e 00", 1),  # a value longer than the record
        ("0c 00 00 00 01 01 01", 1),  # −1 headers
        ("0c 00 00 00 01 01 7e", 1),  # more headers than bytes
        ("10 00 00 00 01 01 02 01 01", 1),  # a header without a key
        ("12 00 00 00 01 01 02 02 ff 01", 1),  # a header's key that is not UTF-8
        ("16 00 00 00 01 01 02 02 61 7e 00 00", 1),  # a header's value longer than the record
    ],
)
def test_damaged_records_are_a_corrupt_batch(payload: str, count: int) -> None:
    with pytest.raises(CorruptBatch):
        list(read_records(with_payload(bytes.fromhex(payload), count)))


def test_the_table_of_damages_starts_from_a_sound_record() -> None:
    [record] = read_records(with_payload(bytes.fromhex(WHOLE)))
    assert record == Record(0, START, None, None)


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(-2, 20), st.integers(0, 7))
def test_garbage_payloads_are_a_corrupt_batch(payload: bytes, count: int, codec: int) -> None:
    with suppress(CorruptBatch):
        list(read_records(with_payload(payload, count, codec)))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Codec), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_payloads_are_records_or_a_corrupt_batch(codec: Codec, damages: list[tuple[int, int]]) -> None:
    raw = bytearray(build_batch(some_records(), codec=codec))
    for position, value in damages:
        raw[61 + position % (len(raw) - 61)] = value
    with suppress(CorruptBatch):
        list(read_records(RecordBatch(raw)))


@pytest.mark.parametrize("codec", Codec, ids=lambda codec: codec.name)
def test_unpacking_is_bounded(codec: Codec) -> None:
    batch = RecordBatch(build_batch([Record(0, START, None, bytes(1_000_000))], codec=codec))
    assert len(list(read_records(batch, 1_000_100))) == 1
    with pytest.raises(CorruptBatch):
        list(read_records(batch, 1_000_000))


@pytest.mark.parametrize("codec", Codec)
def test_repacked_a_batch_says_the_same(codec: Codec) -> None:
    records = [Record(7 + i, 1000 + i, b"k%d" % i, b"v" * 100, (Header("h", None),)) for i in range(20)]
    options: dict[str, Any] = {
        "base_offset": 7,
        "producer_id": 5,
        "producer_epoch": 1,
        "base_sequence": 3,
        "leader_epoch": 2,
        "transactional": True,
    }
    for source in Codec:
        batch = RecordBatch(repack(RecordBatch(build_batch(records, codec=source, **options)), codec))
        assert batch.codec == codec
        assert batch.is_valid_crc()
        assert list(read_records(batch)) == records
        assert bytes(batch.view) == build_batch(records, codec=codec, **options)


def test_what_cannot_be_unpacked_cannot_be_repacked() -> None:
    batch = build_batch([Record(0, 1000, b"k", bytes(1000))], codec=Codec.ZSTD)
    with pytest.raises(CorruptBatch, match=r"(more than|at most) 500"):
        repack(RecordBatch(batch), Codec.NONE, max_bytes=500)
    with pytest.raises(CorruptBatch):
        repack(RecordBatch(batch[:61] + bytes(len(batch) - 61)), Codec.GZIP)


def test_so_many_records_may_be_opened_and_no_more() -> None:
    batch = RecordBatch(build_batch([Record(i, 1000, b"k", b"v") for i in range(10)]))
    assert len(list(read_records(batch, max_records=10))) == 10
    with pytest.raises(CorruptBatch, match="10 records, where 9 may be opened"):
        list(read_records(batch, max_records=9))
