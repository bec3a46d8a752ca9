"""Retention: by time, by size, by the log's start, and never what is not committed."""

from __future__ import annotations

from typing import Any

from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage import retention
from tests.storage.history import DIRECTORY, History


def history_of(segments: int, **config: Any) -> History:
    """That many segments, each of about 2,000 bytes and a second apart; the last one is active."""
    history = History(**{"cleanup_policy": ("delete",), "retention_ms": -1, **config})
    while len(history.log.segments) < segments or history.log.active.size < 1_500:
        count = len(history.log.segments)
        history.put("key", "v" * 200)
        if len(history.log.segments) > count:
            history.clock.advance(1)
    return history


def bases(history: History) -> list[int]:
    return [segment.base_offset for segment in history.log.segments]


def test_nothing_goes_by_default_of_a_log_without_limits() -> None:
    history = history_of(4)
    assert retention.apply(history.log, history.clock.time_ms()) == 0


def test_old_segments_go_by_their_newest_record() -> None:
    history = history_of(4, retention_ms=10_000)
    before = bases(history)
    newest = [segment.largest_timestamp for segment in history.log.segments]
    assert retention.apply(history.log, newest[1] + 10_000) == 1
    assert retention.apply(history.log, newest[1] + 10_001) == 1
    assert bases(history) == before[2:]
    assert history.log.log_start_offset == before[2]


def test_an_old_log_goes_wholly_and_begins_anew() -> None:
    history = history_of(3, retention_ms=1_000)
    end = history.log.log_end_offset
    history.clock.advance(100)
    assert retention.apply(history.log, history.clock.time_ms()) == 3
    assert (history.log.log_start_offset, history.log.log_end_offset, bases(history)) == (end, end, [end])
    assert retention.apply(history.log, history.clock.time_ms()) == 0
    assert history.put("key", "goes on") == end


def test_one_young_segment_protects_all_that_follow() -> None:
    history = history_of(3, retention_ms=1_000)
    history.log.segments[0].set_max_timestamp(history.clock.time_ms() + 50_000, 0)
    history.clock.advance(20)
    assert retention.apply(history.log, history.clock.time_ms()) == 0


def test_the_oldest_segments_go_while_enough_stays() -> None:
    history = history_of(5)
    sizes = [segment.size for segment in history.log.segments]
    for limit, gone in [(sum(sizes), 0), (sum(sizes[1:]) + 1, 0), (sum(sizes[2:]), 2), (0, 3)]:
        log = history.log
        log.update_config(_with(history, retention_bytes=limit))
        assert retention.apply(log, history.clock.time_ms()) == gone, limit
    assert history.log.size == 0


def test_what_lies_below_the_start_goes_whatever_the_policy() -> None:
    for policy in ("delete",), ("compact",), ("compact", "delete"):
        history = history_of(4, cleanup_policy=policy)
        before = bases(history)
        assert history.log.advance_log_start_offset(before[2] - 1) is ErrorCode.NONE
        assert retention.apply(history.log, history.clock.time_ms()) == 1
        assert bases(history) == before[1:]


def test_a_compacted_log_keeps_old_segments_unless_it_is_delete_too() -> None:
    for policy, gone in [(("compact",), 0), (("compact", "delete"), 4)]:
        history = history_of(4, cleanup_policy=policy, retention_ms=1)
        history.clock.advance(100)
        assert retention.apply(history.log, history.clock.time_ms()) == gone


def test_nothing_at_or_above_the_high_watermark_goes() -> None:
    history = history_of(4, retention_ms=1)
    history.clock.advance(100)
    history.log.high_watermark = bases(history)[2]
    assert retention.apply(history.log, history.clock.time_ms()) == 2
    assert len(history.log.segments) == 2


def test_deleted_files_wait_under_another_name() -> None:
    history = history_of(3, retention_ms=1, file_delete_delay_ms=60_000)
    history.log.home.disk_is_memory = False  # as on a disk that keeps them
    history.clock.advance(100)
    first = f"{bases(history)[0]:020}.log"
    retention.apply(history.log, history.clock.time_ms())
    assert first + ".deleted" in history.disk.list(DIRECTORY)
    assert history.log.home.empty_trash(history.clock.time_ms() + 59_999) == 0
    assert history.log.home.empty_trash(history.clock.time_ms() + 60_000) > 0
    assert not [name for name in history.disk.list(DIRECTORY) if name.endswith(".deleted")]


def _with(history: History, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(history.config, **changes)
