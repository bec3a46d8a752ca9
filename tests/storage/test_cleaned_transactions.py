"""Which data were aborted, and which markers are still needed, as a pass over the log sees it."""

from __future__ import annotations

from blumfeld.protocol.batch import RecordBatch
from blumfeld.protocol.records import Record, build_batch, end_transaction_batch
from blumfeld.storage.cleaned_transactions import CleanedTransactions
from blumfeld.storage.results import AbortedTransaction


def data(offset: int, producer_id: int, *, transactional: bool = True) -> RecordBatch:
    return RecordBatch(
        build_batch(
            [Record(offset, 0, b"k", b"v")],
            base_offset=offset,
            producer_id=producer_id,
            producer_epoch=0,
            base_sequence=0,
            transactional=transactional,
        )
    )


def marker(offset: int, producer_id: int, *, commit: bool) -> RecordBatch:
    return RecordBatch(
        end_transaction_batch(
            commit=commit,
            base_offset=offset,
            timestamp=0,
            leader_epoch=0,
            producer_id=producer_id,
            producer_epoch=0,
            coordinator_epoch=0,
        )
    )


def test_an_aborted_transaction_among_others() -> None:
    aborted = AbortedTransaction(1, 0, 5, 6)
    transactions = CleanedTransactions([aborted])
    assert transactions.meet_data(data(0, 1))
    assert not transactions.meet_data(data(1, 2))
    assert not transactions.meet_data(data(2, 1, transactional=False))
    assert transactions.meet_data(data(3, 1))
    assert not transactions.meet_control(marker(4, 2, commit=True)), "data of it was met"
    assert not transactions.meet_control(marker(5, 1, commit=False)), "data of it was met"
    assert transactions.kept == [aborted]


def test_markers_whose_data_are_gone_are_not_needed() -> None:
    transactions = CleanedTransactions([AbortedTransaction(1, 0, 5, 6)])
    assert transactions.meet_control(marker(4, 2, commit=True))
    assert transactions.meet_control(marker(5, 1, commit=False))
    assert transactions.kept == []


def test_one_producers_transactions_one_after_the_other() -> None:
    second = AbortedTransaction(1, 2, 3, 4)
    transactions = CleanedTransactions([second])
    assert not transactions.meet_data(data(0, 1))
    assert not transactions.meet_control(marker(1, 1, commit=True))
    assert transactions.meet_data(data(2, 1))
    assert not transactions.meet_control(marker(3, 1, commit=False))
    assert not transactions.meet_data(data(4, 1))
    assert not transactions.meet_control(marker(5, 1, commit=True))
    assert transactions.kept == [second]


def test_an_emptied_marker_is_not_needed() -> None:
    batch = marker(5, 1, commit=True)
    batch.record_count = 0
    assert CleanedTransactions([]).meet_control(batch)


def test_a_transaction_whose_marker_is_not_met_ends_all_the_same() -> None:
    later = AbortedTransaction(1, 8, 9, 10)
    transactions = CleanedTransactions([AbortedTransaction(1, 0, 3, 4), later])
    assert transactions.meet_data(data(2, 1))
    assert not transactions.meet_data(data(5, 1)), "of a committed transaction"
    assert not transactions.meet_control(marker(6, 1, commit=True))
    assert transactions.meet_data(data(8, 1))
    assert not transactions.meet_control(marker(9, 1, commit=False))
    assert transactions.kept == [later]
