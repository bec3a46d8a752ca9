"""Delivery: what is committed, told to the listeners in the order of the log.

Owns how far each listener has come and what it was told of the leader. Reads what the log holds, so that a listener
sees the bytes that are on disk.

Invariants: a listener gets each committed batch once, after the snapshot it starts from; it hears that this node leads
only when everything up to the epoch's first record has been delivered to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.cluster.raft.batches import committed_batches
from blumfeld.cluster.raft.outline import BOOTSTRAP_SNAPSHOT

if TYPE_CHECKING:
    from blumfeld.cluster.raft.events import LeaderChanged
    from blumfeld.cluster.raft.listener import LeaderAndEpoch, OffsetAndEpoch, RaftListener, Snapshot
    from blumfeld.cluster.raft.outline import LogOutline
    from blumfeld.storage.log import Log

_READ_BYTES = 1 << 20
_NOT_STARTED = -1


class _Position:
    """One listener and how far it has come."""

    __slots__ = ("listener", "next_offset", "told")

    def __init__(self, listener: RaftListener) -> None:
        self.listener = listener
        self.next_offset = _NOT_STARTED
        self.told: LeaderAndEpoch | None = None


class Delivery:
    """The listeners of one replica."""

    def __init__(self, open_snapshot: Callable[[OffsetAndEpoch], Snapshot]) -> None:
        self._open_snapshot = open_snapshot
        self._positions: list[_Position] = []
        self._leader: LeaderChanged | None = None

    def register(self, listener: RaftListener) -> None:
        self._positions.append(_Position(listener))

    def leader_changed(self, change: LeaderChanged) -> None:
        """Tell those that may know already; the others with what they have to see first."""
        self._leader = change
        for position in self._positions:
            self._tell(position)

    def deliver(self, log: Log, outline: LogOutline, high_watermark: int) -> int:
        """Bring every listener up to the high watermark; returns the bytes of batches that the first one got."""
        delivered = 0
        for position in self._positions:
            size = self._deliver(position, log, outline, high_watermark)
            if position is self._positions[0]:
                delivered = size
        return delivered

    def _deliver(self, position: _Position, log: Log, outline: LogOutline, high_watermark: int) -> int:
        snapshot = outline.latest_snapshot
        if position.next_offset < max(outline.start_offset, 0):
            if snapshot is not None and snapshot != BOOTSTRAP_SNAPSHOT:
                position.next_offset = snapshot.offset
                position.listener.on_load_snapshot(self._open_snapshot(snapshot))
            else:
                position.next_offset = 0
        delivered = 0
        while position.next_offset < high_watermark:
            result = log.read(position.next_offset, _READ_BYTES, upper=high_watermark)
            if result.cold is not None:
                result = result.cold()
            batches = committed_batches(result.records)
            assert batches, f"{log} has nothing at {position.next_offset}, below the high watermark {high_watermark}"
            assert batches[0].base_offset == position.next_offset
            position.next_offset = batches[-1].last_offset + 1
            delivered += len(result.records)
            position.listener.on_commit(batches)
        self._tell(position)
        return delivered

    def _tell(self, position: _Position) -> None:
        change = self._leader
        if change is None or change.leader == position.told:
            return
        if change.epoch_start_offset >= 0 and position.next_offset <= change.epoch_start_offset:
            return
        position.told = change.leader
        position.listener.on_leader_change(change.leader)
