"""Compaction of whole logs: what is due, what a round leaves, what it never touches."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.protocol.batch import RecordBatch
from blumfeld.storage.compaction import Interrupted, Limits, Round, assess, is_due
from tests.storage.history import DIRECTORY, History, assert_indexes_agree

_DAY_MS = 86_400_000


def full_history(**config: Any) -> History:
    """Ten keys, written over and over; several segments."""
    history = History(**config)
    for number in range(200):
        history.put(f"k{number % 10}", f"v{number}")
    return history


# What is due.
def test_the_active_segment_is_never_cleaned() -> None:
    history = History()
    history.put("a", "1")
    history.put("a", "2")
    assert assess(history.log, 0, history.clock.time_ms()) is None
    history.roll()
    due = assess(history.log, 0, history.clock.time_ms())
    assert due is not None
    assert (due.upper, due.dirty_bytes, due.ratio) == (2, history.log.size, 1.0)


def test_only_what_every_replica_has_and_no_transaction_holds_up_is_cleaned() -> None:
    history = full_history()
    third = history.log.segments[2].base_offset
    history.log.high_watermark = third + 1
    due = assess(history.log, 0, history.clock.time_ms())
    assert due is not None
    assert due.upper == third
    history.log.high_watermark = history.log.log_end_offset
    history.put("x", "1", producer_id=7, transactional=True)
    first_unstable = history.log.last_stable_offset
    for number in range(100):
        history.put("y", str(number))
    due = assess(history.log, 0, history.clock.time_ms())
    assert due is not None
    assert due.upper <= first_unstable


def test_a_log_is_due_when_enough_of_it_is_dirty() -> None:
    history = full_history(min_cleanable_dirty_ratio=0.5)
    segments = history.log.segments
    for first_dirty, dirty in [(0, True), (segments[1].base_offset, True), (segments[-2].base_offset, False)]:
        due = assess(history.log, first_dirty, history.clock.time_ms())
        assert due is not None
        assert is_due(due) is dirty
    assert assess(history.log, segments[-1].base_offset, history.clock.time_ms()) is None


def test_a_checkpoint_outside_the_log_means_all_of_it() -> None:
    history = full_history()
    for first_dirty in (-1, 10_000):
        due = assess(history.log, first_dirty, history.clock.time_ms())
        assert due is not None
        assert due.first_dirty == 0


def test_young_records_are_left_alone() -> None:
    history = History(min_compaction_lag_ms=1_000)
    for number in range(100):
        history.put("k", str(number))
        history.clock.advance(ms=50)
    due = assess(history.log, 0, history.clock.time_ms())
    assert due is not None
    now_ms = history.clock.time_ms()
    for segment in history.log.segments[:-1]:
        assert (segment.base_offset < due.upper) is (segment.largest_timestamp <= now_ms - 1_000)
    assert len([segment for segment in history.log.segments if segment.base_offset < due.upper]) > 1


def test_a_record_that_waited_too_long_makes_the_log_due() -> None:
    history = full_history(max_compaction_lag_ms=5_000, min_cleanable_dirty_ratio=1.0)
    for wait_ms, expected in [(5_000, False), (1, True)]:
        history.clock.advance(ms=wait_ms)
        due = assess(history.log, 0, history.clock.time_ms())
        assert due is not None
        assert (due.overdue, is_due(due)) == (expected, expected)


# What a round leaves.
def test_the_newest_value_of_each_key_is_left() -> None:
    history = full_history()
    before, size = history.state(), history.log.size
    result = history.compact()
    assert result is not None
    assert result.end == history.log.active.base_offset
    assert history.offsets() == history.survivors(result.end, tombstones=True)
    assert history.state() == before
    assert history.log.size < size / 2
    assert result.records_kept < result.records_read
    assert_indexes_agree(history.log)


def test_a_second_round_merges_what_the_first_left_small() -> None:
    history = full_history()
    history.compact()
    segments = len(history.log.segments)
    history.compact()
    assert len(history.log.segments) < segments
    assert history.offsets() == history.survivors(history.log.active.base_offset, tombstones=True)
    history.reopen(clean=False)
    assert history.offsets() == history.survivors(history.log.active.base_offset, tombstones=True)
    assert_indexes_agree(history.log)


def test_the_end_of_the_round_survives_without_its_records() -> None:
    history = History()
    history.put("a", "1")
    history.put("b", "1")
    history.put("a", "2")
    history.roll()
    history.put("a", "3")
    history.roll()
    history.put("z", "1")
    history.compact()
    history.compact()
    batches = history.batches()
    assert [(batch.base_offset, batch.record_count) for batch in batches] == [(1, 1), (3, 1), (4, 1)]


def test_a_clean_segment_keeps_its_file() -> None:
    history = History()
    for number in range(100):
        history.put(f"k{number}", "only once")
    history.roll()
    before = [segment.data for segment in history.log.segments]
    result = history.compact()
    assert result is not None
    assert result.records_kept == result.records_read == 100
    assert [segment.data for segment in history.log.segments] == before
    assert not [name for name in history.disk.list(DIRECTORY) if "clean" in name or "swap" in name]


def test_tombstones_are_dropped_when_they_have_been_seen_for_long_enough() -> None:
    history = History(delete_retention_ms=1_000)
    history.put("a", "1")
    history.put("a", None)
    history.put("b", "1")
    history.roll()
    history.put("c", "1")
    history.compact()
    assert history.offsets() == [1, 2, 3]
    stamped = history.batches()[0]
    assert stamped.delete_horizon == history.clock.time_ms() + 1_000
    history.clock.advance(ms=999)
    history.compact()
    assert history.offsets() == [1, 2, 3]
    history.clock.advance(ms=1)
    history.compact()
    assert history.offsets() == [2, 3]


def test_a_delete_horizon_does_not_change_the_records_times() -> None:
    history = History()
    history.write((b"a", None), (b"b", b"1"), (b"c", b"2"))
    history.roll()
    times = [record.timestamp for record in history.data()]
    history.clock.advance(5)
    history.compact()
    assert history.batches()[0].delete_horizon is not None
    assert [record.timestamp for record in history.data()] == times
    assert history.batches()[0].max_timestamp == times[-1]


def test_records_without_keys_go() -> None:
    history = History(cleanup_policy=("delete",))
    history.write((None, b"1"), (b"a", b"1"))
    history.roll()
    history.compact()
    assert history.offsets() == [1]


@pytest.mark.parametrize("codec", range(5))
def test_compressed_batches_stay_compressed(codec: int) -> None:
    history = History()
    history.write((b"a", b"1" * 100), (b"b", b"2" * 100), (b"a", b"3" * 100), codec=codec)
    history.roll()
    history.compact()
    batch = history.batches()[0]
    assert (batch.codec, batch.record_count, batch.base_offset, batch.last_offset) == (codec, 2, 0, 2)
    assert batch.is_valid_crc()
    assert history.offsets() == [1, 2]


# Transactions and producers.
def test_aborted_data_go_and_their_marker_follows() -> None:
    history = History(delete_retention_ms=1_000)
    history.put("a", "kept", producer_id=1, transactional=True)
    history.end(1, commit=True)
    history.put("a", "aborted", producer_id=1, transactional=True)
    history.put("b", "aborted", producer_id=1, transactional=True)
    history.end(1, commit=False)
    history.put("c", "1")
    history.roll()
    history.compact()
    assert history.state() == {b"a": b"kept", b"c": b"1"}
    assert history.offsets() == [0, 5]
    # the last data batch of the live producer stays empty, and so does its marker while that batch is there
    kinds = [(batch.base_offset, batch.is_control, batch.record_count) for batch in history.batches()]
    assert kinds == [(0, False, 1), (1, True, 1), (3, False, 0), (4, True, 1), (5, False, 1)]
    assert [aborted.first_offset for aborted in history.log.aborted_transactions(0, 6)] == [2]
    # the producer is forgotten: nothing of the transaction is left, so its marker gets a horizon and goes
    history.log.producers.clear(history.log.log_end_offset)
    history.compact()
    assert [batch.base_offset for batch in history.batches()] == [0, 1, 4, 5]
    assert history.batches()[2].delete_horizon is None, "a batch of the transaction was met in this round"
    history.compact()
    assert history.batches()[2].delete_horizon == history.clock.time_ms() + 1_000
    assert history.log.aborted_transactions(0, 6) == []
    history.clock.advance(ms=1_000)
    history.compact()
    assert [batch.base_offset for batch in history.batches()] == [0, 1, 5]
    assert history.state() == {b"a": b"kept", b"c": b"1"}


def test_a_commit_marker_goes_when_all_its_data_are_gone() -> None:
    history = History(delete_retention_ms=1_000)
    history.put("a", "old", producer_id=1, transactional=True)
    history.end(1, commit=True)
    history.put("a", "new")
    history.roll()
    history.log.producers.clear(history.log.log_end_offset)
    history.compact()
    assert [batch.base_offset for batch in history.batches()] == [1, 2]
    history.compact()
    assert history.batches()[0].delete_horizon is not None
    history.clock.advance(ms=1_000)
    history.compact()
    assert [batch.base_offset for batch in history.batches()] == [2]


def test_the_last_batch_of_a_live_producer_keeps_its_sequence() -> None:
    history = History()
    history.put("a", "1", producer_id=5)
    history.put("a", "2", producer_id=5)
    history.put("a", "3")
    history.roll()
    history.compact()
    empty = history.batches()[0]
    assert (empty.base_offset, empty.record_count, empty.producer_id, empty.base_sequence) == (1, 0, 5, 1)
    assert empty.is_valid_crc()
    expected = history.log.producers.by_id[5].as_tuple()
    for name in [name for name in history.disk.list(DIRECTORY) if name.endswith(".snapshot")]:
        history.disk.remove(f"{DIRECTORY}/{name}")
    history.reopen(clean=False)
    assert history.log.producers.by_id[5].as_tuple() == expected


def test_a_live_producer_without_data_in_its_epoch_keeps_its_marker() -> None:
    history = History(delete_retention_ms=0)
    history.put("a", "1", producer_id=5, transactional=True)
    history.end(5, commit=True, bump=True)
    history.put("a", "2")
    history.roll()
    for _ in range(3):
        history.compact()
        history.clock.advance(ms=10)
    marker = history.batches()[0]
    assert (marker.is_control, marker.record_count, marker.producer_epoch) == (True, 1, 1)
    history.reopen(clean=False)
    assert history.log.producers.by_id[5].epoch == 1


# Bounds and interruptions.
def test_a_map_that_is_too_small_leaves_the_rest_for_the_next_round() -> None:
    history = History()
    for number in range(300):
        history.put(f"k{number % 60:02}", f"v{number}")
    before, upper = history.state(), history.log.active.base_offset
    first_dirty, rounds = 0, 0
    while first_dirty < upper:
        result = history.compact(first_dirty=first_dirty, map_bytes=25 * 200)
        assert result is not None
        assert result.end > first_dirty
        first_dirty = result.end
        rounds += 1
        assert history.state() == before
    assert rounds > 5
    assert history.offsets() == history.survivors(upper, tombstones=True)


def test_a_truncated_log_interrupts_the_round_and_leaves_nothing_behind() -> None:
    history = full_history()
    due = assess(history.log, 0, history.clock.time_ms())
    assert due is not None
    steps = Round(due, history.clock.time_ms(), Limits()).steps()
    next(steps)()
    rewrite = next(steps)
    rewrite()
    history.log.truncate_to(history.log.segments[1].base_offset + 1)
    with pytest.raises(Interrupted):
        next(steps)
    assert not [name for name in history.disk.list(DIRECTORY) if "cleaned" in name or "swap" in name]
    assert history.offsets() == list(range(history.log.log_end_offset))


def test_a_round_that_is_given_up_leaves_nothing_behind() -> None:
    history = full_history()
    before = history.offsets()
    due = assess(history.log, 0, history.clock.time_ms())
    assert due is not None
    steps = Round(due, history.clock.time_ms(), Limits()).steps()
    next(steps)()
    next(steps)()
    steps.close()
    assert not [name for name in history.disk.list(DIRECTORY) if "cleaned" in name or "swap" in name]
    assert history.offsets() == before


def test_appends_and_reads_go_on_between_the_steps() -> None:
    history = full_history()
    due = assess(history.log, 0, history.clock.time_ms())
    assert due is not None
    steps = Round(due, history.clock.time_ms(), Limits()).steps()
    for number, step in enumerate(steps):
        step()
        history.put(f"k{number % 10}", "written meanwhile")
        assert history.batches()[-1].last_offset == history.log.log_end_offset - 1
    assert history.offsets() == history.survivors(due.upper, tombstones=True)


def test_between_the_steps_no_file_is_touched() -> None:
    """What is done there, appends wait for."""
    disk = FaultyDisk(1)
    history = full_history(disk=disk)
    for producer in (1, 2, 3):
        history.put("t", "aborted", producer_id=producer, transactional=True)
        history.end(producer, commit=False)
    history.roll()
    history.reopen()
    due = assess(history.log, 0, history.clock.time_ms())
    assert due is not None
    calls = disk.calls
    steps = Round(due, history.clock.time_ms(), Limits()).steps()
    count = 0
    for step in steps:
        assert disk.calls == calls
        step()
        calls = disk.calls
        count += 1
    assert disk.calls == calls
    assert count > 4
    assert history.offsets() == history.survivors(due.upper, tombstones=True)


def test_a_full_disk_stops_the_round_and_spares_the_log() -> None:
    disk = FaultyDisk(1)
    history = full_history(disk=disk)
    before = history.state()
    disk.inject(errno.ENOSPC, "append", ".cleaned", times=None)
    with pytest.raises(OSError, match="No space"):
        history.compact()
    disk.recover()
    assert history.state() == before
    assert history.offsets()[-1] == 199
    history.compact()
    assert history.offsets() == history.survivors(history.log.active.base_offset, tombstones=True)


# Against the model, on any history.
_keys = st.sampled_from([b"a", b"b", b"c", b"d", b"long" * 20, b""])
_values = st.one_of(st.none(), st.sampled_from([b"", b"x", b"y" * 200]))
_action = st.one_of(
    st.tuples(
        st.just("write"),
        st.lists(st.tuples(_keys, _values), min_size=1, max_size=6),
        st.sampled_from([-1, -1, 1, 2]),
        st.integers(0, 4),
    ),
    st.tuples(
        st.just("transact"),
        st.lists(st.tuples(_keys, _values), min_size=1, max_size=3),
        st.sampled_from([11, 12, 13]),
        st.integers(0, 4),
    ),
    st.tuples(
        st.just("write before it was compacted"),
        st.lists(st.tuples(st.one_of(st.none(), _keys), _values), min_size=1, max_size=4),
        st.integers(0, 4),
    ),
    st.tuples(st.just("end"), st.sampled_from([11, 12, 13]), st.booleans(), st.booleans()),
    st.tuples(st.just("roll")),
    st.tuples(st.just("compact")),
    st.tuples(st.just("wait"), st.integers(0, 2_000)),
)


def play(history: History, actions: list[tuple[object, ...]], checkpoint: list[int]) -> None:
    """Let the actions happen, with what must hold after each compaction."""
    for action in actions:
        match action:
            case ("write", records, int(producer_id), int(codec)):
                history.write(*records, producer_id=producer_id, codec=codec)  # type: ignore[misc]
            case ("transact", records, int(producer_id), int(codec)):
                history.write(*records, producer_id=producer_id, codec=codec, transactional=True)  # type: ignore[misc]
            case ("write before it was compacted", records, int(codec)):
                history.log.update_config(replace(history.config, cleanup_policy=("delete",)))
                history.write(*records, codec=codec)  # type: ignore[misc]
                history.log.update_config(history.config)
            case ("end", int(producer_id), bool(commit), bool(bump)):
                if producer_id in history.open_transactions:
                    history.end(producer_id, commit=commit, bump=bump)
            case ("roll",):
                history.roll()
            case ("wait", int(ms)):
                history.clock.advance(ms=ms)
            case ("compact",):
                state = history.state()
                result = history.compact(first_dirty=checkpoint[0])
                if result is not None:
                    checkpoint[0] = result.end
                assert history.state() == state
                assert_indexes_agree(history.log)


@settings(max_examples=150, deadline=None)
@given(st.lists(_action, max_size=40))
def test_any_history_is_left_as_the_plain_rule_says(actions: list[tuple[object, ...]]) -> None:
    history = History(delete_retention_ms=1_000, segment_bytes=1_500)
    checkpoint = [0]
    play(history, actions, checkpoint)
    for producer_id in list(history.open_transactions):
        history.end(producer_id, commit=True)
    history.roll()
    state = history.state()
    result = history.compact(first_dirty=0)
    upper = result.end if result is not None else 0
    left = history.offsets()
    with_tombstones = history.survivors(upper, tombstones=True)
    without = set(history.survivors(upper, tombstones=False))
    assert set(left) <= set(with_tombstones), "something is left that had to go"
    assert without <= set(left), "something went that had to stay"
    assert left == sorted(left)
    again = [bytes(batch.view) for batch in history.batches()]
    history.compact(first_dirty=0)
    fresh = [batch for batch in history.batches() if not batch.is_control and batch.record_count]
    assert [bytes(batch.view) for batch in fresh] == [view for view in again if _has_data(view)]
    assert history.state() == state
    history.clock.advance(ms=_DAY_MS)
    history.compact(first_dirty=0)
    assert history.offsets() == sorted(without)
    history.reopen(clean=False)
    assert history.state() == state


def _has_data(view: bytes) -> bool:
    batch = RecordBatch(view)
    return not batch.is_control and batch.record_count > 0
