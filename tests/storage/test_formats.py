"""The declared layouts and the ones of the hot paths are the same."""

from __future__ import annotations

from blumfeld.storage import formats, index, snapshots, txn_index
from blumfeld.storage.producers import Producer
from tests.storage.builders import batch


def test_a_batch_header_is_61_bytes_and_reads_as_the_view_does() -> None:
    data = batch(b"a", b"b", timestamp=5, producer_id=7, producer_epoch=3, base_sequence=11, transactional=True)
    header = formats.BatchHeader.parse(bytes(data))
    assert formats.BatchHeader.sizeof() == 61
    assert header.length == len(data) - 12
    assert (header.magic, header.last_offset, header.record_count) == (2, 1, 2)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 3, 11)
    assert header.max_timestamp == 5
    assert header.attributes.is_transactional
    assert not header.attributes.is_control
    assert header.attributes.codec == 0


def test_index_entries() -> None:
    assert formats.OffsetIndexEntry.sizeof() == index.OffsetIndex.entry_size == 8
    assert formats.TimeIndexEntry.sizeof() == index.TimeIndex.entry_size == 12
    assert formats.TransactionIndexEntry.sizeof() == txn_index.ENTRY.size == 34
    packed = txn_index.ENTRY.pack(0, 1, 2, 3, 4)
    entry = formats.TransactionIndexEntry.parse(packed)
    assert (entry.version, entry.producer_id, entry.first_offset) == (0, 1, 2)
    assert (entry.last_offset, entry.last_stable_offset) == (3, 4)


def test_a_snapshot() -> None:
    producer = Producer(9)
    producer.add(2, last_sequence=14, last_offset=120, offset_delta=4, timestamp=77)
    producer.coordinator_epoch = 6
    producer.txn_first_offset = 100
    data = snapshots.encode([producer])
    parsed = formats.ProducerSnapshot.parse(data)
    assert len(data) == 10 + 46
    assert parsed.version == 1
    assert dict(parsed.producers[0], _io=None) == {
        "_io": None,
        "producer_id": 9,
        "epoch": 2,
        "last_sequence": 14,
        "last_offset": 120,
        "offset_delta": 4,
        "timestamp": 77,
        "coordinator_epoch": 6,
        "current_txn_first_offset": 100,
    }
    assert formats.ProducerSnapshot.build(parsed) == data


def test_an_empty_snapshot_is_ten_bytes() -> None:
    assert len(snapshots.encode([])) == 10
    assert snapshots.decode(snapshots.encode([])) == []
