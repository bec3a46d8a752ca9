"""The history of leader epochs of a log: which epoch began at which offset (KIP-101, KIP-279).

Owns the entries and the text of `leader-epoch-checkpoint`. Pure; the log writes the file (before its recovery point
moves past an entry, and at close), for entries beyond the recovery point are found again in the batches themselves.

Invariants: epochs ascend strictly, start offsets ascend strictly.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

FILE_NAME = "leader-epoch-checkpoint"
_VERSION = "0"


class MalformedCheckpoint(ValueError):
    """A checkpoint file that is not one."""


class LeaderEpochs:
    """Entries (epoch, start offset), oldest first."""

    __slots__ = ("changes", "entries")

    def __init__(self, entries: list[tuple[int, int]] | None = None) -> None:
        self.entries: list[tuple[int, int]] = []
        self.changes = 0
        """Counts changes, so that a writer knows whether the file is behind."""
        for epoch, start_offset in entries or ():
            self.assign(epoch, start_offset)

    @property
    def latest(self) -> int:
        """The newest epoch, −1 if none."""
        return self.entries[-1][0] if self.entries else -1

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Note that `epoch` begins at `start_offset`; conflicting newer entries go. Whether anything changed."""
        entries = self.entries
        if entries and entries[-1][0] == epoch and start_offset >= entries[-1][1]:
            return False
        kept = [entry for entry in entries if entry[0] < epoch and entry[1] < start_offset]
        self.entries = [*kept, (epoch, start_offset)]
        self.changes += 1
        return True

    def end_offset_for(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """(epoch, end offset) of the largest known epoch ≤ `epoch`, as OffsetForLeaderEpoch answers; (−1, −1) unknown.

        Of an epoch older than all known ones: itself, with the start of the oldest.
        """
        entries = self.entries
        if epoch < 0 or not entries or epoch > entries[-1][0]:
            return -1, -1
        if epoch == entries[-1][0]:
            return epoch, log_end_offset
        following = bisect_right(entries, epoch, key=_epoch_of)
        end_offset = entries[following][1]
        return (entries[following - 1][0] if following else epoch), end_offset

    def epoch_at(self, offset: int) -> int:
        """The epoch in which the record at `offset` was written, −1 if unknown."""
        position = bisect_right(self.entries, offset, key=_start_of)
        return self.entries[position - 1][0] if position else -1

    def truncate_from_end(self, end_offset: int) -> None:
        """Drop the epochs that begin at or after `end_offset`."""
        kept = [entry for entry in self.entries if entry[1] < end_offset]
        if len(kept) < len(self.entries):
            self.entries = kept
            self.changes += 1

    def truncate_from_start(self, start_offset: int) -> None:
        """Drop what ends at or before `start_offset`; the epoch there now begins at it."""
        position = bisect_right(self.entries, start_offset, key=_start_of)
        if position and self.entries[position - 1][1] < start_offset:
            self.entries = [(self.entries[position - 1][0], start_offset), *self.entries[position:]]
            self.changes += 1
        elif position > 1:
            self.entries = self.entries[position - 1 :]
            self.changes += 1

    def clear(self) -> None:
        """Forget everything."""
        if self.entries:
            self.entries = []
            self.changes += 1


def encode(entries: list[tuple[int, int]]) -> bytes:
    """The checkpoint file's text."""
    lines = [_VERSION, str(len(entries)), *(f"{epoch} {start}" for epoch, start in entries), ""]
    return "\n".join(lines).encode("ascii")


def decode(data: bytes) -> list[tuple[int, int]]:
    """The entries of a checkpoint file; an empty one has none. Raises `MalformedCheckpoint`."""
    lines = data.split(b"\n")
    if not data.strip():
        return []
    try:
        if lines[0].strip() != b"0":
            raise MalformedCheckpoint(f"version {lines[0]!r} is not 0")
        count = int(lines[1])
        entries = [(int(epoch), int(start)) for epoch, start in (line.split() for line in lines[2 : 2 + count])]
    except (IndexError, ValueError) as error:
        raise MalformedCheckpoint(f"not a leader epoch checkpoint: {error}") from error
    if len(entries) != count or any(a >= b for a, b in pairwise(entries)):
        raise MalformedCheckpoint(f"{len(entries)} entries where {count} are announced, or out of order")
    return entries


def _epoch_of(entry: tuple[int, int]) -> int:
    return entry[0]


def _start_of(entry: tuple[int, int]) -> int:
    return entry[1]
