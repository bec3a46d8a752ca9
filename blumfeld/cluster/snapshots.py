"""When this node's metadata log gets a snapshot: the image, written as records (`image.to_records()`).

Owns the one snapshot that is being written. Every node with a copy of the log has one of these; the log cleans itself
behind it. Must never know the file: the raft replica writes it. A raft listener, to be registered after the loader.

Invariants: a snapshot ends where a committed batch ends and no metadata transaction is open; one is written at a
time; nothing is looked at while nothing is committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from blumfeld.cluster.image.versions import encode_record
from blumfeld.cluster.raft.listener import OffsetAndEpoch

if TYPE_CHECKING:
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.cluster.loader import MetadataLoader
    from blumfeld.cluster.raft.listener import CommittedBatch, LeaderAndEpoch, Snapshot

_log = logging.getLogger(__name__)


class SnapshotWriter(Protocol):
    """What is needed of the raft replica: `cluster.raft.driver.RaftDriver`."""

    @property
    def snapshot_due(self) -> bool: ...

    def write_snapshot(
        self, snapshot_id: OffsetAndEpoch, last_contained_log_timestamp: int, records: Iterable[bytes]
    ) -> Awaitable[bool]: ...


class Snapshots:
    """Has snapshots written when they are due.

    Args:
        writer: the raft replica.
        loader: committed metadata.
    """

    def __init__(self, writer: SnapshotWriter, loader: MetadataLoader) -> None:
        self._writer = writer
        self._loader = loader
        self._writing: asyncio.Task[None] | None = None

    def on_commit(self, batches: Sequence[CommittedBatch]) -> None:
        """Begin a snapshot if one is due."""
        if not batches or self._writing is not None or self._loader.in_transaction or not self._writer.snapshot_due:
            return
        image = self._loader.image
        if image.offset == batches[-1].last_offset:
            self._writing = asyncio.get_running_loop().create_task(self._write(image, batches[-1].timestamp_ms))

    def on_load_snapshot(self, snapshot: Snapshot) -> None:
        """Nothing: it is there already."""
        del snapshot

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        """Nothing: every node keeps its own snapshots."""
        del leader

    async def stop(self) -> None:
        """Let the one that is being written be finished."""
        if self._writing is not None:
            await self._writing

    async def _write(self, image: MetadataImage, timestamp_ms: int) -> None:
        version = image.features.metadata_version
        snapshot_id = OffsetAndEpoch(image.offset + 1, image.epoch)
        try:
            await self._writer.write_snapshot(
                snapshot_id, timestamp_ms, (encode_record(record, version) for record in image.to_records())
            )
        except OSError as error:
            _log.warning("no snapshot of the metadata at %d: %s", snapshot_id.offset, error)
        finally:
            self._writing = None
