"""A simulated disk for one replica: what was written, what of it survives a crash.

Owns the log's entries and the snapshots. Writes go to memory and to a journal; a flush makes the journal's beginning
durable; a crash keeps what was durable and some beginning, perhaps none, of the rest.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.quorum_state import ElectionState
from blumfeld.cluster.raft.recovery import FoundSnapshot


class Entry(NamedTuple):
    """One batch and what is in it."""

    batch: BatchInfo
    payload: tuple[object, ...]


class SnapshotFile(NamedTuple):
    """A snapshot: the state's digest, voters, and how many bytes it pretends to have."""

    digest: int
    found: FoundSnapshot
    size: int


class LogFile:
    """Entries from `start` to `end`."""

    __slots__ = ("bases", "end", "entries", "start")

    def __init__(self, start: int = 0, end: int = 0, entries: list[Entry] | None = None) -> None:
        self.start = start
        self.end = end
        self.entries = entries if entries is not None else []
        self.bases = [entry.batch.base_offset for entry in self.entries]

    def copy(self) -> LogFile:
        return LogFile(self.start, self.end, list(self.entries))

    def apply(self, operation: Operation) -> None:
        kind, argument = operation
        if isinstance(argument, Entry):
            assert argument.batch.base_offset == self.end
            self.entries.append(argument)
            self.bases.append(argument.batch.base_offset)
            self.end = argument.batch.last_offset + 1
        elif kind == "truncate":
            self.truncate(argument)
        elif kind == "reset":
            self.start = self.end = argument
            self.entries, self.bases = [], []
        else:
            self.start = argument
            while self.entries and self.entries[0].batch.last_offset < argument:
                del self.entries[0], self.bases[0]

    def truncate(self, offset: int) -> None:
        while self.entries and self.entries[-1].batch.last_offset >= offset:
            assert self.entries[-1].batch.base_offset >= offset, "cut through a batch"
            self.entries.pop()
            self.bases.pop()
        self.end = min(self.end, offset)

    def entry_at(self, offset: int) -> Entry | None:
        index = bisect_right(self.bases, offset) - 1
        if index < 0:
            return None
        entry = self.entries[index]
        return entry if entry.batch.base_offset <= offset <= entry.batch.last_offset else None

    def from_offset(self, offset: int) -> list[Entry]:
        """The entries from the one that holds `offset` on."""
        index = bisect_right(self.bases, offset) - 1
        return self.entries[max(index, 0) :]

    def epochs(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for entry in self.entries:
            if not found or found[-1][0] != entry.batch.epoch:
                found.append((entry.batch.epoch, max(entry.batch.base_offset, self.start)))
        return found


class Operation(NamedTuple):
    """One write: an entry appended, or ("truncate" | "reset" | "start", offset)."""

    kind: str
    argument: Entry | int


class Disk:
    """What one replica has written. Election state and snapshots are durable once written: the driver waits for it."""

    __slots__ = ("durable", "election", "journal", "log", "snapshots")

    def __init__(self) -> None:
        self.election: ElectionState | None = None
        self.snapshots: dict[OffsetAndEpoch, SnapshotFile] = {}
        self.log = LogFile()
        self.durable = LogFile()
        self.journal: list[Operation] = []

    def write(self, operation: Operation) -> None:
        self.log.apply(operation)
        self.journal.append(operation)

    def flushed(self, journal_length: int) -> None:
        """A flush that began when the journal was so long is done."""
        for operation in self.journal[:journal_length]:
            self.durable.apply(operation)
        del self.journal[:journal_length]

    def crash(self, kept: int) -> int:
        """Lose what is not durable but for the first `kept` writes; returns how many writes were lost."""
        lost = len(self.journal) - kept
        self.flushed(kept)
        self.journal.clear()
        self.log = self.durable.copy()
        return lost
