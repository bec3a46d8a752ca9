"""All replicas of this broker: the table, and what metadata does to it.

Owns the table (topic id or name, partition) → `Partition`, the turns that concern all of them (high-watermark
checkpoint, ISR), and the telling of those who wait. Applies metadata deltas: creates, leads, follows and deletes.

Must never know the wire beyond message classes, nor sockets: fetchers are told what to fetch.

Invariants
- A partition is in both tables or in none, under one topic id.
- After any change of a partition `settle` was called: nobody waits for what has happened already.
- No task and no timer belongs to a partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blumfeld.cluster.image.delta import MetadataDelta
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.cluster.partition import Partition
    from blumfeld.protocol.errors import ErrorCode


class PartitionWatcher(Protocol):
    """Somebody who wants to know about one partition, for as long as it is watched."""

    def on_append(self, partition: Partition) -> None:
        """Its log end offset moved."""
        ...

    def on_commit(self, partition: Partition) -> None:
        """Its high watermark (or last stable offset) moved."""
        ...

    def on_leadership(self, partition: Partition) -> None:
        """Its role or leader epoch changed, or it is gone."""
        ...


class LeadershipListener(Protocol):
    """Somebody who wants to know which partitions this broker leads: the coordinators."""

    def on_elected(self, partition: Partition) -> None:
        """This broker leads the partition in a new leader epoch."""
        ...

    def on_resigned(self, topic: str, index: int, leader_epoch: int | None) -> None:
        """This broker leads it no more; the epoch is that of the new leader, None when the replica is deleted."""
        ...


class ReplicaManager:
    """The replicas of one broker."""

    def find(self, topic_id: bytes, index: int) -> Partition | None:
        """The replica here of that partition, by topic id."""
        raise NotImplementedError

    def find_by_name(self, topic: str, index: int) -> Partition | None:
        """The replica here of that partition, by topic name."""
        raise NotImplementedError

    def partitions_of(self, topic: str) -> Mapping[int, Partition]:
        """The replicas here of a topic; empty when there are none."""
        raise NotImplementedError

    def partitions_of_id(self, topic_id: bytes) -> Mapping[int, Partition]:
        """The same, by topic id."""
        raise NotImplementedError

    def all(self) -> Iterable[Partition]:
        """Every replica here."""
        raise NotImplementedError

    def why_missing(self, topic: str, index: int) -> ErrorCode:
        """NOT_LEADER_OR_FOLLOWER when metadata knows the partition (it is elsewhere), else UNKNOWN_TOPIC_OR_PARTITION."""
        raise NotImplementedError

    def apply(self, delta: MetadataDelta, image: MetadataImage) -> None:
        """Act on committed metadata: create, lead, follow, delete, reconfigure what the delta names."""
        raise NotImplementedError

    def settle(self, partition: Partition) -> None:
        """Tell those who wait for `partition` what has moved since the last time. Cheap when nothing has."""
        raise NotImplementedError

    def watch(self, partition: Partition, watcher: PartitionWatcher) -> None:
        """Tell `watcher` whenever the partition moves."""
        raise NotImplementedError

    def unwatch(self, partition: Partition, watcher: PartitionWatcher) -> None:
        """Undo `watch`."""
        raise NotImplementedError

    def subscribe(self, listener: LeadershipListener) -> None:
        """Tell `listener` of every election and resignation from now on."""
        raise NotImplementedError
