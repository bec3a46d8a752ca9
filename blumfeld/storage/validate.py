"""May these batches enter the log? What a leader asks of bytes from outside, before offsets are given.

Owns the rules of Kafka's LogValidator that concern one append by itself, and recompression. Knows nothing of what the
log contains: sequences are `producers.py`'s. Works on headers; records are opened for compacted topics (keys), for a
`compression.type` that is not the batch's own, and to say which record of a refused batch was at fault. Kafka also
looks inside every compressed batch (counts, timestamps, attributes of the records); we trust the header's count and
times there.

Invariant: nothing is changed here; a refusal leaves buffer and log as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from blumfeld.protocol.batch import (
    APPEND_TIME_FLAG,
    CONTROL_FLAG,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    PREFIX_SIZE,
    CorruptBatch,
    RecordBatch,
    UnsupportedMagic,
)
from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.storage.log_config import FOREVER

if TYPE_CHECKING:
    from blumfeld.protocol.primitives import Buffer
    from blumfeld.storage.log_config import LogConfig
    from blumfeld.storage.scan import HeaderFields

Origin: TypeAlias = Literal["client", "coordinator", "raft"]
NO_TIMESTAMP = -1
MAX_OPENED_RECORDS = 1 << 20
"""A batch with more records is not opened on behalf of a client: it would hold everybody else up for seconds."""
_MAX_RECORD_ERRORS = 1000
"""So many records of a refused batch are named in the answer."""
_MAX_CODEC = 4
_MAGIC_AT = 16
_ATTRIBUTES_AT = 21
_unpack_header = HEADER.unpack_from


class Refused(Exception):
    """Why an append is refused."""

    def __init__(self, error: ErrorCode, message: str, record_errors: tuple[tuple[int, str], ...] = ()) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
        self.record_errors = record_errors


def plain_header(view: memoryview, config: LogConfig, now_ms: int) -> HeaderFields | None:
    """The header of `view` if it is one whole batch of a client that passes every check by its header alone; None for
    whatever has to be looked at more closely, or refused. For logs that open no records and keep the producer's times.
    """
    size = len(view)
    if size < HEADER_SIZE:
        return None
    header: HeaderFields = _unpack_header(view)
    base, length, _, magic, crc, attributes, delta, base_timestamp, max_timestamp, _, _, _, count = header
    latest = now_ms + config.message_timestamp_after_max_ms
    earliest = now_ms - config.message_timestamp_before_max_ms
    if (
        length == size - PREFIX_SIZE
        and magic == MAGIC
        and base == 0
        and 0 <= delta == count - 1
        and 0 <= attributes <= _MAX_CODEC
        and size <= config.max_message_bytes
        and size <= config.segment_bytes
        and earliest <= max_timestamp <= latest
        and earliest <= base_timestamp <= latest
        and crc32c(view[_ATTRIBUTES_AT:]) == crc
    ):
        return header
    return None


def split(records: Buffer) -> list[RecordBatch]:
    """The batches that `records` consist of. Raises `Refused` for anything else."""
    if not len(records):
        raise Refused(ErrorCode.INVALID_RECORD, "the records hold no batch at all")
    batches = []
    position = 0
    while position < len(records):
        try:
            batch = RecordBatch(records, position)
        except UnsupportedMagic as error:
            old = len(records) - position > _MAGIC_AT and records[position + _MAGIC_AT] < 2
            code = ErrorCode.INVALID_RECORD if old else ErrorCode.CORRUPT_MESSAGE
            raise Refused(code, str(error)) from None
        except CorruptBatch as error:
            raise Refused(ErrorCode.CORRUPT_MESSAGE, str(error)) from None
        batches.append(batch)
        position += batch.length
    return batches


def check(batches: list[RecordBatch], config: LogConfig, *, origin: Origin, leader_epoch: int, now_ms: int) -> None:
    """Raise `Refused` with what Kafka answers, in its order of checks."""
    for batch in batches:
        _check_bytes(batch, config, origin, leader_epoch)
    for batch in batches:
        if origin == "client":
            _check_client(batch)
        if batch.codec > _MAX_CODEC:
            raise Refused(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"compression type {batch.codec} is unknown")
        if origin != "raft":
            _check_records(batch, config, origin, now_ms)


def _check_bytes(batch: RecordBatch, config: LogConfig, origin: Origin, leader_epoch: int) -> None:
    if origin == "raft" and batch.leader_epoch != leader_epoch:
        raise Refused(ErrorCode.INVALID_RECORD, f"the batch has leader epoch {batch.leader_epoch}, not {leader_epoch}")
    if origin == "client" and batch.base_offset != 0:
        raise Refused(ErrorCode.INVALID_RECORD, f"the base offset of a batch should be 0, but is {batch.base_offset}")
    if batch.length > config.max_message_bytes:
        raise Refused(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"the batch has {batch.length} bytes, max.message.bytes is {config.max_message_bytes}",
        )
    if not batch.is_valid_crc():
        raise Refused(ErrorCode.CORRUPT_MESSAGE, f"the batch's CRC does not fit (stored is {batch.crc})")


def _check_client(batch: RecordBatch) -> None:
    count = batch.record_count
    if batch.last_offset_delta < 0:
        why = f"the offsets of the batch end {-batch.last_offset_delta} before they begin"
    elif count <= 0:
        why = f"the batch claims to have {count} records"
    elif batch.last_offset_delta + 1 != count:
        why = f"the offsets of the batch span {batch.last_offset_delta + 1} records, but it claims {count}"
    elif batch.is_control:
        why = "clients may not write control records"
    elif batch.producer_id >= 0 and batch.base_sequence < 0:
        why = f"producer {batch.producer_id} sends sequence {batch.base_sequence}"
    else:
        return
    raise Refused(ErrorCode.INVALID_RECORD, why)


def _check_records(batch: RecordBatch, config: LogConfig, origin: Origin, now_ms: int) -> None:
    """Keys of compacted topics, times of all."""
    if config.log_append_time:
        if batch.attributes & APPEND_TIME_FLAG:
            errors = ((0, "the producer must not set the timestamp type to LogAppendTime"),)
            raise Refused(ErrorCode.INVALID_TIMESTAMP, errors[0][1], errors)
        suspect = False
    else:
        earliest = now_ms - config.message_timestamp_before_max_ms
        latest = now_ms + config.message_timestamp_after_max_ms
        suspect = not earliest <= batch.base_timestamp <= latest or not earliest <= batch.max_timestamp <= latest
    keyed = config.compact and origin == "client"
    if suspect or keyed:
        _open_and_check(batch, config, keyed=keyed, now_ms=now_ms)


def _open_and_check(batch: RecordBatch, config: LogConfig, *, keyed: bool, now_ms: int) -> None:
    from blumfeld.protocol.records import read_records

    earliest = now_ms - config.message_timestamp_before_max_ms
    latest = min(now_ms + config.message_timestamp_after_max_ms, FOREVER)
    timed = not config.log_append_time
    errors: list[tuple[int, str]] = []
    late = False
    try:
        for index, record in enumerate(read_records(batch, config.max_decompressed_bytes, MAX_OPENED_RECORDS)):
            if keyed and record.key is None:
                error = "a compacted topic takes no record without a key"
            elif timed and record.timestamp != NO_TIMESTAMP and not earliest <= record.timestamp <= latest:
                late = True
                error = f"timestamp {record.timestamp} is outside [{earliest}, {latest}]"
            else:
                continue
            if len(errors) < _MAX_RECORD_ERRORS:
                errors.append((index, error))
    except ProtocolError as error:
        raise Refused(ErrorCode.CORRUPT_MESSAGE, str(error)) from None
    if late:
        raise Refused(
            ErrorCode.INVALID_TIMESTAMP,
            "one or more records have a timestamp that the topic does not allow",
            tuple(errors),
        )
    if errors:
        raise Refused(ErrorCode.INVALID_RECORD, "one or more records were refused: " + errors[0][1], tuple(errors))


def target_codec(config: LogConfig, batch: RecordBatch) -> int:
    """How the batch is to be compressed in the log."""
    if config.compression_type == "producer" or batch.attributes & CONTROL_FLAG:
        return batch.codec
    return Codec.NONE if config.compression_type == "uncompressed" else Codec[config.compression_type.upper()]


def recompress(batch: RecordBatch, codec: int, config: LogConfig) -> bytes:
    """The batch with another codec. Raises `Refused` where it cannot be opened or has become too large."""
    from blumfeld.protocol.records import repack

    try:
        rebuilt = repack(batch, codec, config.max_decompressed_bytes)
    except CorruptBatch as error:
        raise Refused(ErrorCode.CORRUPT_MESSAGE, str(error)) from None
    if len(rebuilt) > config.max_message_bytes:
        raise Refused(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"compressed anew, the batch has {len(rebuilt)} bytes; max.message.bytes is {config.max_message_bytes}",
        )
    return rebuilt
