"""Idempotent producers: sequences, duplicates, epochs, and what is remembered of them."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage import snapshots
from blumfeld.storage.producers import MAX_SEQUENCE
from tests.storage.builders import NOW, LogBench, batch

OUT_OF_ORDER = ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def sent(sequence: int, count: int = 1, *, producer_id: int = 1, epoch: int = 0, **options: Any) -> bytearray:
    """A batch of an idempotent producer."""
    return batch(count=count, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, **options)


def test_sequences_follow_each_other(bench: LogBench) -> None:
    for sequence, count in ((0, 3), (3, 2), (5, 1)):
        bench.append(sent(sequence, count))
    producer = bench.log.producers.by_id[1]
    assert (producer.last_sequence, producer.last_offset, producer.epoch) == (5, 5, 0)


def test_a_duplicate_is_answered_with_its_first_offset(bench: LogBench) -> None:
    bench.append()
    for sequence in range(5):
        bench.append(sent(2 * sequence, 2))
    for sequence in range(5):
        result = bench.append(sent(2 * sequence, 2))
        assert result.duplicate
        assert (result.base_offset, result.last_offset) == (1 + 2 * sequence, 2 + 2 * sequence)
    assert bench.log.log_end_offset == 11


def test_only_the_last_five_batches_are_remembered(bench: LogBench) -> None:
    for sequence in range(6):
        bench.append(sent(sequence))
    assert bench.try_append(sent(0)).error is OUT_OF_ORDER
    assert bench.append(sent(1)).duplicate


def test_the_same_first_sequence_with_another_count_is_no_duplicate(bench: LogBench) -> None:
    bench.append(sent(0, 3))
    assert bench.try_append(sent(0, 2)).error is OUT_OF_ORDER


@pytest.mark.parametrize("sequence", [0, 2, 4, 6, 100])
def test_a_gap_is_refused_where_the_producer_is_known(bench: LogBench, sequence: int) -> None:
    bench.append(sent(0, 3))
    result = bench.try_append(sent(sequence))
    assert result.error is OUT_OF_ORDER
    assert bench.log.log_end_offset == 3
    bench.append(sent(3))


def test_an_unknown_producer_may_start_anywhere(bench: LogBench) -> None:
    bench.append(sent(77))
    bench.append(sent(78))


def test_a_new_epoch_starts_at_zero(bench: LogBench) -> None:
    bench.append(sent(0, 3))
    assert bench.try_append(sent(3, epoch=1)).error is OUT_OF_ORDER
    bench.append(sent(0, epoch=1))
    bench.append(sent(1, epoch=1))
    assert bench.log.producers.by_id[1].epoch == 1


def test_an_old_epoch_is_fenced(bench: LogBench) -> None:
    bench.append(sent(0, epoch=4))
    assert bench.try_append(sent(1, epoch=3)).error is ErrorCode.INVALID_PRODUCER_EPOCH
    assert bench.try_append(sent(0, epoch=3)).error is ErrorCode.INVALID_PRODUCER_EPOCH


def test_sequences_wrap_round(bench: LogBench) -> None:
    bench.append(sent(MAX_SEQUENCE - 1, 2))
    bench.append(sent(0, 2))
    assert bench.append(sent(MAX_SEQUENCE - 1, 2)).duplicate
    bench.append(sent(2))


def test_a_batch_may_wrap_round_itself(bench: LogBench) -> None:
    bench.append(sent(MAX_SEQUENCE, 3))
    assert bench.log.producers.by_id[1].last_sequence == 1
    assert bench.append(sent(MAX_SEQUENCE, 3)).duplicate
    bench.append(sent(2))


def test_several_batches_of_one_producer_in_one_append(bench: LogBench) -> None:
    bench.append(sent(0, 2) + sent(2, 3) + sent(0, producer_id=2) + sent(5))
    assert bench.log.producers.by_id[1].last_sequence == 5
    assert bench.append(sent(2, 3)).base_offset == 2
    refused = bench.try_append(sent(6) + sent(8))
    assert refused.error is OUT_OF_ORDER
    assert bench.log.producers.by_id[1].last_sequence == 5
    assert bench.log.log_end_offset == 7


def test_one_duplicate_among_several_batches_answers_for_all(bench: LogBench) -> None:
    bench.append(sent(0, 2))
    result = bench.append(sent(0, 2) + sent(2))
    assert result.duplicate
    assert bench.log.log_end_offset == 2


def test_coordinators_have_no_sequences(bench: LogBench) -> None:
    bench.append(sent(-1), origin="coordinator")
    bench.append(sent(-1), origin="coordinator")
    assert bench.log.log_end_offset == 2
    assert bench.try_append(sent(-1, epoch=-2), origin="coordinator").error is ErrorCode.INVALID_PRODUCER_EPOCH


def test_producers_expire_unless_a_transaction_is_open(bench: LogBench) -> None:
    bench.configure(producer_id_expiration_ms=1000)
    bench.append(sent(0))
    bench.append(sent(0, producer_id=2, transactional=True))
    bench.append(sent(0, producer_id=3, timestamp=NOW + 500))
    assert bench.log.expire_producers(NOW + 1200) == 1
    assert sorted(bench.log.producers.by_id) == [2, 3]
    bench.append(sent(50))


@pytest.mark.parametrize("stop", ["restart", "reopen"])
def test_sequences_survive(bench: LogBench, stop: str) -> None:
    for sequence in range(8):
        bench.append(sent(sequence))
    getattr(bench, stop)()
    for sequence in range(8):
        result = bench.try_append(sent(sequence))
        assert result.duplicate is (sequence >= 3)
        assert result.base_offset == (sequence if sequence >= 3 else -1)
    bench.append(sent(8))
    assert bench.try_append(sent(10)).error is OUT_OF_ORDER


def test_batches_before_the_last_are_recalled_among_those_of_others_and_across_segments(bench: LogBench) -> None:
    bench.configure(segment_bytes=400)
    bench.append(sent(0, producer_id=2))
    for sequence in range(9):
        bench.append(sent(sequence))
        bench.append(sent(sequence + 1, producer_id=2))
    assert len(bench.log.segments) > 2
    bench.restart()
    for producer_id, last in ((1, 8), (2, 9)):
        retried = [bench.try_append(sent(s, producer_id=producer_id)) for s in range(last - 5, last + 1)]
        assert [result.duplicate for result in retried] == [False, *[True] * 5]
    assert bench.append(sent(9)).duplicate is False


def test_what_was_recalled_is_of_the_producers_present_epoch(bench: LogBench) -> None:
    for epoch in (0, 1):
        for sequence in range(3):
            bench.append(sent(sequence, epoch=epoch))
    bench.restart()
    assert bench.try_append(sent(2, epoch=0)).error is ErrorCode.INVALID_PRODUCER_EPOCH
    retried = bench.append(sent(0, epoch=1))
    assert (retried.duplicate, retried.base_offset) == (True, 3)


def test_the_state_after_a_scan_is_the_state_before(bench: LogBench) -> None:
    bench.configure(segment_bytes=250)
    for number in range(8):
        bench.append(sent(number // 3, producer_id=number % 3))
    before = {key: producer.as_tuple() for key, producer in bench.log.producers.by_id.items()}
    for recovery_point in (0, 3, 7, 8):
        bench.reopen(recovery_point=recovery_point)
        assert {key: producer.as_tuple() for key, producer in bench.log.producers.by_id.items()} == before


def test_a_damaged_snapshot_is_passed_over(bench: LogBench) -> None:
    for sequence in range(8):
        bench.append(sent(sequence))
    bench.log.close()
    bench.overwrite("00000000000000000008.snapshot", 20, b"\xff")
    bench.open(clean=True)
    assert bench.log.producers.by_id[1].last_sequence == 7
    assert bench.append(sent(5)).duplicate, "it was built from the batches again"


def test_snapshots_are_at_segments_and_at_the_end(bench: LogBench) -> None:
    bench.configure(segment_bytes=250)
    for sequence in range(8):
        bench.append(sent(sequence))
    assert [segment.base_offset for segment in bench.log.segments] == [0, 3, 6]
    bench.restart()
    assert bench.log.snapshots.offsets == [3, 6, 8]
    bench.append(sent(8))
    bench.append(sent(9))
    bench.restart()
    assert bench.log.snapshots.offsets == [3, 6, 9, 10]


@pytest.mark.parametrize("damage", [b"", b"\0" * 9, b"\0\2" + bytes(8), b"\0\1" + bytes(8)])
def test_what_is_no_snapshot(damage: bytes) -> None:
    with pytest.raises(snapshots.CorruptSnapshot):
        snapshots.decode(damage)
    with pytest.raises(snapshots.CorruptSnapshot):
        snapshots.decode(snapshots.encode([]) + b"\0")
