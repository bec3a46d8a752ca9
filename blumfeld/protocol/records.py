"""Records opened and built: for coordinators, the metadata log, compaction, tools and tests.

Owns the format of the records inside a batch (KIP-98) and of control records' keys. The produce and fetch
paths must not import this module: there, records stay bytes.

Invariants: whatever a batch holds, reading it ends, in memory bounded by `max_bytes`, and fails with
CorruptBatch alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from blumfeld.protocol.batch import (
    APPEND_TIME_FLAG,
    ATTRIBUTES_AT,
    CODEC_MASK,
    CONTROL_FLAG,
    CRC_AT,
    DELETE_HORIZON_FLAG,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    PREFIX_SIZE,
    TRANSACTIONAL_FLAG,
    CorruptBatch,
    RecordBatch,
)
from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.compression import Codec, compress, decompress
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.primitives import decode_varint, decode_varlong, encode_varint

DEFAULT_MAX_BYTES: Final = 128 * 1024 * 1024
"""How much one batch may unpack to, where the caller does not say."""

_CONTROL_KEY: Final = Struct(">hh")
_END_MARKER: Final = Struct(">hi")
_CRC: Final = Struct(">I")
_LENGTH: Final = Struct(">i")
_LENGTH_AT: Final = 8
_ATTRIBUTES: Final = Struct(">h")
_new = tuple.__new__
"""Makes a Record of a tuple: its own `__new__` takes twice as long."""


class Header(NamedTuple):
    """A record's header: a name and any bytes."""

    key: str
    value: bytes | None


class Record(NamedTuple):
    """One record. Offset and timestamp (ms) are absolute."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class ControlType(IntEnum):
    """The types of control records, as their keys number them."""

    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


def read_records(
    batch: RecordBatch, max_bytes: int = DEFAULT_MAX_BYTES, max_records: int | None = None
) -> Iterator[Record]:
    """The batch's records in order, unpacked first if they are compressed.

    Raises CorruptBatch, when it comes to it: damaged, more than `max_bytes` when unpacked, or more than `max_records`.
    """
    if max_records is not None and batch.record_count > max_records:
        raise CorruptBatch(f"{batch.record_count} records, where {max_records} may be opened")
    try:
        data = bytes(decompress(batch.codec, batch.payload, max_bytes))
        position = 0
        append_time = batch.max_timestamp if batch.timestamp_type else None
        if not 0 <= batch.record_count <= len(data):
            raise CorruptBatch(f"{batch.record_count} records, in {len(data)} bytes")
        for _ in range(batch.record_count):
            record, position = _read_record(data, position, batch.base_offset, batch.base_timestamp, append_time)
            yield record
    except CorruptBatch:
        raise
    except (IndexError, UnicodeDecodeError, ProtocolError) as error:
        raise CorruptBatch(f"{batch!r}: {error}") from error
    if position != len(data):
        raise CorruptBatch(f"{len(data) - position} bytes follow the last of {batch.record_count} records")


def _read_record(
    data: bytes, position: int, base_offset: int, base_timestamp: int, append_time: int | None
) -> tuple[Record, int]:
    """The record at `position`, and where the next one starts.

    Numbers are zigzag varints; those of one byte that are not negative (its bits 0 and 7 are clear) are read
    in place, others by a call. A length that leads out of the record is noticed at the record's end.
    """
    size, position = decode_varint(data, position)
    end = position + size
    if not position < end <= len(data):
        raise CorruptBatch(f"a record of {size} bytes, in {len(data) - position}")
    position += 1  # attributes: none are defined
    number = data[position]
    if number & 0x81:
        number, position = decode_varlong(data, position)
    else:
        number >>= 1
        position += 1
    timestamp = base_timestamp + number if append_time is None else append_time
    number = data[position]
    if number & 0x81:
        number, position = decode_varint(data, position)
    else:
        number >>= 1
        position += 1
    offset = base_offset + number
    key, position = _read_bytes(data, position)
    value, position = _read_bytes(data, position)
    headers: tuple[Header, ...] = ()
    if data[position]:
        headers, position = _read_headers(data, position, end)
    else:
        position += 1
    if position != end:
        raise CorruptBatch(f"a record says that it has {size} bytes, but has {size + position - end}")
    return _new(Record, (offset, timestamp, key, value, headers)), position


def _read_bytes(data: bytes, position: int) -> tuple[bytes | None, int]:
    size = data[position]
    if size & 0x81:
        size, position = decode_varint(data, position)
        if size < 0:
            if size != -1:
                raise CorruptBatch(f"a key or value has length {size}")
            return None, position
    else:
        size >>= 1
        position += 1
    end = position + size
    return data[position:end], end


def _read_headers(data: bytes, position: int, end: int) -> tuple[tuple[Header, ...], int]:
    count, position = decode_varint(data, position)
    if not 0 <= count <= end - position:
        raise CorruptBatch(f"{count} headers, in {end - position} bytes")
    headers = []
    for _ in range(count):
        key, position = _read_bytes(data, position)
        if key is None:
            raise CorruptBatch("a header has no key")
        value, position = _read_bytes(data, position)
        headers.append(Header(key.decode(), value))
    return tuple(headers), position


def build_batch(
    records: Sequence[Record],
    *,
    base_offset: int = 0,
    codec: int = Codec.NONE,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = -1,
    base_sequence: int = NO_SEQUENCE,
    leader_epoch: int = -1,
    transactional: bool = False,
    control: bool = False,
    timestamp_type: int = 0,
    max_timestamp: int | None = None,
    delete_horizon: int | None = None,
    last_offset: int | None = None,
) -> bytes:
    """One batch of `records`, whose offsets lie at or above `base_offset` in ascending order.

    max_timestamp: where it is not the records' largest: the broker's time of a batch of timestamp type 1,
        the original's of a batch that compaction has emptied.
    delete_horizon: KIP-534's flag and time.
    last_offset: where it is beyond the last record's, as compaction leaves it.
    """
    if not records and (last_offset is None or max_timestamp is None):
        raise ValueError("a batch without records needs its last offset and its timestamp")
    if max_timestamp is None:
        max_timestamp = max(record.timestamp for record in records)
    base_timestamp = delete_horizon if delete_horizon is not None else _first_timestamp(records, max_timestamp)
    payload = compress(codec, _encode_records(records, base_offset, base_timestamp)) if records else b""
    attributes = (
        codec
        | APPEND_TIME_FLAG * bool(timestamp_type)
        | TRANSACTIONAL_FLAG * transactional
        | CONTROL_FLAG * control
        | DELETE_HORIZON_FLAG * (delete_horizon is not None)
    )
    header = HEADER.pack(
        base_offset,
        HEADER_SIZE - PREFIX_SIZE + len(payload),
        leader_epoch,
        MAGIC,
        0,
        attributes,
        (records[-1].offset if last_offset is None else last_offset) - base_offset,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        len(records),
    )
    crc = crc32c(header[ATTRIBUTES_AT:] + payload)
    return b"".join((header[:CRC_AT], _CRC.pack(crc), header[ATTRIBUTES_AT:], payload))


def repack(batch: RecordBatch, codec: int, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """The batch with its records compressed by another codec, unopened. Raises CorruptBatch where they can't be
    unpacked, or are more than `max_bytes` then."""
    try:
        payload = compress(codec, bytes(decompress(batch.codec, batch.payload, max_bytes)))
    except CorruptBatch:
        raise
    except ProtocolError as error:
        raise CorruptBatch(f"{batch!r}: {error}") from error
    header = bytearray(batch.view[:HEADER_SIZE])
    _LENGTH.pack_into(header, _LENGTH_AT, HEADER_SIZE - PREFIX_SIZE + len(payload))
    _ATTRIBUTES.pack_into(header, ATTRIBUTES_AT, batch.attributes & ~CODEC_MASK | codec)
    crc = crc32c(bytes(header[ATTRIBUTES_AT:]) + payload)
    return b"".join((header[:CRC_AT], _CRC.pack(crc), header[ATTRIBUTES_AT:], payload))


def _first_timestamp(records: Sequence[Record], otherwise: int) -> int:
    return records[0].timestamp if records else otherwise


class _Varints(dict[int, bytes]):
    """Zigzag varints by their values; those of up to two bytes are kept."""

    def __missing__(self, value: int) -> bytes:
        encoded = encode_varint(value)
        if len(encoded) <= 2:
            self[value] = encoded
        return encoded


_VARINTS: Final = _Varints()


def _encode_records(records: Sequence[Record], base_offset: int, base_timestamp: int) -> bytes:
    varints = _VARINTS
    pieces: list[bytes] = []
    for offset, timestamp, key, value, headers in records:
        body = b"".join(
            (
                b"\0",
                varints[timestamp - base_timestamp],
                varints[offset - base_offset],
                b"\x01" if key is None else varints[len(key)],
                key or b"",
                b"\x01" if value is None else varints[len(value)],
                value or b"",
                _encode_headers(headers) if headers else b"\0",
            )
        )
        pieces += (varints[len(body)], body)
    return b"".join(pieces)


def _encode_headers(headers: Sequence[Header]) -> bytes:
    pieces = [_VARINTS[len(headers)]]
    for name, value in headers:
        key = name.encode()
        pieces += (_VARINTS[len(key)], key)
        pieces += (b"\x01",) if value is None else (_VARINTS[len(value)], value)
    return b"".join(pieces)


def control_batch(
    controls: Sequence[tuple[ControlType, bytes]],
    *,
    base_offset: int,
    timestamp: int,
    leader_epoch: int,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = -1,
    transactional: bool = False,
) -> bytes:
    """One batch of control records: the type, and the value as `messages/control_records.py` encodes it."""
    return build_batch(
        [
            Record(base_offset + index, timestamp, _CONTROL_KEY.pack(0, kind), value)
            for index, (kind, value) in enumerate(controls)
        ],
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=transactional,
        control=True,
    )


def end_transaction_batch(
    *,
    commit: bool,
    base_offset: int,
    timestamp: int,
    leader_epoch: int,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
) -> bytes:
    """The marker that ends a producer's transaction on a partition (KIP-98)."""
    return control_batch(
        [(ControlType.COMMIT if commit else ControlType.ABORT, _END_MARKER.pack(0, coordinator_epoch))],
        base_offset=base_offset,
        timestamp=timestamp,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=True,
    )


def control_type_of(record: Record) -> ControlType | None:
    """What kind of control record it is; None for a kind that is not known (readers skip those)."""
    try:
        return ControlType(_CONTROL_KEY.unpack_from(record.key or b"")[1])
    except struct_error:
        raise CorruptBatch(f"a control record's key is {record.key!r}") from None
    except ValueError:
        return None


def control_type(batch: RecordBatch) -> ControlType | None:
    """The kind of a control batch's first record; None where it is not known, or has been compacted away."""
    for record in read_records(batch):
        return control_type_of(record)
    return None


def read_control_records(batch: RecordBatch) -> list[tuple[Record, ControlType | None]]:
    """A control batch's records, each with its kind."""
    return [(record, control_type_of(record)) for record in read_records(batch)]
