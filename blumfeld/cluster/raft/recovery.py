"""From what is found on disk to the log's shape.

Owns the rules by which log and snapshots of a replica that stopped, in whatever way, fit together again. Pure: the
driver finds, and does what is said here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.outline import BOOTSTRAP_SNAPSHOT, LogOutline
from blumfeld.cluster.raft.voters import NO_VOTERS, VoterSet


class InconsistentLogError(Exception):
    """The log begins above 0 and no snapshot holds what came before: the replica must not start."""


class FoundSnapshot(NamedTuple):
    """What a complete checkpoint says of voters (None: nothing) and kraft.version."""

    voters: VoterSet | None
    kraft_version: int


class Recovered(NamedTuple):
    """The shape, and what must be done to the files so that they match it."""

    outline: LogOutline
    reset_to: int | None
    """Drop the log and start at this offset: the newest snapshot is ahead of it (the replica stopped in between)."""
    advance_to: int | None
    """Raise the log's start to this offset."""
    obsolete: tuple[OffsetAndEpoch, ...]
    """Snapshots that lie below the log's start."""


def recover(
    *,
    start_offset: int,
    end_offset: int,
    epochs: Iterable[tuple[int, int]],
    snapshots: Mapping[OffsetAndEpoch, FoundSnapshot],
    control_batches: Iterable[BatchInfo],
    static_voters: VoterSet = NO_VOTERS,
) -> Recovered:
    """Put a replica's log together.

    Args:
        epochs: (epoch, start offset) pairs of the log, ascending.
        snapshots: the complete checkpoints, as far as known; at least the newest and 0-0 with their contents.
        control_batches: batches of the log that carry voters or kraft.version, ascending.
    """
    epochs = list(epochs)
    latest = max(snapshots, default=None)
    last_epoch = epochs[-1][0] if epochs else 0
    reset_to = advance_to = None
    if latest is not None and (latest.epoch, latest.offset) > (last_epoch, end_offset):
        reset_to = start_offset = end_offset = latest.offset
        epochs = []
    usable = sorted(snapshot for snapshot in snapshots if snapshot.offset >= start_offset)
    if start_offset > 0:
        if not usable or usable[0].offset > end_offset:
            raise InconsistentLogError(f"the log begins at {start_offset}, and there is no snapshot from there on")
        if usable[0].offset > start_offset:
            advance_to = usable[0].offset
    found = snapshots[latest] if latest is not None else FoundSnapshot(None, 0)
    bootstrap = snapshots.get(BOOTSTRAP_SNAPSHOT)
    voters, kraft_version = static_voters, 0
    if start_offset == 0 and bootstrap is not None and bootstrap.voters is not None:
        voters, kraft_version = bootstrap.voters, bootstrap.kraft_version
    outline = LogOutline(
        start_offset=0 if advance_to is not None else start_offset,
        end_offset=end_offset,
        epochs=epochs,
        snapshots=usable,
        voters=voters,
        kraft_version=kraft_version,
    )
    if latest is not None and latest.offset > 0 and found.voters is not None:
        at = BatchInfo(latest.offset - 1, latest.offset - 1, latest.epoch, 0, found.voters, found.kraft_version)
        below = latest.offset
    else:
        at, below = None, 0
    for batch in control_batches:
        if at is not None and batch.base_offset >= below:
            outline.note(at)
            at = None
        outline.note(batch)
    if at is not None:
        outline.note(at)
    if advance_to is not None:
        outline.advance_start(usable[0])
    kept = set(outline.snapshots)
    return Recovered(outline, reset_to, advance_to, tuple(sorted(set(snapshots) - kept)))
