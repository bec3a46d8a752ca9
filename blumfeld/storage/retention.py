"""Retention: which segments of a log have to go.

Owns the three rules of Kafka's `cleanup.policy=delete`: below the log's start, too much in all, too old. Deletes
through `Log.delete_old_segments`, which keeps what is not below the high watermark and rolls where everything goes.

Invariants: segments go from the oldest on, without gaps; a compacted log that is not also `delete` loses only what lies
below its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blumfeld.storage.log import Log
    from blumfeld.storage.segment import Segment


def apply(log: Log, now_ms: int) -> int:
    """Delete what `log`'s configuration says at `now_ms`; how many segments went. May raise OSError."""
    count = below_start(log)
    if log.config.delete:
        count += too_much(log)
        count += too_old(log, now_ms)
    return count


def below_start(log: Log) -> int:
    """Delete the segments that end at or below the log's start (DeleteRecords moves it)."""
    if len(log.segments) < 2 or log.segments[1].base_offset > log.log_start_offset:
        return 0

    def deletable(segment: Segment, following: Segment | None) -> bool:
        del segment
        return following is not None and following.base_offset <= log.log_start_offset

    return log.delete_old_segments(deletable, "log start offset")


def too_much(log: Log) -> int:
    """Delete the oldest segments while at least retention.bytes stay."""
    limit = log.config.retention_bytes
    excess = log.size - limit
    if limit < 0 or excess < log.segments[0].size:
        return 0

    def deletable(segment: Segment, following: Segment | None) -> bool:
        nonlocal excess
        del following
        if segment.size > excess:
            return False
        excess -= segment.size
        return True

    return log.delete_old_segments(deletable, "retention.bytes")


def too_old(log: Log, now_ms: int) -> int:
    """Delete the oldest segments whose newest record is older than retention.ms."""
    limit = log.config.retention_ms
    if limit < 0 or now_ms - log.segments[0].largest_timestamp <= limit:
        return 0

    def deletable(segment: Segment, following: Segment | None) -> bool:
        del following
        return now_ms - segment.largest_timestamp > limit

    return log.delete_old_segments(deletable, "retention.ms")
