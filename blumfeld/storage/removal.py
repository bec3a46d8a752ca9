"""Removal from the start of a log, and replacing segments by compacted ones.

Owns the two protocols by which segments leave a log for good.
Deletion: the log's start moves first, then files are renamed to `.deleted`, oldest first, and go after
file.delete.delay.ms. Replacement, so that a crash at any moment leaves either the old or the new segments:
1. `prepare_replacement` (in a thread): the new files, written and sealed as `.cleaned`, are synced; nobody depends on
   them yet, and the owner may still decide against them;
2. `adopt_replacement` (the log's owner): readers see the new segments; no file is touched;
3. `finish_replacement` (in a thread): the new files are renamed to `.swap`, highest base first, the directory synced
   after each; from here on recovery finishes the work instead of undoing it. The old files become `.deleted`, the
   directory is synced, then the new ones lose their suffix, the directory is synced again.

Invariant: retention decides nothing here; who calls says which segments, and never one at or above the high watermark.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage import truncation
from blumfeld.storage.recovery import CLEANED, DELETED, SWAP

if TYPE_CHECKING:
    from blumfeld.storage.log import Log
    from blumfeld.storage.segment import Segment

_logger = logging.getLogger(__name__)


def advance_log_start_offset(log: Log, offset: int) -> ErrorCode:
    """`Log.advance_log_start_offset`."""
    if log.home.error is not None:
        return ErrorCode.KAFKA_STORAGE_ERROR
    if offset > log.high_watermark:
        return ErrorCode.OFFSET_OUT_OF_RANGE
    if offset > log.log_start_offset:
        log.log_start_offset = offset
        log.epochs.truncate_from_start(offset)
        log.epochs_changed()
        log.producers.high_watermark_moved(offset)
    return ErrorCode.NONE


def delete_old_segments(log: Log, deletable: Callable[[Segment, Segment | None], bool], reason: str) -> int:
    """`Log.delete_old_segments`."""
    count = 0
    segments = log.segments
    while count < len(segments):
        segment = segments[count]
        following = segments[count + 1] if count + 1 < len(segments) else None
        end = following.base_offset if following is not None else log.log_end_offset
        if end > log.high_watermark or (following is None and not segment.size) or not deletable(segment, following):
            break
        count += 1
    if not count:
        return 0
    try:
        if count == len(segments):
            log.roll()
        with log.files_lock:
            _logger.info(
                "%s: %d segments go, up to offset %d: %s",
                log.topic_partition,
                count,
                segments[count].base_offset,
                reason,
            )
            start = segments[count].base_offset
            advance_log_start_offset(log, max(start, log.log_start_offset))
            log.hints = {}
            for _ in range(count):
                base_offset = segments[0].base_offset
                truncation.drop_segment(log, 0)
                log.snapshots.remove(base_offset)
    except OSError as error:
        log.home.fail(error, f"deleting old segments of {log.topic_partition}")
        raise
    return count


def prepare_replacement(log: Log, new: list[Segment]) -> None:
    """Step 1, in a thread. Raises OSError; the `.cleaned` files that remain go at the next start."""
    for segment in new:
        segment.sync()
    log.home.disk.sync_directory(log.directory)


def adopt_replacement(log: Log, new: list[Segment], old: list[Segment]) -> None:
    """Step 2, by the log's owner: `old`, which lie side by side and below the active segment, become `new`."""
    first = log.segments.index(old[0])
    assert log.segments[first : first + len(old)] == old, "the replaced segments lie side by side"
    assert old[-1] is not log.segments[-1], "the active segment is never replaced"
    log.segments[first : first + len(old)] = sorted(new, key=lambda segment: segment.base_offset)
    log.hints = {}


def finish_replacement(log: Log, new: list[Segment], old: list[Segment]) -> None:
    """Step 3, in a thread; a segment that was dropped from the log meanwhile is left alone."""
    disk = log.home.disk
    due_ms = log.home.clock.time_ms() + log.config.file_delete_delay_ms
    try:
        with log.files_lock:
            if log.deleted:
                return
            for segment in sorted(new, key=lambda segment: segment.base_offset, reverse=True):
                if segment in log.segments:
                    segment.rename(CLEANED, SWAP)
                    disk.sync_directory(log.directory)
            for segment in old:
                _let_go(segment)
                for path in segment.rename("", DELETED):
                    log.home.throw_away(path, due_ms)
            disk.sync_directory(log.directory)
            for segment in new:
                if segment in log.segments:
                    segment.rename(SWAP, "")
            disk.sync_directory(log.directory)
            bases = {segment.base_offset for segment in log.segments}
            for segment in old:
                if segment.base_offset not in bases:
                    log.snapshots.remove(segment.base_offset)
    except OSError as error:
        log.home.fail(error, f"replacing segments of {log.topic_partition}")
        raise
    finally:
        for segment in old:  # nobody else knows them any more
            _let_go(segment)


def _let_go(segment: Segment) -> None:
    segment.data.close()
    segment.offset_index.release()
    segment.time_index.release()
