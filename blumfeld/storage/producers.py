"""What a log knows of the producers that write to it: epochs, sequences, transactions.

Owns, for each producer id, its epoch, its last five batches and the first offset of its open transaction (KIP-98), the
transactions that are open or decided above the high watermark, and pending verifications (KIP-890). Knows nothing of
files (`snapshots.py` keeps the state at an offset) and never opens data records.

Invariants
- The state is that of the log below `end_offset`, and of nothing else: `apply` follows the write, `check` changes
  nothing.
- A producer with an open transaction is never expired.
- `ongoing` is in the order of first offsets.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from blumfeld.protocol.batch import CONTROL_FLAG, TRANSACTIONAL_FLAG, RecordBatch
from blumfeld.protocol.errors import ErrorCode

BATCHES_KEPT = 5
MAX_SEQUENCE = 0x7FFFFFFF
_marker_value = Struct(">hi")

Refusal = tuple[ErrorCode, str]


class WrittenBatch:
    """One of a producer's last batches."""

    __slots__ = ("first_sequence", "last_offset", "last_sequence", "offset_delta", "timestamp")

    def __init__(
        self, first_sequence: int, last_sequence: int, last_offset: int, offset_delta: int, timestamp: int
    ) -> None:
        self.first_sequence = first_sequence
        self.last_sequence = last_sequence
        self.last_offset = last_offset
        self.offset_delta = offset_delta
        self.timestamp = timestamp

    @property
    def first_offset(self) -> int:
        return self.last_offset - self.offset_delta


class Producer:
    """One producer id's state. `last_sequence` and `last_offset` are −1 while it has no data batch in its epoch.

    `recalled`: whether `batches` are all there are; not so after a snapshot was restored (see `recalling.py`).
    """

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "epoch",
        "last_timestamp",
        "producer_id",
        "recalled",
        "txn_first_offset",
    )

    def __init__(self, producer_id: int) -> None:
        self.producer_id = producer_id
        self.epoch = -1
        self.coordinator_epoch = -1
        self.last_timestamp = -1
        self.txn_first_offset = -1
        self.recalled = True
        self.batches: deque[WrittenBatch] = deque(maxlen=BATCHES_KEPT)

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else -1

    @property
    def last_offset(self) -> int:
        return self.batches[-1].last_offset if self.batches else -1

    @property
    def offset_delta(self) -> int:
        return self.batches[-1].offset_delta if self.batches else 0

    def copy(self) -> Producer:
        """An independent copy, for trying a batch out."""
        other = Producer(self.producer_id)
        other.epoch = self.epoch
        other.coordinator_epoch = self.coordinator_epoch
        other.last_timestamp = self.last_timestamp
        other.txn_first_offset = self.txn_first_offset
        other.recalled = self.recalled
        other.batches.extend(self.batches)
        return other

    def continues(self, epoch: int, sequence: int) -> bool:
        """Whether a plain batch with that sequence is simply the next one: no new epoch, wrap or open transaction."""
        batches = self.batches
        return (
            epoch == self.epoch
            and bool(batches)
            and batches[-1].last_sequence + 1 == sequence
            and sequence > 0
            and self.txn_first_offset < 0
        )

    def duplicate_of(self, epoch: int, first_sequence: int, last_sequence: int) -> WrittenBatch | None:
        """The remembered batch that has exactly this range of sequences."""
        if epoch == self.epoch:
            for batch in self.batches:
                if batch.first_sequence == first_sequence and batch.last_sequence == last_sequence:
                    return batch
        return None

    def add(self, epoch: int, last_sequence: int, last_offset: int, offset_delta: int, timestamp: int) -> None:
        """Note a batch that was written."""
        if epoch != self.epoch:
            self.batches.clear()
            self.epoch = epoch
        first_sequence = -1 if last_sequence < 0 else (last_sequence - offset_delta) & MAX_SEQUENCE
        self.batches.append(WrittenBatch(first_sequence, last_sequence, last_offset, offset_delta, timestamp))
        self.last_timestamp = timestamp

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Producer) and self.as_tuple() == other.as_tuple()

    __hash__ = None  # type: ignore[assignment]  # mutable, compared by value

    def as_tuple(self) -> tuple[int, int, int, int, int, int, int, int]:
        """The fields of a snapshot's entry, in its order."""
        return (
            self.producer_id,
            self.epoch,
            self.last_sequence,
            self.last_offset,
            self.offset_delta,
            self.last_timestamp,
            self.coordinator_epoch,
            self.txn_first_offset,
        )

    def __repr__(self) -> str:
        names = (
            "producer_id epoch last_sequence last_offset offset_delta last_timestamp coordinator_epoch txn_first_offset"
        )
        return f"Producer({', '.join(f'{name}={getattr(self, name)}' for name in names.split())})"


class CompletedTransaction:
    """A transaction whose marker is about to be, or was, written at `last_offset`."""

    __slots__ = ("aborted", "first_offset", "last_offset", "producer_id")

    def __init__(self, producer_id: int, first_offset: int, last_offset: int, aborted: bool) -> None:
        self.producer_id = producer_id
        self.first_offset = first_offset
        self.last_offset = last_offset
        self.aborted = aborted


class Verification:
    """A transaction's first write that waits for the coordinator's word; the object itself is the guard (KIP-890)."""

    __slots__ = ("epoch", "lowest_sequence", "since_ms")

    def __init__(self, epoch: int, lowest_sequence: int, since_ms: int) -> None:
        self.epoch = epoch
        self.lowest_sequence = lowest_sequence
        self.since_ms = since_ms


class ProducerStates:
    """All producers of one log."""

    __slots__ = ("by_id", "end_offset", "ongoing", "snapshot_offset", "unreplicated", "verifications")

    def __init__(self, end_offset: int = 0) -> None:
        self.by_id: dict[int, Producer] = {}
        self.ongoing: dict[int, int] = {}
        """First offset → producer id of open transactions."""
        self.unreplicated: list[tuple[int, int]] = []
        """(first offset, marker's offset) of decided transactions whose marker is not below the high watermark yet."""
        self.verifications: dict[int, Verification] = {}
        self.end_offset = end_offset
        self.snapshot_offset = -1
        """Where the newest snapshot file is, −1 if none is known."""

    @property
    def first_unstable_offset(self) -> int:
        """The first offset that a reader of committed records may not pass; −1 if there is none."""
        first = next(iter(self.ongoing), -1)
        if self.unreplicated:
            earliest = min(self.unreplicated)[0]
            if first < 0 or earliest < first:
                return earliest
        return first

    def high_watermark_moved(self, high_watermark: int) -> None:
        """Forget decided transactions whose markers are now below the high watermark (or the log's start)."""
        self.unreplicated = [entry for entry in self.unreplicated if entry[1] >= high_watermark]

    def expire(self, now_ms: int, after_ms: int) -> int:
        """Forget producers that have written nothing for `after_ms`; how many."""
        gone = [
            producer_id
            for producer_id, producer in self.by_id.items()
            if producer.txn_first_offset < 0 and now_ms - producer.last_timestamp >= after_ms
        ]
        for producer_id in gone:
            del self.by_id[producer_id]
        for producer_id, verification in list(self.verifications.items()):
            if now_ms - verification.since_ms >= after_ms:
                del self.verifications[producer_id]
        return len(gone)

    def clear(self, end_offset: int) -> None:
        """Forget everything; the state is that of an empty log ending at `end_offset`."""
        self.by_id.clear()
        self.ongoing.clear()
        self.unreplicated.clear()
        self.end_offset = end_offset
        self.snapshot_offset = -1

    def restore(self, producers: list[Producer], end_offset: int) -> None:
        """Take over a snapshot's entries."""
        self.clear(end_offset)
        for producer in producers:
            producer.recalled = False
            self.by_id[producer.producer_id] = producer
        open_ones = [(p.txn_first_offset, p.producer_id) for p in producers if p.txn_first_offset >= 0]
        self.ongoing = dict(sorted(open_ones))

    # Verification of transactional writes (KIP-890).
    def has_ongoing_transaction(self, producer_id: int) -> bool:
        """Whether the producer has an open transaction here, so that the coordinator knows of this partition."""
        producer = self.by_id.get(producer_id)
        return producer is not None and producer.txn_first_offset >= 0

    def start_verification(self, producer_id: int, epoch: int, sequence: int, now_ms: int) -> Verification | None:
        """The guard to append with once the coordinator has confirmed; None where no confirmation is needed."""
        if self.has_ongoing_transaction(producer_id):
            return None
        verification = self.verifications.get(producer_id)
        if verification is None or epoch > verification.epoch:
            verification = self.verifications[producer_id] = Verification(epoch, sequence, now_ms)
        elif sequence < verification.lowest_sequence:
            verification.lowest_sequence = sequence
        return verification

    # Appending: check every batch on a staged copy, write, then adopt the copies.
    def stage(self, producer_id: int, staged: dict[int, Producer]) -> Producer:
        """A copy of the producer's state for this append (the same one for its later batches)."""
        copy = staged.get(producer_id)
        if copy is None:
            known = self.by_id.get(producer_id)
            copy = staged[producer_id] = known.copy() if known is not None else Producer(producer_id)
        return copy

    def adopt(self, staged: dict[int, Producer]) -> None:
        """The staged batches were written: their states are now the log's."""
        for producer_id, producer in staged.items():
            first_offset = producer.txn_first_offset
            if first_offset >= 0 and first_offset not in self.ongoing:
                self.ongoing[first_offset] = producer_id
            self.by_id[producer_id] = producer

    def last_stable_offset_after(self, completed: CompletedTransaction) -> int:
        """The last stable offset once `completed`'s marker counts: what the transaction index records."""
        for first_offset, producer_id in self.ongoing.items():
            if producer_id != completed.producer_id:
                return first_offset
        return completed.last_offset + 1

    def complete(self, completed: CompletedTransaction) -> None:
        """The marker was written; the transaction stays unstable until it is below the high watermark."""
        self.ongoing.pop(completed.first_offset, None)
        self.unreplicated.append((completed.first_offset, completed.last_offset))


def stage_data(
    producer: Producer,
    batch: RecordBatch,
    first_offset: int,
    *,
    sequences: bool,
    fenced: bool = True,
    verification: Verification | None = None,
) -> Refusal | None:
    """Apply a data batch to a staged producer, or say why it may not be written.

    `sequences`: whether they are checked (a client's batches); `fenced`: whether older epochs are refused (not so for
    what a leader has already accepted).
    """
    epoch = batch.producer_epoch
    if fenced and epoch < producer.epoch:
        return ErrorCode.INVALID_PRODUCER_EPOCH, (
            f"producer {batch.producer_id} writes with epoch {epoch}, but epoch {producer.epoch} has been seen"
        )
    if sequences:
        refusal = _check_sequence(producer, batch, verification)
        if refusal is not None:
            return refusal
    transactional = batch.attributes & TRANSACTIONAL_FLAG != 0
    if producer.txn_first_offset >= 0 and not transactional:
        if fenced:
            return ErrorCode.INVALID_TXN_STATE, (
                f"producer {batch.producer_id} has a transaction open since offset {producer.txn_first_offset}, "
                "but the batch is not transactional"
            )
    elif transactional and producer.txn_first_offset < 0:
        producer.txn_first_offset = first_offset
    delta = batch.last_offset_delta
    producer.add(epoch, batch.last_sequence, first_offset + delta, delta, batch.max_timestamp)
    return None


def _check_sequence(producer: Producer, batch: RecordBatch, verification: Verification | None) -> Refusal | None:
    sequence, epoch = batch.base_sequence, batch.producer_epoch
    if verification is not None and sequence > verification.lowest_sequence:
        last = f"{verification.lowest_sequence} was the first of the transaction"
    elif epoch != producer.epoch:
        if sequence == 0 or producer.epoch < 0:  # a producer that the log has no state of may start anywhere
            return None
        last = f"epoch {epoch} is new (after {producer.epoch}) and starts at 0"
    else:
        last_sequence = producer.last_sequence
        if sequence == last_sequence + 1 or (sequence == 0 and last_sequence == MAX_SEQUENCE):
            return None
        last = f"the last one was {last_sequence}"
    return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, (
        f"producer {batch.producer_id} (epoch {epoch}) sends sequence {sequence}, but {last}"
    )


def stage_marker(
    producer: Producer, batch: RecordBatch, offset: int, *, fenced: bool = True, bumped: bool = False
) -> CompletedTransaction | Refusal | None:
    """Apply a transaction marker to a staged producer: the transaction it ends, or why it may not be written.

    None where it ends nothing: the transaction had no data here, or compaction has emptied the batch. `bumped`: the
    coordinator raises the epoch with each marker (transaction version 2), so the same one is an old marker come late.
    """
    marker = read_marker(batch)
    if marker is None:
        return None
    aborted, coordinator_epoch, timestamp = marker
    late = bumped and batch.producer_epoch == producer.epoch and producer.txn_first_offset >= 0
    if fenced and (batch.producer_epoch < producer.epoch or late):
        return ErrorCode.INVALID_PRODUCER_EPOCH, (
            f"a marker for producer {batch.producer_id} has epoch {batch.producer_epoch}, "
            f"but epoch {producer.epoch} has been seen"
        )
    if fenced and coordinator_epoch < producer.coordinator_epoch:
        return ErrorCode.TRANSACTION_COORDINATOR_FENCED, (
            f"a marker for producer {batch.producer_id} comes from coordinator epoch {coordinator_epoch}, "
            f"but {producer.coordinator_epoch} has been seen"
        )
    completed = None
    if producer.txn_first_offset >= 0:
        completed = CompletedTransaction(batch.producer_id, producer.txn_first_offset, offset, aborted)
    if batch.producer_epoch != producer.epoch:
        producer.batches.clear()
        producer.epoch = batch.producer_epoch
    producer.coordinator_epoch = coordinator_epoch
    producer.txn_first_offset = -1
    producer.last_timestamp = timestamp
    return completed


def read_marker(batch: RecordBatch) -> tuple[bool, int, int] | None:
    """(aborted, coordinator epoch, timestamp) of a transaction marker; None of an emptied or other control batch."""
    from blumfeld.protocol.records import ControlType, read_control_records

    for record, kind in read_control_records(batch):
        if kind not in (ControlType.ABORT, ControlType.COMMIT) or record.value is None:
            return None
        return kind is ControlType.ABORT, _marker_value.unpack_from(record.value)[1], record.timestamp
    return None


def replay(states: ProducerStates, batch: RecordBatch) -> tuple[CompletedTransaction, int] | None:
    """Bring the state forward over a batch that is in the log: no checks.

    Returns a transaction that the batch ends, and the last stable offset that the transaction index notes for it.
    """
    result = None
    if batch.producer_id >= 0:
        staged: dict[int, Producer] = {}
        producer = states.stage(batch.producer_id, staged)
        if batch.attributes & CONTROL_FLAG:
            completed = stage_marker(producer, batch, batch.base_offset, fenced=False)
            states.adopt(staged)
            if isinstance(completed, CompletedTransaction):
                result = completed, states.last_stable_offset_after(completed)
                states.complete(completed)
        else:
            stage_data(producer, batch, batch.base_offset, sequences=False, fenced=False)
            states.adopt(staged)
        if batch.attributes & TRANSACTIONAL_FLAG:
            states.verifications.pop(batch.producer_id, None)
    states.end_offset = batch.last_offset + 1
    return result
