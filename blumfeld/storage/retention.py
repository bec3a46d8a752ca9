"""Retention: which segments of a log have to go, and when their files may.

Owns the rules of Kafka's `cleanup.policy=delete` (too much in all, too old) and the order of a deletion: first the
log's start moves, and readers see no more of what lies below; the files go once that start is on the disk too. A crash
may undo some deletions of files and not others, and without the start nothing would say that the holes are meant.

Invariants: segments go from the oldest on, and only below the high watermark; a compacted log that is not also `delete`
loses only what lies below its start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blumfeld.storage.log import Log
    from blumfeld.storage.segment import Segment


def apply(log: Log, now_ms: int) -> int:
    """Move the start of `log` as its configuration says, and delete what may go by now; how many segments went.

    Where segments stay `pending`, `remove` wants to be called when the start has been written down. May raise OSError.
    """
    if log.config.delete:
        start = max(_first_within_size(log), _first_young(log, now_ms))
        if start > log.log_start_offset:
            if start == log.log_end_offset:
                log.roll()  # what comes next is not below the start
            log.advance_log_start_offset(start)
    return remove(log)


def pending(log: Log) -> bool:
    """Whether segments lie wholly below the log's start."""
    return len(log.segments) > 1 and log.segments[1].base_offset <= log.log_start_offset


def remove(log: Log) -> int:
    """Delete the segments below the start that is on the disk; how many went. May raise OSError."""
    if not pending(log):
        return 0
    start = min(log.log_start_offset, log.home.durable_start(log))
    return log.delete_old_segments(
        lambda _, following: following is not None and following.base_offset <= start, "retention"
    )


def _first_within_size(log: Log) -> int:
    """Where the log would begin, did it keep no more segments than retention.bytes ask for."""
    limit = log.config.retention_bytes
    excess = log.size - limit
    if limit < 0:
        return 0

    def goes(segment: Segment) -> bool:
        nonlocal excess
        excess -= segment.size
        return excess >= 0

    return _first_kept(log, goes)


def _first_young(log: Log, now_ms: int) -> int:
    """Where the log would begin without the segments whose newest record is older than retention.ms."""
    limit = log.config.retention_ms
    return 0 if limit < 0 else _first_kept(log, lambda segment: now_ms - segment.largest_timestamp > limit)


def _first_kept(log: Log, goes: Callable[[Segment], bool]) -> int:
    segments = log.segments
    for index, segment in enumerate(segments):
        end = segments[index + 1].base_offset if index + 1 < len(segments) else log.log_end_offset
        is_new = segment is log.active and not segment.size
        if is_new or end > log.high_watermark or not goes(segment):
            return segment.base_offset
    return log.log_end_offset
