"""From committed metadata to published images: one loader a node.

Owns the newest published image and a metadata transaction that has begun (KIP-868). Knows nothing of what publishers
do with an image.

Invariants
- Publishers see whole batches only, and nothing of a metadata transaction before its end; an aborted one never was.
- Each delta starts from the image published before it; offsets ascend without a gap.
- A record that cannot be replayed is fatal: the node stops rather than go on with another truth than the cluster's.
- So is a feature finalized at a level that this version does not support: the cluster has moved on, or the directory
  comes from a newer one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from blumfeld.cluster.image.delta import MetadataDelta, difference
from blumfeld.cluster.image.features import UnsupportedFeature, refuse_unsupported
from blumfeld.cluster.image.image import EMPTY_IMAGE, MetadataImage
from blumfeld.protocol.messages.metadata_log import (
    AbortTransactionRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    FeatureLevelRecord,
    decode_metadata_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from blumfeld.cluster.image.cluster import VersionRange
    from blumfeld.cluster.raft.listener import CommittedBatch, LeaderAndEpoch, Snapshot
    from blumfeld.protocol.schema import Record

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """Somebody who acts on metadata."""

    def __call__(self, delta: MetadataDelta, image: MetadataImage) -> None:
        """Metadata moved by `delta` to `image`. Must not raise."""
        ...


class MetadataLoader:
    """A raft listener that replays what is committed and publishes images.

    Args:
        on_fault: called with what happened when metadata cannot be replayed; the node stops.
        supported: levels by feature that this version knows; None: any will do.
    """

    def __init__(self, on_fault: Callable[[str], None], supported: Mapping[str, VersionRange] | None = None) -> None:
        self.image: MetadataImage = EMPTY_IMAGE
        self._publishers: list[Publisher] = []
        self._on_fault = on_fault
        self._supported = supported
        self._delta: MetadataDelta | None = None
        self._transaction: list[Record] | None = None
        self._failed = False

    @property
    def in_transaction(self) -> bool:
        """Whether a metadata transaction has begun and not ended; a controller that takes over then aborts it."""
        return self._transaction is not None

    @property
    def has_failed(self) -> bool:
        """Whether metadata could not be replayed: then `image` is not the cluster's, and nobody may decide by it."""
        return self._failed

    def publish_to(self, publisher: Publisher) -> None:
        """Call `publisher` with every delta from now on, in the order of these calls; first with all there is."""
        self._publishers.append(publisher)
        if self.image is not EMPTY_IMAGE:
            publisher(difference(EMPTY_IMAGE, self.image), self.image)

    def on_commit(self, batches: Sequence[CommittedBatch]) -> None:
        """Replay, and publish where no metadata transaction is open."""
        if self._failed or not batches:
            return
        try:
            for batch in batches:
                for data in batch.records:
                    self._take(decode_metadata_record(data))
        except UnsupportedFeature as error:
            self._fail(str(error))
            return
        except Exception as error:  # noqa: BLE001  whatever it is, this node's metadata would be wrong from here on
            self._fail(f"metadata batch at offset {batch.base_offset} cannot be replayed: {error}")
            return
        if self._transaction is None:
            last = batches[-1]
            self._publish(self._delta or MetadataDelta(self.image), last.last_offset, last.epoch)

    def on_load_snapshot(self, snapshot: Snapshot) -> None:
        """Replace everything; publishers get the difference."""
        self._delta, self._transaction = None, None
        delta = MetadataDelta(EMPTY_IMAGE)
        try:
            for records in snapshot.batches():
                for data in records:
                    self._replay_into(delta, decode_metadata_record(data))
        except UnsupportedFeature as error:
            self._fail(str(error))
            return
        except Exception as error:  # noqa: BLE001  as above
            self._fail(f"metadata snapshot {snapshot.id} cannot be replayed: {error}")
            return
        image = delta.apply(snapshot.id.offset - 1, snapshot.id.epoch)
        self._tell(difference(self.image, image), image)

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        """Nothing: metadata is the same whoever leads."""

    def _take(self, record: Record) -> None:
        if isinstance(record, BeginTransactionRecord):
            assert self._transaction is None, "a metadata transaction within another"
            self._transaction = []
        elif isinstance(record, EndTransactionRecord):
            assert self._transaction is not None, "the end of a metadata transaction that did not begin"
            records, self._transaction = self._transaction, None
            for held in records:
                self._replay(held)
        elif isinstance(record, AbortTransactionRecord):
            assert self._transaction is not None, "the abort of a metadata transaction that did not begin"
            self._transaction = None
        elif self._transaction is not None:
            self._transaction.append(record)
        else:
            self._replay(record)

    def _replay(self, record: Record) -> None:
        if self._delta is None:
            self._delta = MetadataDelta(self.image)
        self._replay_into(self._delta, record)

    def _replay_into(self, delta: MetadataDelta, record: Record) -> None:
        if isinstance(record, FeatureLevelRecord) and self._supported is not None:
            refuse_unsupported(record, self._supported)
        delta.replay(record)

    def _publish(self, delta: MetadataDelta, offset: int, epoch: int) -> None:
        self._delta = None
        self._tell(delta, delta.apply(offset, epoch))

    def _tell(self, delta: MetadataDelta, image: MetadataImage) -> None:
        self.image = image
        for publisher in self._publishers:
            publisher(delta, image)

    def _fail(self, what: str) -> None:
        self._failed = True
        _log.critical("%s", what)
        self._on_fault(what)
