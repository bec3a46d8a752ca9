"""Truncation: what a follower does with records its new leader does not have.

Owns the order of steps in which the end of a log is dropped. A crash in the middle leaves a log that is longer than
it should be, never one with a hole: later segments go first, and checkpoints that lie beyond the new end are lowered
before anything else.

Invariant: afterwards the log ends where its last batch ends, at or below the offset asked for (Kafka's ends at the
offset asked for, even within a gap or a batch).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from blumfeld.storage.recovery import DELETED, rebuild_producers
from blumfeld.storage.scan import BadBatch
from blumfeld.storage.segment import Segment

if TYPE_CHECKING:
    from blumfeld.storage.log import Log

_logger = logging.getLogger(__name__)


def truncate_to(log: Log, offset: int) -> bool:
    """`Log.truncate_to`."""
    assert offset >= 0, f"{log.topic_partition} cannot be cut at {offset}"
    if offset >= log.log_end_offset:
        # An epoch that began at the end without a record may conflict with the new leader's (KIP-101).
        log.epochs.truncate_from_end(log.log_end_offset)
        log.epochs_changed()
        return False
    if offset < log.segments[0].base_offset:
        truncate_and_start_at(log, offset)
        return True
    _logger.info("%s: cut from %d to %d", log.topic_partition, log.log_end_offset, offset)
    try:
        with log.files_lock:
            _begin(log, _end_before(log, offset))
            while log.segments[-1].base_offset > offset:
                drop_segment(log, len(log.segments) - 1)
                log.home.disk.sync_directory(log.directory)  # the next cut must not survive a crash without this one
            log.log_end_offset = log.segments[-1].truncate_to(offset)
            log.cut = True
            _settle(log)
    except (OSError, BadBatch) as error:
        failure = error if isinstance(error, OSError) else OSError(str(error))
        log.home.fail(failure, f"truncating {log.topic_partition}")
        raise failure from error
    return True


def truncate_and_start_at(log: Log, offset: int) -> None:
    """`Log.truncate_and_start_at`."""
    _logger.info("%s: emptied, to start at %d", log.topic_partition, offset)
    try:
        with log.files_lock:
            _begin(log, min(offset, log.segments[0].base_offset))
            while len(log.segments) > 1 or (log.segments and log.segments[0].base_offset != offset):
                drop_segment(log, len(log.segments) - 1)
                log.home.disk.sync_directory(log.directory)
            if log.segments:
                log.segments[0].truncate_to(offset)
                log.cut = True
                assert not log.segments[0].size, f"{log.segments[0]} should be empty"
            else:
                segment = Segment(log.home, log.directory, offset, log.config)
                segment.create()
                log.segments.append(segment)
            log.snapshots.remove_above(-1)
            log.home.disk.sync_directory(log.directory)  # or nothing would say where the log starts
            log.log_start_offset = log.log_end_offset = offset
            log.epochs.clear()
            log.producers.clear(offset)
            _settle(log)
            log.high_watermark = offset
    except OSError as error:
        log.home.fail(error, f"truncating {log.topic_partition}")
        raise


def _end_before(log: Log, offset: int) -> int:
    """Where the log will end: after the last batch that lies wholly below `offset`, be there a gap behind it or not."""
    holder = next(segment for segment in reversed(log.segments) if segment.base_offset <= offset)
    return holder.end_below(offset)


def _begin(log: Log, offset: int) -> None:
    """Void what threads are doing, lower what says that something at or beyond `offset` is there."""
    with log.home.lock:
        log.generation += 1
        log.recovery_point = min(log.recovery_point, offset)
    log.hints = {}
    if log.home.before_truncation is not None:
        log.home.before_truncation(log, offset)


def _settle(log: Log) -> None:
    end = log.log_end_offset
    with log.home.lock:
        log.generation += 1  # once more: what began meanwhile saw the old end
        log.recovery_point = min(log.recovery_point, end)
        log.sealed_to = min(log.sealed_to, log.active.base_offset)
    log.log_start_offset = min(log.log_start_offset, end)
    log.epochs.truncate_from_end(end)
    log.epochs_changed()
    if log.producers.end_offset != end:
        rebuild_producers(log, end)
    log.high_watermark = min(log.high_watermark, end)
    log.mark_unflushed(log.home.clock.time_ms())


def drop_segment(log: Log, index: int) -> None:
    """Take a segment out of the log; its files are renamed now and go later."""
    segment = log.segments.pop(index)
    segment.data.close()
    segment.offset_index.release()
    segment.time_index.release()
    paths = segment.rename("", DELETED)
    log.names_changed = True
    if segment.base_offset in log.snapshots.offsets and index:
        log.snapshots.remove(segment.base_offset)
    due_ms = log.home.clock.time_ms() + log.config.file_delete_delay_ms
    for path in paths:
        log.home.throw_away(path, due_ms)
