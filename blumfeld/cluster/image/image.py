"""The whole of the metadata at one offset of the metadata log, immutable.

Owns the composition of the aspects. Must never know who publishes or reads it. Law: replaying `to_records()` onto the
empty image gives an equal image (offset and epoch aside), so that writer is the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from blumfeld.cluster.image.cluster import ClusterImage
from blumfeld.cluster.image.configs import ConfigsImage
from blumfeld.cluster.image.features import FeaturesImage
from blumfeld.cluster.image.security import SecurityImage
from blumfeld.cluster.image.topics import TopicsImage
from blumfeld.protocol.messages.metadata_log import ProducerIdsRecord
from blumfeld.protocol.schema import Record


class MetadataImage(NamedTuple):
    """Metadata up to `offset` (inclusive; -1: nothing), which was written in raft epoch `epoch`."""

    offset: int = -1
    epoch: int = -1
    features: FeaturesImage = FeaturesImage()
    cluster: ClusterImage = ClusterImage()
    topics: TopicsImage = TopicsImage()
    configs: ConfigsImage = ConfigsImage()
    next_producer_id: int = 0
    security: SecurityImage = SecurityImage()

    def to_records(self) -> Iterator[Record]:
        """The records of a snapshot: features first, since they say how the rest is to be read."""
        yield from self.features.to_records()
        yield from self.cluster.to_records()
        yield from self.topics.to_records()
        yield from self.configs.to_records()
        yield from self.security.to_records()
        if self.next_producer_id:
            yield ProducerIdsRecord(broker_id=-1, broker_epoch=-1, next_producer_id=self.next_producer_id)

    def same_content(self, other: MetadataImage) -> bool:
        """Equal but for the position in the log."""
        return self[2:] == other[2:]


EMPTY_IMAGE = MetadataImage()
