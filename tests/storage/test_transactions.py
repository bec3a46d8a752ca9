"""Transactions on a partition: last stable offset, markers, aborted ranges, verification."""

from __future__ import annotations

import pytest

from blumfeld.protocol.errors import ErrorCode
from tests.storage.builders import LogBench, batch, marker


def write(bench: LogBench, producer_id: int, sequence: int, *, epoch: int = 0, count: int = 1) -> int:
    """A transactional batch; returns its first offset."""
    data = batch(count=count, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, transactional=True)
    return bench.append(data).base_offset


def end(bench: LogBench, producer_id: int, *, commit: bool, epoch: int = 0, coordinator_epoch: int = 0) -> int:
    data = marker(commit=commit, producer_id=producer_id, producer_epoch=epoch, coordinator_epoch=coordinator_epoch)
    return bench.append(data, origin="coordinator").base_offset


def test_the_last_stable_offset_waits_for_the_oldest_transaction(bench: LogBench) -> None:
    bench.append()
    write(bench, 1, 0)
    bench.append()
    write(bench, 2, 0)
    bench.commit()
    assert bench.log.last_stable_offset == 1
    end(bench, 1, commit=True)
    bench.commit()
    assert bench.log.last_stable_offset == 3
    end(bench, 2, commit=False)
    bench.commit()
    assert bench.log.last_stable_offset == 6


def test_a_decided_transaction_counts_once_its_marker_is_replicated(bench: LogBench) -> None:
    write(bench, 1, 0)
    end(bench, 1, commit=True)
    bench.log.update_high_watermark(1)
    assert bench.log.last_stable_offset == 0
    bench.log.update_high_watermark(2)
    assert bench.log.last_stable_offset == 2


def test_it_is_never_above_the_high_watermark_nor_below_the_start(bench: LogBench) -> None:
    bench.append()
    write(bench, 1, 0)
    assert bench.log.last_stable_offset == 0
    bench.append()
    bench.commit()
    bench.log.advance_log_start_offset(2)
    assert bench.log.last_stable_offset == 2


def test_aborted_ranges_are_found_by_reads_of_committed_records(bench: LogBench) -> None:
    write(bench, 1, 0)  # 0
    write(bench, 2, 0)  # 1
    write(bench, 1, 1)  # 2
    end(bench, 1, commit=False)  # 3
    write(bench, 3, 0)  # 4
    end(bench, 2, commit=True)  # 5
    end(bench, 3, commit=False)  # 6
    bench.commit()

    def aborted(start: int, stop: int) -> list[tuple[int, int]]:
        return [(a.producer_id, a.first_offset) for a in bench.log.aborted_transactions(start, stop)]

    assert aborted(0, 7) == [(1, 0), (3, 4)]
    assert aborted(0, 4) == [(1, 0)]
    assert aborted(4, 7) == [(3, 4)]
    assert aborted(3, 4) == [(1, 0)]
    entries = bench.log.active.txn_index.all()
    assert [(a.first_offset, a.last_offset, a.last_stable_offset) for a in entries] == [(0, 3, 1), (4, 6, 7)]


def test_an_aborted_range_is_found_from_a_later_segments_index(bench: LogBench) -> None:
    bench.configure(segment_bytes=200)
    for sequence in range(6):
        write(bench, 1, sequence)
    end(bench, 1, commit=False)
    bench.commit()
    assert len(bench.log.segments) > 2
    assert [a.first_offset for a in bench.log.aborted_transactions(0, 1)] == [0]


def test_markers_without_data_change_nothing(bench: LogBench) -> None:
    end(bench, 1, commit=False, epoch=3)
    bench.commit()
    assert bench.log.last_stable_offset == 1
    assert bench.log.aborted_transactions(0, 1) == []
    assert bench.log.producers.by_id[1].epoch == 3
    assert bench.log.producers.by_id[1].last_sequence == -1


def test_a_marker_of_an_old_epoch_or_coordinator_is_fenced(bench: LogBench) -> None:
    write(bench, 1, 0, epoch=3)
    old_epoch = bench.try_append(marker(commit=True, producer_id=1, producer_epoch=2), origin="coordinator")
    assert old_epoch.error is ErrorCode.INVALID_PRODUCER_EPOCH
    end(bench, 1, commit=True, epoch=3, coordinator_epoch=5)
    old_coordinator = bench.try_append(
        marker(commit=True, producer_id=1, producer_epoch=3, coordinator_epoch=4), origin="coordinator"
    )
    assert old_coordinator.error is ErrorCode.TRANSACTION_COORDINATOR_FENCED


def test_a_marker_that_does_not_raise_the_epoch_is_late_under_transaction_version_2(bench: LogBench) -> None:
    write(bench, 1, 0, epoch=3)

    def end_with(epoch: int) -> ErrorCode:
        data = marker(commit=True, producer_id=1, producer_epoch=epoch)
        return bench.try_append(data, origin="coordinator", transaction_version=2).error

    assert end_with(3) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert end_with(4) is ErrorCode.NONE
    assert end_with(4) is ErrorCode.NONE, "the coordinator asks again where it heard no answer"
    write(bench, 1, 0, epoch=4)
    assert end_with(4) is ErrorCode.INVALID_PRODUCER_EPOCH


def test_a_plain_batch_within_a_transaction_is_refused(bench: LogBench) -> None:
    write(bench, 1, 0)
    result = bench.try_append(batch(b"a", producer_id=1, producer_epoch=0, base_sequence=1))
    assert result.error is ErrorCode.INVALID_TXN_STATE
    write(bench, 1, 1)


def test_after_a_marker_the_sequence_goes_on_and_a_bumped_epoch_starts_anew(bench: LogBench) -> None:
    write(bench, 1, 0)
    end(bench, 1, commit=True)
    write(bench, 1, 1)
    end(bench, 1, commit=False, epoch=1)
    write(bench, 1, 0, epoch=1)
    refused = bench.try_append(batch(b"a", producer_id=1, producer_epoch=0, base_sequence=2, transactional=True))
    assert refused.error is ErrorCode.INVALID_PRODUCER_EPOCH


@pytest.mark.parametrize("stop", ["restart", "reopen"])
def test_open_and_aborted_transactions_survive(bench: LogBench, stop: str) -> None:
    bench.configure(segment_bytes=200)
    write(bench, 1, 0)  # 0
    write(bench, 2, 0)  # 1
    end(bench, 1, commit=False)  # 2
    write(bench, 3, 0)  # 3
    end(bench, 2, commit=False)  # 4
    write(bench, 4, 0)  # 5
    bench.commit()
    before = [a.as_tuple() for a in bench.log.aborted_transactions(0, 6)]
    getattr(bench, stop)()
    bench.commit()
    assert bench.log.last_stable_offset == 3
    assert bench.log.producers.ongoing == {3: 3, 5: 4}
    assert [a.as_tuple() for a in bench.log.aborted_transactions(0, 6)] == before
    assert sorted(before) == [(1, 0, 2, 1), (2, 1, 4, 3)]
    end(bench, 3, commit=True)
    bench.commit()
    assert bench.log.last_stable_offset == 5


def test_truncation_takes_markers_back(bench: LogBench) -> None:
    write(bench, 1, 0)
    write(bench, 2, 0)
    end(bench, 1, commit=False)
    end(bench, 2, commit=False)
    bench.log.truncate_to(3)
    bench.commit()
    assert bench.log.last_stable_offset == 1
    assert bench.log.producers.ongoing == {1: 2}
    assert [a.producer_id for a in bench.log.aborted_transactions(0, 3)] == [1]
    end(bench, 2, commit=True)
    bench.commit()
    assert [a.producer_id for a in bench.log.aborted_transactions(0, 4)] == [1]


def test_unverified_transactions_are_refused_where_verification_is_on(bench: LogBench) -> None:
    bench.configure(verify_transactions=True)
    data = bytes(batch(b"a", producer_id=1, producer_epoch=0, base_sequence=3, transactional=True))
    assert bench.try_append(bytearray(data)).error is ErrorCode.INVALID_TXN_STATE
    guard = bench.log.producers.start_verification(1, 0, 3, 0)
    assert guard is not None
    assert bench.log.producers.start_verification(1, 0, 5, 0) is guard
    bench.append(bytearray(data), verification=guard)
    assert bench.log.producers.start_verification(1, 0, 4, 0) is None, "the open transaction speaks for itself"
    write(bench, 1, 4)
    end(bench, 1, commit=True)
    stale = batch(b"a", producer_id=1, producer_epoch=0, base_sequence=5, transactional=True)
    assert bench.try_append(stale, verification=guard).error is ErrorCode.INVALID_TXN_STATE


def test_a_later_batch_may_not_overtake_one_that_waits_for_verification(bench: LogBench) -> None:
    bench.configure(verify_transactions=True)
    guard = bench.log.producers.start_verification(1, 0, 3, 0)
    bench.log.producers.start_verification(1, 0, 4, 0)
    later = batch(b"b", producer_id=1, producer_epoch=0, base_sequence=4, transactional=True)
    assert bench.try_append(later, verification=guard).error is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
