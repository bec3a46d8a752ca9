"""Appends in full: every check, several batches, recompression, transactions, and what undoes a failed write.

Owns the order of an append: check everything, roll, write once, and only then change what the log says of itself.
Works on a `Log`, whose fast path for the common case must never accept what this refuses."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from blumfeld.protocol.batch import (
    APPEND_TIME_FLAG,
    CONTROL_FLAG,
    TRANSACTIONAL_FLAG,
    CorruptBatch,
    RecordBatch,
    is_torn,
    set_append_time,
    set_max_timestamp,
    set_offset_and_epoch,
)
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage import validate
from blumfeld.storage.index import MAX_RELATIVE_OFFSET
from blumfeld.storage.producers import (
    MAX_SEQUENCE,
    CompletedTransaction,
    Producer,
    Verification,
    WrittenBatch,
    stage_data,
    stage_marker,
)
from blumfeld.storage.recalling import recall
from blumfeld.storage.results import AbortedTransaction, AppendResult, Buffer
from blumfeld.storage.segment import Segment
from blumfeld.storage.validate import Origin, Refused

if TYPE_CHECKING:
    from blumfeld.storage.log import Log
    from blumfeld.storage.memory_bound import MemoryBound

_logger = logging.getLogger(__name__)


class _Staged:
    """What an append will change once its bytes are written."""

    __slots__ = ("completed", "noted", "producers")

    def __init__(self) -> None:
        self.noted: list[tuple[int, int, int]] = []  # (size, last offset, max timestamp) of each batch
        self.producers: dict[int, Producer] = {}
        self.completed: list[CompletedTransaction] = []


def append_as_leader(
    log: Log,
    records: Buffer,
    leader_epoch: int,
    now_ms: int,
    origin: Origin,
    verification: Verification | None,
    transaction_version: int,
) -> AppendResult:
    """`Log.append_as_leader` for whatever is not the common case."""
    if log.home.error is not None:
        return storage_error(log)
    try:
        batches = validate.split(records)
        validate.check(batches, log.config, origin=origin, leader_epoch=leader_epoch, now_ms=now_ms)
        duplicate = _find_duplicate(log, batches) if origin == "client" else None
        if duplicate is not None:
            return duplicate
        if origin == "raft":
            if batches[0].base_offset < log.log_end_offset:
                raise Refused(
                    ErrorCode.OFFSET_OUT_OF_RANGE,
                    f"the batch begins at {batches[0].base_offset}, the log ends at {log.log_end_offset}",
                )
            data: Buffer = records
        else:
            data = _prepare(log, batches, records, leader_epoch, now_ms)
            batches = validate.split(data)
        bound = log.home.memory
        if bound is not None and origin != "raft" and bound.refuses(len(data), reserve=origin == "coordinator"):
            return no_room(log, bound)
        if len(data) > log.config.segment_bytes:
            raise Refused(
                ErrorCode.RECORD_LIST_TOO_LARGE,
                f"{len(data)} bytes do not fit into a segment of {log.config.segment_bytes}",
            )
        staged = _stage(log, batches, origin, verification, transaction_version)
    except Refused as refused:
        return AppendResult(
            refused.error,
            log_start_offset=log.log_start_offset,
            message=f"{log.topic_partition}: {refused.message}",
            record_errors=refused.record_errors,
        )
    result = _write(log, data, batches, staged, now_ms)
    if result.error is ErrorCode.NONE and log.config.log_append_time and origin != "raft":
        result.log_append_time = now_ms
    return result


def _find_duplicate(log: Log, batches: list[RecordBatch]) -> AppendResult | None:
    """The answer where one of the batches was written before: then nothing is appended (KIP-98)."""
    for batch in batches:
        if batch.producer_id < 0:
            continue
        written = _written_before(log, batch)
        if written is not None:
            return AppendResult(
                ErrorCode.NONE,
                written.first_offset,
                written.last_offset,
                written.timestamp,
                log.log_start_offset,
                duplicate=True,
            )
    return None


def _written_before(log: Log, batch: RecordBatch) -> WrittenBatch | None:
    """The same batch among its producer's last five; after a restart they may have to be recalled from the log."""
    producer = log.producers.by_id.get(batch.producer_id)
    if producer is None or producer.epoch != batch.producer_epoch:
        return None
    if not producer.recalled and batch.base_sequence != (producer.last_sequence + 1) & MAX_SEQUENCE:
        recall(log, producer)
    return producer.duplicate_of(batch.producer_epoch, batch.base_sequence, batch.last_sequence)


def _prepare(
    log: Log, batches: list[RecordBatch], records: Buffer, leader_epoch: int, now_ms: int
) -> bytearray | memoryview:
    """The bytes as they go into the log: recompressed where needed, with offsets, epoch and times."""
    config = log.config
    codecs = [validate.target_codec(config, batch) for batch in batches]
    view = memoryview(records)
    data: bytearray | memoryview
    if any(codec != batch.codec for codec, batch in zip(codecs, batches, strict=True)):
        data = bytearray()
        for codec, batch in zip(codecs, batches, strict=True):
            data += batch.view if codec == batch.codec else validate.recompress(batch, codec, config)
    else:
        data = bytearray(view) if view.readonly else view
    position = 0
    offset = log.log_end_offset
    while position < len(data):
        batch = RecordBatch(data, position)
        set_offset_and_epoch(data, offset, leader_epoch, position)
        if config.log_append_time:
            set_append_time(data, now_ms, position)
        elif batch.attributes & APPEND_TIME_FLAG:
            set_max_timestamp(data, batch.max_timestamp, position)
        offset += batch.last_offset_delta + 1
        position += batch.length
    return data


def _stage(
    log: Log,
    batches: list[RecordBatch],
    origin: Origin,
    verification: Verification | None,
    transaction_version: int,
) -> _Staged:
    """Check the batches against their producers' states; `Refused` if one does not fit."""
    staged = _Staged()
    states = log.producers
    for batch in batches:
        staged.noted.append((batch.length, batch.last_offset, batch.max_timestamp))
        if batch.producer_id < 0:
            continue
        transactional = batch.attributes & TRANSACTIONAL_FLAG != 0
        if transactional and log.config.verify_transactions and not batch.is_control and origin != "raft":
            _check_verified(log, batch, verification)
        producer = states.stage(batch.producer_id, staged.producers)
        if batch.attributes & CONTROL_FLAG:
            outcome = stage_marker(producer, batch, batch.base_offset, bumped=transaction_version >= 2)
            if isinstance(outcome, CompletedTransaction):
                staged.completed.append(outcome)
                continue
        else:
            outcome = stage_data(
                producer,
                batch,
                batch.base_offset,
                sequences=origin == "client",
                verification=states.verifications.get(batch.producer_id),
            )
        if outcome is not None:
            raise Refused(*outcome)
    return staged


def _check_verified(log: Log, batch: RecordBatch, verification: Verification | None) -> None:
    if log.producers.has_ongoing_transaction(batch.producer_id):
        return
    expected = log.producers.verifications.get(batch.producer_id)
    if verification is None or verification is not expected:
        raise Refused(
            ErrorCode.INVALID_TXN_STATE,
            f"the batch of producer {batch.producer_id} belongs to no transaction that its coordinator has confirmed",
        )


def _write(log: Log, data: Buffer, batches: list[RecordBatch], staged: _Staged, now_ms: int) -> AppendResult:
    """Write checked batches in one go and let the log know; `batches` are views of `data`."""
    first, last = batches[0].base_offset, batches[-1].last_offset
    segment = log.segments[-1]
    before = segment.size
    log.home.appending = True
    try:
        latest = max(noted[2] for noted in staged.noted)
        if segment.should_roll(len(data), last, latest, now_ms):
            segment = roll(log, first)
            before = 0
        segment.append_batches(data, staged.noted)
    except OSError as error:
        return undo(log, segment, before, error)
    finally:
        log.home.appending = False
    for batch in batches:
        if batch.leader_epoch >= 0 and batch.leader_epoch != log.latest_epoch:
            log.assign_epoch(batch.leader_epoch, batch.base_offset)
    log.log_end_offset = last + 1
    if not log.unflushed:
        log.mark_unflushed(now_ms)
    try:
        _let_producers_know(log, segment, batches, staged)
    except OSError as error:
        # The batches stay (they may be read already), but the transaction index lacks an abort: out of service, and
        # opening the log again builds the index from the markers.
        log.home.fail(error, f"writing the transaction index of {log.topic_partition}")
        return storage_error(log)
    must_flush = last + 1 - log.recovery_point >= log.config.flush_messages
    return AppendResult(ErrorCode.NONE, first, last, -1, log.log_start_offset, must_flush=must_flush)


def _let_producers_know(log: Log, segment: Segment, batches: list[RecordBatch], staged: _Staged) -> None:
    states = log.producers
    states.adopt(staged.producers)
    for completed in staged.completed:
        stable = states.last_stable_offset_after(completed)
        if completed.aborted:
            is_new = not segment.txn_index.exists
            segment.txn_index.append(
                AbortedTransaction(completed.producer_id, completed.first_offset, completed.last_offset, stable)
            )
            log.names_changed = log.names_changed or is_new
        states.complete(completed)
    if states.verifications:
        for batch in batches:
            if batch.attributes & TRANSACTIONAL_FLAG:
                states.verifications.pop(batch.producer_id, None)
    states.end_offset = log.log_end_offset


def append_as_follower(log: Log, records: Buffer, now_ms: int) -> AppendResult:
    """`Log.append_as_follower`."""
    if log.home.error is not None:
        return storage_error(log)
    try:
        batches, size = _split_fetched(log, records)
        if not batches:
            return AppendResult(ErrorCode.NONE, log_start_offset=log.log_start_offset)
        staged = _stage_fetched(log, batches)
    except Refused as refused:
        message = f"{log.topic_partition}: {refused.message}"
        return AppendResult(refused.error, log_start_offset=log.log_start_offset, message=message)
    if size <= log.config.segment_bytes or len(batches) == 1:
        return _write(log, memoryview(records)[:size], batches, staged, now_ms)
    result = AppendResult()
    for batch in batches:  # more than a segment takes: one by one, so that it rolls in between
        result = _write(log, batch.view, [batch], _stage_fetched(log, [batch]), now_ms)
        if result.error is not ErrorCode.NONE:
            return result
    result.base_offset = batches[0].base_offset
    return result


def _split_fetched(log: Log, records: Buffer) -> tuple[list[RecordBatch], int]:
    """The whole batches that were fetched and their size, checked for CRC and ascending offsets."""
    batches: list[RecordBatch] = []
    position, expected = 0, log.log_end_offset
    while position < len(records) and not is_torn(records, position):
        try:
            batch = RecordBatch(records, position)
        except CorruptBatch as error:
            raise Refused(ErrorCode.CORRUPT_MESSAGE, f"fetched at byte {position}: {error}") from None
        if not batch.is_valid_crc():
            raise Refused(ErrorCode.CORRUPT_MESSAGE, f"the CRC of the fetched {batch} does not fit")
        if batch.base_offset < expected or batch.last_offset_delta < 0:
            raise Refused(ErrorCode.OFFSET_OUT_OF_RANGE, f"fetched {batch} where offset {expected} or more follows")
        batches.append(batch)
        expected = batch.next_offset
        position += batch.length
    return batches, position


def _stage_fetched(log: Log, batches: list[RecordBatch]) -> _Staged:
    """What the leader accepted is not checked again, only noted."""
    staged = _Staged()
    for batch in batches:
        staged.noted.append((batch.length, batch.last_offset, batch.max_timestamp))
        if batch.producer_id < 0:
            continue
        producer = log.producers.stage(batch.producer_id, staged.producers)
        if batch.attributes & CONTROL_FLAG:
            completed = stage_marker(producer, batch, batch.base_offset, fenced=False)
            if isinstance(completed, CompletedTransaction):
                staged.completed.append(completed)
        else:
            stage_data(producer, batch, batch.base_offset, sequences=False, fenced=False)
    return staged


def roll(log: Log, base_offset: int) -> Segment:
    """Start a new active segment for batches from `base_offset` on, leaving a producer snapshot there (KIP-98).

    It begins where the last batch ends, also where offsets are missing after it (a compacted leader's; Kafka begins at
    the next batch): so recovery can tell a segment that has lost its end from one that has not.
    """
    previous = log.segments[-1]
    if base_offset - log.log_end_offset <= MAX_RELATIVE_OFFSET:
        base_offset = log.log_end_offset
    if previous.base_offset == base_offset:
        assert previous.size == 0, f"{previous} already begins at {base_offset}"
        return previous
    previous.seal()
    if log.cut:  # what was cut off must not come back below a segment that takes the place of its rest
        with previous.data.pinned() as file:
            file.sync()
        log.cut = False
    if log.names_changed:  # a flush is overdue: a later segment must not survive a crash that takes an earlier one
        log.home.disk.sync_directory(log.directory)
    segment = Segment(log.home, log.directory, base_offset, log.config)
    segment.create()
    log.names_changed = True
    log.segments.append(segment)
    log.producers.end_offset = base_offset
    log.snapshots.write(log.producers)
    if log.home.on_roll is not None:
        log.home.on_roll(log, base_offset)
    return segment


def undo(log: Log, segment: Segment, size: int, error: OSError) -> AppendResult:
    """Cut a failed append off again, take the directory offline, and answer KAFKA_STORAGE_ERROR."""
    log.home.fail(error, f"appending to {log.topic_partition}")
    segment.size = min(segment.size, size)
    try:
        if segment.data.file is not None:
            segment.data.file.truncate(size)
    except OSError as second:
        _logger.error("%s: what was written last could not be cut off: %s", log.topic_partition, second)
    return storage_error(log)


def no_room(log: Log, bound: MemoryBound) -> AppendResult:
    """The answer where memory holds no more; the same error as a full disk's."""
    return AppendResult(
        ErrorCode.KAFKA_STORAGE_ERROR,
        log_start_offset=log.log_start_offset,
        message=f"{log.topic_partition}: {bound.why}",
    )


def storage_error(log: Log) -> AppendResult:
    """The answer of a log that is offline."""
    error = log.home.error or OSError(errno.EIO, "the log is offline")
    return AppendResult(
        ErrorCode.KAFKA_STORAGE_ERROR,
        log_start_offset=log.log_start_offset,
        message=f"{log.topic_partition}: log directory {log.home.path} is offline ({error})",
    )
