"""Transactions seen by compaction as it walks over a log: what was aborted, and which markers are still needed.

Owns that bookkeeping for one pass, batches coming in the order of their offsets. Knows nothing of keys and files.

Invariants: data of an aborted transaction may go, and none behind the offset where it ended; a marker may go only when
no batch of its transaction was met in this pass, so that no reader ever takes data for undecided or for another
transaction's.
"""

from __future__ import annotations

from blumfeld.protocol.batch import RecordBatch
from blumfeld.storage.results import AbortedTransaction


class CleanedTransactions:
    """One pass over a log. `kept` are the aborted transactions whose markers stay, in the order of their markers."""

    __slots__ = ("_aborted", "_committed", "_next", "_upcoming", "kept")

    def __init__(self, aborted: list[AbortedTransaction]) -> None:
        """`aborted`: those of the log that overlap the pass."""
        self._upcoming = sorted(aborted, key=lambda transaction: transaction.first_offset)
        self._next = 0
        self._aborted: dict[int, tuple[AbortedTransaction, bool]] = {}
        """Producer id → its aborted transaction that the pass is in, and whether a batch of it was met."""
        self._committed: set[int] = set()
        self.kept: list[AbortedTransaction] = []

    def meet_data(self, batch: RecordBatch) -> bool:
        """A data batch comes; whether it belongs to an aborted transaction."""
        self._advance(batch.last_offset)
        if not batch.is_transactional:
            return False
        known = self._aborted.get(batch.producer_id)
        if known is None or known[0].last_offset < batch.base_offset:
            self._committed.add(batch.producer_id)
            return False
        self._aborted[batch.producer_id] = (known[0], True)
        return True

    def meet_control(self, batch: RecordBatch) -> bool:
        """A control batch comes; whether it is no longer needed: its transaction has no batch left, or it is empty."""
        from blumfeld.protocol.records import ControlType, control_type

        self._advance(batch.last_offset)
        kind = control_type(batch) if batch.record_count else None
        if kind is ControlType.ABORT:
            transaction, met = self._aborted.pop(batch.producer_id, (None, False))
            if transaction is None or not met:
                return True
            self.kept.append(transaction)
            return False
        if kind is ControlType.COMMIT:
            if batch.producer_id in self._committed:
                self._committed.discard(batch.producer_id)
                return False
            return True
        return batch.record_count == 0

    def _advance(self, offset: int) -> None:
        while self._next < len(self._upcoming) and self._upcoming[self._next].first_offset <= offset:
            transaction = self._upcoming[self._next]
            before = self._aborted.get(transaction.producer_id)
            if before is None or before[0].last_offset < transaction.first_offset:
                self._aborted[transaction.producer_id] = (transaction, False)
            self._next += 1
