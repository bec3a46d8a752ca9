"""What a log must hold: the batches of its history, which of them are flushed, and what may be missing.

Owns the truth of one simulated partition, as plain lists. A *line* is the log as it was between two truncations: after
a crash the log may end anywhere on one of the lines since it was last settled, but never below what was flushed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from blumfeld.protocol.batch import RecordBatch
from blumfeld.protocol.records import Record, read_records
from blumfeld.storage.producers import ProducerStates, replay
from blumfeld.storage.results import AbortedTransaction


class Entry:
    """One batch as it was written."""

    __slots__ = ("_records", "base", "batch", "data", "last")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.batch = RecordBatch(data)
        self.base = self.batch.base_offset
        self.last = self.batch.last_offset
        self._records: list[Record] | None = None

    @property
    def records(self) -> list[Record]:
        """Its records, opened once."""
        if self._records is None:
            self._records = list(read_records(self.batch))
        return self._records


class Line:
    """The batches of the log in the order of their offsets, and what follows from them."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries: list[Entry] = []
        self.bases: list[int] = []
        self.states = ProducerStates()
        self.aborted: list[AbortedTransaction] = []
        self.epochs: list[tuple[int, int]] = []
        self.emptied = False
        """Whether the log was told to forget all of it."""
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """One more batch at the end."""
        self.entries.append(entry)
        self.bases.append(entry.base)
        epoch = entry.batch.leader_epoch
        if not self.epochs or epoch > self.epochs[-1][0]:
            self.epochs.append((epoch, entry.base))
        completed = replay(self.states, entry.batch)
        if completed is not None and completed[0].aborted:
            transaction, stable = completed
            self.aborted.append(
                AbortedTransaction(transaction.producer_id, transaction.first_offset, transaction.last_offset, stable)
            )

    def between(self, start: int, end: int) -> Iterator[Entry]:
        """The entries whose base lies in [start, end)."""
        for index in range(bisect_left(self.bases, start), bisect_left(self.bases, end)):
            yield self.entries[index]

    def at(self, offset: int) -> Entry | None:
        """The entry that holds `offset`, or the first one after it."""
        index = bisect_right(self.bases, offset) - 1
        if index >= 0 and self.entries[index].last >= offset:
            return self.entries[index]
        return self.entries[index + 1] if index + 1 < len(self.entries) else None

    def is_aborted(self, entry: Entry) -> bool:
        """Whether its records belong to an aborted transaction."""
        batch = entry.batch
        return batch.is_transactional and any(
            aborted.producer_id == batch.producer_id and aborted.first_offset <= entry.base < aborted.last_offset
            for aborted in self.aborted
        )


class Model:
    """The truth about one log."""

    def __init__(self) -> None:
        self.line = Line([])
        self.older: list[tuple[Line, int]] = []
        """Lines that a crash may bring back, and where each was cut."""
        self.end = 0
        self.start = 0
        self.trimmed = 0
        """The highest start the log ever had: what it knew of lower offsets may be forgotten."""
        self.flushed = 0
        """Everything below was flushed and not cut since."""
        self.cleaned = 0
        """Below, compaction may have taken away what is superseded."""
        self.high_watermark = 0

    def append(self, entries: list[Entry]) -> None:
        """The log was told to write these."""
        for entry in entries:
            self.line.add(entry)
        self.end = self.line.entries[-1].last + 1

    def cut(self, offset: int, base: int) -> int | None:
        """The log was told to forget `offset` and what follows; where it ends then, None if that is not known.

        `base`: where its files begin. Nothing before that is there any more, so the log does not end below.
        """
        kept = [entry for entry in self.line.entries if entry.last < offset]
        end = max(kept[-1].last + 1, base) if kept else None
        self.older.append((self.line, offset))
        if len(kept) < len(self.line.entries):
            self.line = Line(kept)
        self.end_at(end if end is not None else min(offset, self.end))
        return end

    def start_over(self, offset: int) -> None:
        """The log was told to forget everything and to start at `offset`."""
        self.line.emptied = True
        self.older.append((self.line, offset))
        self.line = Line([])
        self.flushed = 0
        self.end = self.start = self.high_watermark = offset

    def start_at(self, offset: int) -> None:
        """The log starts there now."""
        self.start = offset
        self.trimmed = max(self.trimmed, offset)

    def flush(self, point: int) -> None:
        """Everything below `point` was flushed: older lines that differ there cannot come back."""
        self.flushed = max(self.flushed, point)
        self.older = [(line, cut) for line, cut in self.older if cut >= point]

    def end_at(self, end: int) -> None:
        """The log ends there: nothing it says of itself may lie beyond."""
        self.end = end
        self.flushed = min(self.flushed, end)
        self.high_watermark = min(self.high_watermark, end)
        self.start = min(self.start, end)

    def settle(self, line: Line, end: int, start: int, *, durable: bool) -> None:
        """The log was opened and found to be a prefix of `line`, ending at `end`: that is the truth now.

        `durable`: after a crash, what is there is on the device.
        """
        kept = [entry for entry in line.entries if entry.last < end]
        if line is not self.line or len(kept) < len(line.entries):
            self.line = Line(kept)
        self.end_at(end)
        if durable:
            self.older.clear()
            self.flushed = end
        self.start = start

    def take_what_is_left(self, found: list[Entry], start: int) -> None:
        """A crash has left `found`, from `start` on, of a line that was being emptied: that is the line now.

        What superseded a record, or came later from its producer, may be gone, and the record was compacted before.
        """
        self.line = Line([*self.line.between(0, start), *found])

    def superseded(self, line: Line) -> set[int]:
        """The offsets of data records that compaction up to `cleaned` may have removed."""
        gone: set[int] = set()
        newer: set[bytes] = set()
        for entry in reversed(line.entries):
            if entry.base >= self.cleaned or entry.batch.is_control:
                continue
            if line.is_aborted(entry):
                gone.update(record.offset for record in entry.records)
                continue
            for record in reversed(entry.records):
                if record.key is None or record.value is None or record.key in newer:
                    gone.add(record.offset)
                if record.key is not None:
                    newer.add(record.key)
        return gone
