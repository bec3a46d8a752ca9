"""The invariants of the simulated log.

Cheap ones after every step; the whole contents after whatever changes files. Each raises `Violation`, which says what
is wrong; the world adds the seed.
"""

from __future__ import annotations

from itertools import pairwise

from blumfeld.protocol.batch import RecordBatch, iterate_batches
from blumfeld.storage.log import Log
from blumfeld.storage.producers import Producer
from blumfeld.storage.segment import Segment
from tests.sim.storage.model import Line, Model


class Violation(AssertionError):
    """An invariant does not hold."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Violation(what)


def after_every_step(log: Log, model: Model) -> None:
    """Offsets and epochs are where they should be."""
    if log.log_end_offset != model.end:
        raise Violation(f"the log ends at {log.log_end_offset}, not at {model.end}")
    if log.log_start_offset != model.start:
        raise Violation(f"the log starts at {log.log_start_offset}, not at {model.start}")
    if not log.log_start_offset <= log.last_stable_offset <= log.high_watermark <= log.log_end_offset:
        raise Violation(
            f"start {log.log_start_offset}, stable {log.last_stable_offset}, high watermark {log.high_watermark}, "
            f"end {log.log_end_offset} are out of order"
        )
    if log.recovery_point > log.log_end_offset:
        raise Violation(f"recovery point {log.recovery_point} is beyond the end {log.log_end_offset}")
    if log.segments[0].base_offset > log.log_start_offset:
        raise Violation(f"{log.segments[0]} begins beyond the start {log.log_start_offset}")
    if log.segments[-1].base_offset > log.log_end_offset:
        raise Violation(f"{log.active} begins beyond the end {log.log_end_offset}")


def contents(log: Log, model: Model, line: Line) -> None:
    """The files hold exactly the batches of `line` from the first segment on, but for what compaction may remove."""
    segments = log.segments
    superseded: set[int] | None = None
    for index, segment in enumerate(segments):
        end = segments[index + 1].base_offset if index + 1 < len(segments) else log.log_end_offset
        require(segment.base_offset < end or index == len(segments) - 1, f"{segment} overlaps the one after it")
        data = bytes(segment.data.use().read_at(0, segment.size))
        expected = b"".join([entry.data for entry in line.between(segment.base_offset, end)])
        if data == expected:
            continue
        require(segment.base_offset < model.cleaned, f"{segment} does not hold what was written")
        if superseded is None:
            superseded = model.superseded(line)
        _cleaned(data, segment, end, line, superseded)


def _cleaned(data: bytes, segment: Segment, end: int, line: Line, superseded: set[int]) -> None:
    """A compacted segment holds of each batch a part, and all of what is not superseded."""
    there: set[int] = set()
    for batch in iterate_batches(data):
        entry = line.at(batch.base_offset)
        if entry is None or entry.base != batch.base_offset or entry.last != batch.last_offset:
            raise Violation(f"{segment} holds {batch}, which was never written")
        if batch.view == entry.data:
            there.update(record.offset for record in entry.records)
            continue
        _same_origin(batch, entry.batch)
        if not batch.is_valid_crc():
            raise Violation(f"the CRC of {batch} in {segment} does not fit")
        if batch.is_control or not batch.record_count:
            continue
        part = list(RecordPart(batch))
        if not set(part) <= set(RecordPart(entry.batch)):
            raise Violation(f"{batch} in {segment} holds records never written")
        there.update(offset for offset, *_ in part)
    for entry in line.between(segment.base_offset, end):
        if entry.batch.is_control:
            continue
        for record in entry.records:
            if record.offset not in there and record.offset not in superseded:
                raise Violation(f"{segment} has lost offset {record.offset}, key {record.key!r}")


class RecordPart:
    """The records of a batch as comparable tuples."""

    def __init__(self, batch: RecordBatch) -> None:
        from blumfeld.protocol.records import read_records

        self._records = [(r.offset, r.timestamp, r.key, r.value) for r in read_records(batch)]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._records)


def _same_origin(batch: RecordBatch, original: RecordBatch) -> None:
    for name in ("leader_epoch", "producer_id", "producer_epoch", "base_sequence", "is_control", "is_transactional"):
        if getattr(batch, name) != getattr(original, name):
            raise Violation(f"{batch} has another {name} than {original}")


def indexes(segment: Segment) -> None:
    """Every index entry points at a batch, and says of it what is true; look-ups find what is there."""
    segment.start_position(segment.base_offset)  # builds the indexes again where they are missing
    known = segment.max_timestamp
    starts: dict[int, tuple[int, int]] = {}
    largest = -1
    for position, header, _ in segment.batches():
        largest = max(largest, header[8])
        starts[position] = (header[0] + header[6], largest)
    for last_offset, position in segment.offset_index.all():
        if starts.get(position, (-1, -1))[0] != last_offset:
            raise Violation(f"{segment}: the index says that {last_offset} is at {position}")
    by_offset = dict(starts.values())
    for timestamp, offset in segment.time_index.all():
        if by_offset.get(offset) != timestamp:
            raise Violation(f"{segment}: the time index has ({timestamp}, {offset})")
    require(known == largest, f"{segment}: largest timestamp {known}, not {largest}")


def epochs(log: Log, model: Model) -> None:
    """The leader epochs are those of the batches."""
    entries = log.epochs.entries
    for (epoch, start), (later, later_start) in pairwise(entries):
        require(epoch < later and start < later_start, f"leader epochs {entries} are out of order")
    for epoch, start in model.line.epochs:
        if start >= model.trimmed:
            require(log.epochs.epoch_at(start) == epoch, f"offset {start} is of epoch {epoch}; {entries} say otherwise")


def producers(log: Log, model: Model, *, exact: bool) -> None:
    """The producers' state is what replaying the whole history gives.

    Not `exact`: producers all of whose batches are gone may be forgotten, and in a compacted log markers may be.
    """
    mine, truth = log.producers.by_id, model.line.states.by_id
    for producer_id, producer in mine.items():
        expected = truth.get(producer_id)
        require(expected is not None, f"{producer} never wrote")
        assert expected is not None
        if exact:
            require(_shown(producer) == _shown(expected), f"{producer} should be {expected}")
        else:
            _resembles(producer, expected, model.trimmed)
    first = max(log.segments[0].base_offset, model.trimmed)
    for producer_id, expected in truth.items():
        if producer_id not in mine:
            require(not exact and expected.last_offset < first, f"{expected} is forgotten")


def _shown(producer: Producer) -> tuple[object, ...]:
    return producer.as_tuple()


def _resembles(producer: Producer, expected: Producer, trimmed: int) -> None:
    if expected.last_offset >= 0 and producer.last_offset >= 0:
        same = (producer.last_sequence, producer.last_offset) == (expected.last_sequence, expected.last_offset)
        require(same, f"{producer} should be {expected}")
    require(producer.epoch <= expected.epoch, f"{producer} is ahead of {expected}")
    if expected.txn_first_offset < 0 or expected.txn_first_offset >= trimmed:
        require(producer.txn_first_offset == expected.txn_first_offset, f"{producer} should be {expected}")


def aborted(log: Log, model: Model) -> None:
    """Every aborted transaction that still has data is known as such.

    The index may know better where one began: of a log that was emptied the model has what compaction had left.
    """
    found = {transaction.as_tuple()[:3] for transaction in log.aborted_transactions(log.log_start_offset, model.end)}
    for transaction in model.line.aborted:
        producer_id, first, last = transaction.as_tuple()[:3]
        if first >= max(model.cleaned, log.log_start_offset):
            known = (producer_id, first, last) in found or any(
                begun < model.cleaned and (producer, end) == (producer_id, last) for producer, begun, end in found
            )
            require(known, f"{transaction} is not in the transaction index: {found}")
