"""The log as the core sees it: offsets, epochs, snapshots and voter sets, but not one record.

Owns the shape of one replica's log, which decides everything in Raft; the records lie in `storage/`, and the driver
keeps the two in step by carrying effects out in order.

Invariants
- start_offset ≤ durable_offset ≤ end_offset; a snapshot ends at start_offset wherever that is above 0.
- Epochs ascend, and so do their start offsets. An entry (epoch, start) holds until the next one's start.
- `generation` rises with each truncation, so that a flush begun before it proves nothing afterwards.
- The voter history has the set in force at every offset from start_offset on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from typing import NamedTuple

from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.voters import NO_VOTERS, VoterSet

BOOTSTRAP_SNAPSHOT = OffsetAndEpoch(0, 0)
"""Made by formatting; never replicated. What it says goes into the log with the first epoch."""

NOT_IN_THE_LOG = -1


class Position(Enum):
    """How a fetch position relates to the leader's log."""

    VALID = "in the log"
    DIVERGING = "the logs part before it"
    SNAPSHOT = "before the log's start"


class _Voters(NamedTuple):
    offset: int
    voters: VoterSet
    kraft_version: int


class LogOutline:
    """The mutable shape of the log. All positions are offsets; ends are exclusive."""

    __slots__ = (
        "_history",
        "durable_offset",
        "end_offset",
        "epochs",
        "generation",
        "snapshots",
        "start_offset",
    )

    def __init__(
        self,
        *,
        start_offset: int = 0,
        end_offset: int = 0,
        epochs: Iterable[tuple[int, int]] = (),
        snapshots: Collection[OffsetAndEpoch] = (),
        voters: VoterSet = NO_VOTERS,
        kraft_version: int = 0,
    ) -> None:
        """A log as it was opened: all of it durable. `voters` come from formatting or configuration; see `note`."""
        assert start_offset == 0 or any(snapshot.offset == start_offset for snapshot in snapshots)
        self.start_offset = start_offset
        self.end_offset = end_offset
        self.durable_offset = end_offset
        self.generation = 0
        self.epochs: list[tuple[int, int]] = list(epochs)
        self.snapshots: list[OffsetAndEpoch] = sorted(snapshots)
        self._history = [_Voters(NOT_IN_THE_LOG, voters, kraft_version)]

    # ------------------------------------------------------------ what it says

    @property
    def last_epoch(self) -> int:
        """The epoch of the last record; of the snapshot where the log is empty; 0 where there is nothing."""
        if self.epochs:
            return self.epochs[-1][0]
        return self.snapshots[-1].epoch if self.snapshots else 0

    @property
    def end(self) -> OffsetAndEpoch:
        return OffsetAndEpoch(self.end_offset, self.last_epoch)

    @property
    def latest_snapshot(self) -> OffsetAndEpoch | None:
        return self.snapshots[-1] if self.snapshots else None

    @property
    def voters(self) -> VoterSet:
        """The set in force."""
        return self._history[-1].voters

    @property
    def voters_offset(self) -> int:
        """Where the set in force was written; NOT_IN_THE_LOG for the one from formatting or configuration."""
        return self._history[-1].offset

    @property
    def kraft_version(self) -> int:
        return self._history[-1].kraft_version

    def voters_at(self, offset: int) -> tuple[VoterSet, int]:
        """Voters and kraft.version as they were once `offset` was written."""
        for entry in reversed(self._history):
            if entry.offset <= offset:
                return entry.voters, entry.kraft_version
        return self._history[0].voters, self._history[0].kraft_version

    def end_offset_for_epoch(self, epoch: int) -> OffsetAndEpoch:
        """The largest epoch not above `epoch`, and where it ends."""
        end = self.end_offset
        for entry_epoch, start in reversed(self.epochs):
            if entry_epoch <= epoch:
                return OffsetAndEpoch(end, entry_epoch)
            end = start
        return self.snapshots[0] if self.start_offset > 0 else BOOTSTRAP_SNAPSHOT

    def locate(self, offset: int, epoch: int) -> tuple[Position, OffsetAndEpoch]:
        """Whether a log that ends at `offset` with a record of `epoch` is a prefix of this one; else what to do."""
        if offset == 0:
            latest = self.latest_snapshot
            if latest is not None and latest != BOOTSTRAP_SNAPSHOT:
                return Position.SNAPSHOT, latest
            return Position.VALID, BOOTSTRAP_SNAPSHOT
        if self.start_offset > 0:
            base = self.snapshots[0]
            if offset < base.offset or epoch < base.epoch or (offset == base.offset and epoch != base.epoch):
                return Position.SNAPSHOT, self.snapshots[-1]
        end = self.end_offset_for_epoch(epoch)
        if end.epoch != epoch or end.offset < offset:
            return Position.DIVERGING, end
        return Position.VALID, OffsetAndEpoch(offset, epoch)

    def truncation_point(self, diverging: OffsetAndEpoch) -> int:
        """Where to cut, when the leader says that the logs part after `diverging`."""
        if diverging.epoch == 0:
            return min(diverging.offset, self.end_offset)
        local = self.end_offset_for_epoch(diverging.epoch)
        if local.epoch == diverging.epoch:
            return min(local.offset, diverging.offset)
        return local.offset

    # ------------------------------------------------------------ what happens to it

    def note(self, batch: BatchInfo) -> None:
        """Take voters and kraft.version from a batch that is in the log (or, at an offset below it, in a snapshot)."""
        last = self._history[-1]
        voters = last.voters if batch.voters is None else batch.voters
        version = last.kraft_version if batch.kraft_version is None else batch.kraft_version
        self._history.append(_Voters(batch.base_offset, voters, version))

    def append(self, batch: BatchInfo) -> None:
        assert batch.base_offset == self.end_offset
        if not self.epochs or self.epochs[-1][0] != batch.epoch:
            assert not self.epochs or self.epochs[-1][0] < batch.epoch
            self.epochs.append((batch.epoch, batch.base_offset))
        self.end_offset = batch.last_offset + 1
        if batch.voters is not None or batch.kraft_version is not None:
            self.note(batch)

    def flushed(self, generation: int, up_to: int) -> bool:
        """A flush is done; whether it counts."""
        if generation != self.generation or up_to <= self.durable_offset:
            return False
        self.durable_offset = min(up_to, self.end_offset)
        return True

    def truncate(self, offset: int) -> None:
        """Drop everything at and above `offset`."""
        assert self.start_offset <= offset
        if offset >= self.end_offset:
            return
        self.end_offset = offset
        self.durable_offset = min(self.durable_offset, offset)
        self.generation += 1
        while self.epochs and self.epochs[-1][1] >= offset:
            self.epochs.pop()
        while self._history[-1].offset >= offset:
            self._history.pop()

    def add_snapshot(self, snapshot: OffsetAndEpoch) -> None:
        assert not self.snapshots or self.snapshots[-1] < snapshot
        self.snapshots.append(snapshot)

    def reset(self, snapshot: OffsetAndEpoch, voters: VoterSet | None, kraft_version: int) -> None:
        """Start anew at a snapshot's end."""
        static = self._history[0]
        if voters is None:
            self._history = [_Voters(NOT_IN_THE_LOG, static.voters, static.kraft_version)]
        else:
            self._history = [_Voters(snapshot.offset - 1, voters, kraft_version)]
        self.epochs = []
        self.snapshots = [snapshot]
        self.start_offset = self.end_offset = self.durable_offset = snapshot.offset
        self.generation += 1

    def advance_start(self, snapshot: OffsetAndEpoch) -> tuple[OffsetAndEpoch, ...]:
        """Start at one of the snapshots' ends; returns the snapshots that are obsolete now."""
        assert snapshot in self.snapshots
        assert self.start_offset <= snapshot.offset <= self.end_offset
        self.start_offset = snapshot.offset
        self.durable_offset = max(self.durable_offset, snapshot.offset)
        while len(self.epochs) > 1 and self.epochs[1][1] <= snapshot.offset:
            del self.epochs[0]
        if self.epochs and self.epochs[0][1] < snapshot.offset:
            self.epochs[0] = (self.epochs[0][0], snapshot.offset)
        if self.end_offset == snapshot.offset:
            self.epochs = []
        while len(self._history) > 1 and self._history[1].offset < snapshot.offset:
            del self._history[0]
        obsolete = tuple(other for other in self.snapshots if other < snapshot)
        self.snapshots = [other for other in self.snapshots if other >= snapshot]
        return obsolete
