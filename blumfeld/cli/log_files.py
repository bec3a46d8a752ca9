"""The files of a log directory as plain values: what `dump-log` prints and `--verify` goes by.

Owns which file is what, by its name, and how each is read. Everything is told as dicts with a `kind`; nothing is judged
here but whether a file can be read at all (`Unreadable`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from blumfeld.env import paths
from blumfeld.env.disk import RealDisk
from blumfeld.protocol.batch import CorruptBatch, RecordBatch
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.primitives import uuid_to_text
from blumfeld.protocol.records import ControlType, Record, control_type_of, read_records
from blumfeld.storage import checkpoint, epochs, snapshots
from blumfeld.storage.epochs import MalformedCheckpoint
from blumfeld.storage.scan import BadBatch, scan
from blumfeld.storage.snapshots import CorruptSnapshot

Item = dict[str, Any]

_LEFT_OVER = (".deleted", ".cleaned", ".swap", ".part")
_OFFSET_ENTRY_BYTES, _TIME_ENTRY_BYTES, _TRANSACTION_ENTRY_BYTES = 8, 12, 34
_CHECKPOINTS = {
    checkpoint.RECOVERY_POINTS,
    checkpoint.LOG_START_OFFSETS,
    checkpoint.HIGH_WATERMARKS,
    checkpoint.CLEANER_OFFSETS,
}
_QUORUM_STATE = "quorum-state"
_METADATA, _OFFSETS, _TRANSACTIONS = "__cluster_metadata", "__consumer_offsets", "__transaction_state"


class Unreadable(Exception):
    """A file is damaged as a whole, or is none of a log directory's."""


def suffix_of(path: str) -> str:
    """What kind of file it is: `.log`, `.index` …, or its whole name; `.deleted` and the like do not count."""
    name = paths.name(path)
    for left_over in _LEFT_OVER:
        name = name.removesuffix(left_over)
    head, dot, tail = name.rpartition(".")
    return dot + tail if head[:20].isdigit() else name


def base_offset_of(path: str) -> int:
    """The offset that a segment's file is named after."""
    digits = paths.name(path)[:20]
    return int(digits) if digits.isdigit() else 0


def topic_of(path: str) -> str:
    """The topic of the directory that holds the file."""
    return paths.name(paths.parent(path)).rpartition("-")[0]


def read(path: str, *, records: bool = False) -> Iterator[Item]:
    """What is in the file. Raises `Unreadable` and OSError; damage within a data file comes as an item of that kind."""
    suffix = suffix_of(path)
    try:
        if suffix in (".log", ".checkpoint"):
            yield from _batches(path, records)
        elif suffix == ".index":
            yield from _offset_entries(path)
        elif suffix == ".timeindex":
            yield from _time_entries(path)
        else:
            yield from _small_file(path, suffix, RealDisk().read_file(path))
    except (MalformedCheckpoint, CorruptSnapshot, UnicodeDecodeError) as error:
        raise Unreadable(f"{path}: {error}") from error


def _small_file(path: str, suffix: str, data: bytes) -> Iterator[Item]:
    if suffix == ".txnindex":
        yield from _aborted(path, data)
    elif suffix == ".snapshot":
        for producer in snapshots.decode(data):
            names = (
                "producer_id epoch last_sequence last_offset offset_delta timestamp coordinator_epoch txn_first_offset"
            )
            yield {"kind": "producer", **dict(zip(names.split(), producer.as_tuple(), strict=True))}
    elif suffix == epochs.FILE_NAME:
        for epoch, start in epochs.decode(data):
            yield {"kind": "epoch", "epoch": epoch, "start_offset": start}
    elif suffix in _CHECKPOINTS:
        for (topic, partition), offset in sorted(checkpoint.decode_offsets(data).items()):
            yield {"kind": "offset", "topic": topic, "partition": partition, "offset": offset}
    elif suffix == checkpoint.PARTITION_METADATA:
        topic_id = checkpoint.decode_partition_metadata(data)
        yield {"kind": "topic id", "topic_id": None if topic_id is None else uuid_to_text(topic_id)}
    elif suffix == checkpoint.CLEAN_SHUTDOWN:
        if data.strip():  # empty before Kafka 4
            _must_be_json(path, data)
        yield {"kind": "clean shutdown", "broker_epoch": checkpoint.decode_clean_shutdown(data)}
    elif suffix in (checkpoint.META_PROPERTIES, _QUORUM_STATE):
        if suffix == _QUORUM_STATE:
            _must_be_json(path, data)
        yield {"kind": "text", "text": data.decode("utf-8", "backslashreplace").rstrip()}
    else:
        raise Unreadable(f"{path} is none of the files of a log directory")


def _must_be_json(path: str, data: bytes) -> None:
    try:
        json.loads(data)
    except ValueError as error:
        raise Unreadable(f"{path} is no JSON: {error}") from error


# Batches and records.
def _batches(path: str, with_records: bool) -> Iterator[Item]:
    file = RealDisk().open(path, read_only=True)
    topic = topic_of(path)
    try:
        for position, _, data in scan(file, 0, file.size):
            batch = RecordBatch(data)
            yield _batch(batch, position)
            if with_records:
                try:
                    for record in read_records(batch):
                        yield _record(record, batch, topic)
                except CorruptBatch as error:
                    yield {"kind": "damage", "position": position, "reason": str(error)}
    except BadBatch as error:
        yield {"kind": "damage", "position": error.position, "reason": error.reason}
    finally:
        file.close()


def _batch(batch: RecordBatch, position: int) -> Item:
    codec = Codec(batch.codec).name.lower() if batch.codec in set(Codec) else str(batch.codec)
    return {
        "kind": "batch",
        "base_offset": batch.base_offset,
        "last_offset": batch.last_offset,
        "records": batch.record_count,
        "position": position,
        "size": batch.length,
        "leader_epoch": batch.leader_epoch,
        "base_timestamp": batch.base_timestamp,
        "max_timestamp": batch.max_timestamp,
        "timestamp_type": "LogAppendTime" if batch.timestamp_type else "CreateTime",
        "codec": codec,
        "producer_id": batch.producer_id,
        "producer_epoch": batch.producer_epoch,
        "base_sequence": batch.base_sequence,
        "transactional": batch.is_transactional,
        "control": batch.is_control,
        "delete_horizon": batch.delete_horizon,
        "crc": batch.crc,
        "valid": batch.is_valid_crc(),
    }


def _record(record: Record, batch: RecordBatch, topic: str) -> Item:
    item: Item = {
        "kind": "record",
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key,
        "value": record.value,
        "headers": [(header.key, header.value) for header in record.headers],
    }
    try:
        if batch.is_control:
            item["means"] = _control(record)
        elif topic == _METADATA:
            item["means"] = _metadata(record)
        elif topic in (_OFFSETS, _TRANSACTIONS):
            item["means"] = _coordinated(record, topic)
    except ProtocolError as error:
        item["means"] = f"cannot be decoded: {error}"
    return item


def _control(record: Record) -> str:
    from blumfeld.protocol.messages import control_records

    kind = control_type_of(record)
    declarations: dict[ControlType, Any] = {
        ControlType.ABORT: control_records.EndTxnMarker,
        ControlType.COMMIT: control_records.EndTxnMarker,
        ControlType.LEADER_CHANGE: control_records.LeaderChangeMessage,
        ControlType.SNAPSHOT_HEADER: control_records.SnapshotHeaderRecord,
        ControlType.SNAPSHOT_FOOTER: control_records.SnapshotFooterRecord,
        ControlType.KRAFT_VERSION: control_records.KRaftVersionRecord,
        ControlType.KRAFT_VOTERS: control_records.VotersRecord,
    }
    if kind is None or record.value is None:
        return "a control record of an unknown kind"
    declaration = declarations[kind]
    version = int.from_bytes(record.value[:2], "big")
    body = record.value[2:] if declaration is control_records.EndTxnMarker else record.value
    return f"{kind.name} {declaration.decode(body, version if body is not record.value else 0)!r}"


def _metadata(record: Record) -> str:
    from blumfeld.protocol.messages.metadata_log import decode_versioned_metadata_record

    if record.value is None:
        return "a metadata record without a value"
    decoded, version = decode_versioned_metadata_record(record.value)
    return f"v{version} {decoded!r}"


def _coordinated(record: Record, topic: str) -> str:
    if topic == _OFFSETS:
        from blumfeld.protocol.messages.offsets_log import RECORD_TYPES
    else:
        from blumfeld.protocol.messages.transactions_log import RECORD_TYPES
    key = None if record.key is None else RECORD_TYPES.decode_key(record.key)
    if key is None:
        return "a record of an unknown type"
    return f"{key!r} → {'tombstone' if record.value is None else repr(RECORD_TYPES.decode_value(key, record.value))}"


# Indexes.
def _entries(path: str, size: int) -> bytes:
    data = RealDisk().read_file(path)
    if data.endswith(bytes(size)):  # preallocated
        data = data.rstrip(b"\0")
        data += bytes(-len(data) % size)
    if len(data) % size:
        raise Unreadable(f"{path} has {len(data)} bytes, no multiple of {size}")
    return data


def _offset_entries(path: str) -> Iterator[Item]:
    from blumfeld.storage.formats import OffsetIndex

    base = base_offset_of(path)
    for entry in OffsetIndex.parse(_entries(path, _OFFSET_ENTRY_BYTES)):
        yield {"kind": "index entry", "offset": base + entry.relative_offset, "position": entry.position}


def _time_entries(path: str) -> Iterator[Item]:
    from blumfeld.storage.formats import TimeIndex

    base = base_offset_of(path)
    for entry in TimeIndex.parse(_entries(path, _TIME_ENTRY_BYTES)):
        yield {"kind": "time entry", "timestamp": entry.timestamp, "offset": base + entry.relative_offset}


def _aborted(path: str, data: bytes) -> Iterator[Item]:
    from blumfeld.storage.formats import TransactionIndex

    if len(data) % _TRANSACTION_ENTRY_BYTES:
        raise Unreadable(f"{path} has {len(data)} bytes, no multiple of {_TRANSACTION_ENTRY_BYTES}")
    for entry in TransactionIndex.parse(data):
        if entry.version:
            raise Unreadable(f"{path} has an entry of version {entry.version}, not 0")
        yield {
            "kind": "aborted",
            "producer_id": entry.producer_id,
            "first_offset": entry.first_offset,
            "last_offset": entry.last_offset,
            "last_stable_offset": entry.last_stable_offset,
        }
