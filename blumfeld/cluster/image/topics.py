"""Topics and partitions as the metadata log tells them.

Owns `PartitionRegistration` (the controller's truth about one partition), `TopicImage`, `TopicsImage`, and
`TopicsDelta`, which replays topic records onto an image. Must never know of logs, replicas on disk or the network.

Invariants: images never change once made; a delta touches only what its records name, so its cost follows the change
and not the number of topics (but for one flat copy of the two dictionaries); `replicas` and `directories` have equal
length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from blumfeld.cluster.image.directories import UNASSIGNED_DIRECTORY
from blumfeld.protocol.messages.metadata_log import (
    PartitionChangeRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from blumfeld.protocol.schema import Record

NO_LEADER: Final = -1
NO_LEADER_CHANGE: Final = -2
RECOVERED: Final = 0
RECOVERING: Final = 1


class PartitionRegistration(NamedTuple):
    """What the metadata log says of one partition. Replicas in preferred order; `directories` runs parallel to them."""

    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    directories: tuple[bytes, ...]
    removing_replicas: tuple[int, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    leader_recovery_state: int = RECOVERED
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()

    @classmethod
    def from_record(cls, record: PartitionRecord) -> PartitionRegistration:
        replicas = tuple(record.replicas)
        return cls(
            replicas,
            tuple(record.isr),
            record.leader,
            record.leader_epoch,
            record.partition_epoch,
            tuple(record.directories) or (UNASSIGNED_DIRECTORY,) * len(replicas),
            tuple(record.removing_replicas),
            tuple(record.adding_replicas),
            record.leader_recovery_state,
            tuple(record.eligible_leader_replicas or ()),
            tuple(record.last_known_elr or ()),
        )

    def to_record(self, topic_id: bytes, partition: int) -> PartitionRecord:
        return PartitionRecord(
            partition_id=partition,
            topic_id=topic_id,
            replicas=list(self.replicas),
            isr=list(self.isr),
            removing_replicas=list(self.removing_replicas),
            adding_replicas=list(self.adding_replicas),
            leader=self.leader,
            leader_recovery_state=self.leader_recovery_state,
            leader_epoch=self.leader_epoch,
            partition_epoch=self.partition_epoch,
            directories=list(self.directories),
            eligible_leader_replicas=list(self.elr) or None,
            last_known_elr=list(self.last_known_elr) or None,
        )

    def merge(self, change: PartitionChangeRecord) -> PartitionRegistration:
        """The partition after `change`: its epoch rises always, its leader epoch where the record sets a leader."""
        leader, leader_epoch = self.leader, self.leader_epoch
        if change.leader != NO_LEADER_CHANGE:
            leader, leader_epoch = change.leader, leader_epoch + 1
        replicas = _changed(change.replicas, self.replicas)
        return PartitionRegistration(
            replicas,
            _changed(change.isr, self.isr),
            leader,
            leader_epoch,
            self.partition_epoch + 1,
            self._merged_directories(change, replicas),
            _changed(change.removing_replicas, self.removing_replicas),
            _changed(change.adding_replicas, self.adding_replicas),
            self.leader_recovery_state if change.leader_recovery_state == -1 else change.leader_recovery_state,
            _changed(change.eligible_leader_replicas, self.elr),
            _changed(change.last_known_elr, self.last_known_elr),
        )

    def _merged_directories(self, change: PartitionChangeRecord, replicas: tuple[int, ...]) -> tuple[bytes, ...]:
        if change.directories is not None:
            return tuple(change.directories)
        if change.replicas is None:
            return self.directories
        return tuple(self.directory(replica) for replica in replicas)

    def directory(self, replica: int) -> bytes:
        """The directory that holds `replica`'s log, UNASSIGNED_DIRECTORY if it is no replica or not known."""
        try:
            return self.directories[self.replicas.index(replica)]
        except ValueError:
            return UNASSIGNED_DIRECTORY

    @property
    def has_leader(self) -> bool:
        return self.leader != NO_LEADER

    @property
    def preferred_replica(self) -> int:
        return self.replicas[0] if self.replicas else NO_LEADER

    @property
    def has_preferred_leader(self) -> bool:
        return self.leader == self.preferred_replica

    @property
    def is_reassigning(self) -> bool:
        return bool(self.removing_replicas or self.adding_replicas)


def _changed(new: list[int] | None, old: tuple[int, ...]) -> tuple[int, ...]:
    return old if new is None else tuple(new)


class TopicImage(NamedTuple):
    """One topic: partitions by index."""

    name: str
    id: bytes
    partitions: Mapping[int, PartitionRegistration]

    def to_records(self) -> Iterator[Record]:
        yield TopicRecord(name=self.name, topic_id=self.id)
        for index, partition in self.partitions.items():
            yield partition.to_record(self.id, index)


class TopicsImage(NamedTuple):
    """Every topic, by name and by id; the same TopicImage objects in both."""

    by_name: Mapping[str, TopicImage] = {}
    by_id: Mapping[bytes, TopicImage] = {}

    def get(self, name: str) -> TopicImage | None:
        return self.by_name.get(name)

    def get_by_id(self, topic_id: bytes) -> TopicImage | None:
        return self.by_id.get(topic_id)

    def partition(self, topic_id: bytes, index: int) -> PartitionRegistration | None:
        topic = self.by_id.get(topic_id)
        return None if topic is None else topic.partitions.get(index)

    def partition_by_name(self, name: str, index: int) -> PartitionRegistration | None:
        topic = self.by_name.get(name)
        return None if topic is None else topic.partitions.get(index)

    def to_records(self) -> Iterator[Record]:
        for topic in self.by_id.values():
            yield from topic.to_records()


class TopicDelta:
    """One topic that a delta creates or changes. `partitions`: only those that changed, in their new form."""

    __slots__ = ("created", "id", "name", "partitions", "previous")

    def __init__(self, name: str, topic_id: bytes, previous: TopicImage | None) -> None:
        self.name = name
        self.id = topic_id
        self.previous = previous
        self.created = previous is None
        self.partitions: dict[int, PartitionRegistration] = {}

    def partition(self, index: int) -> PartitionRegistration | None:
        """The partition as it is after the records replayed so far."""
        found = self.partitions.get(index)
        return self.previous_partition(index) if found is None else found

    def previous_partition(self, index: int) -> PartitionRegistration | None:
        """The partition as it was before this delta; None if the delta creates it."""
        return None if self.previous is None else self.previous.partitions.get(index)

    def apply(self) -> TopicImage:
        if self.previous is None:
            return TopicImage(self.name, self.id, self.partitions)
        return TopicImage(self.name, self.id, {**self.previous.partitions, **self.partitions})


class TopicsDelta:
    """Replays topic records over `image`.

    `changed`: created or changed topics by id. `deleted`: topics of the base image that are gone, by id, as they
    were. A topic created and deleted within one delta is in neither.
    """

    __slots__ = ("_new_ids", "changed", "deleted", "image")

    def __init__(self, image: TopicsImage) -> None:
        self.image = image
        self.changed: dict[bytes, TopicDelta] = {}
        self.deleted: dict[bytes, TopicImage] = {}
        self._new_ids: dict[str, bytes] = {}

    def replay_topic(self, record: TopicRecord) -> None:
        name, topic_id = record.name, record.topic_id
        standing = self.image.by_name.get(name)
        assert standing is None or standing.id in self.deleted, f"topic {name!r} exists and is created again"
        assert name not in self._new_ids, f"topic {name!r} is created twice"
        assert topic_id not in self.image.by_id, f"topic id of {name!r} is used twice"
        assert topic_id not in self.changed, f"topic id of {name!r} is used twice"
        self._new_ids[name] = topic_id
        self.changed[topic_id] = TopicDelta(name, topic_id, None)

    def replay_partition(self, record: PartitionRecord) -> None:
        self._topic(record.topic_id).partitions[record.partition_id] = PartitionRegistration.from_record(record)

    def replay_partition_change(self, record: PartitionChangeRecord) -> None:
        topic = self._topic(record.topic_id)
        partition = topic.partition(record.partition_id)
        assert partition is not None, f"partition {topic.name}-{record.partition_id} is changed but does not exist"
        topic.partitions[record.partition_id] = partition.merge(record)

    def replay_remove_topic(self, record: RemoveTopicRecord) -> str:
        """Forget the topic; returns its name, whose configs go with it."""
        topic_id = record.topic_id
        changed = self.changed.pop(topic_id, None)
        if changed is not None and changed.created:
            del self._new_ids[changed.name]
            return changed.name
        previous = self.image.by_id.get(topic_id)
        assert previous is not None, "a topic is removed that does not exist"
        assert topic_id not in self.deleted, "a topic is removed twice"
        self.deleted[topic_id] = previous
        return previous.name

    def replay_clear_elr(self, topic_name: str) -> None:
        """Clear the eligible leader replicas of one topic, of all if the name is empty (KIP-966)."""
        names: Iterable[str] = [topic_name] if topic_name else [*self.image.by_name, *self._new_ids]
        for name in names:
            topic_id = self._new_ids.get(name) or self.image.by_name[name].id
            if topic_id in self.deleted:
                continue
            known = self.changed.get(topic_id)
            base = self.image.by_id.get(topic_id)
            indexes = {*(base.partitions if base else ()), *(known.partitions if known else ())}
            for index in sorted(indexes):
                partition = self._partition(topic_id, index)
                if partition.elr or partition.last_known_elr:
                    self._topic(topic_id).partitions[index] = partition._replace(elr=(), last_known_elr=())

    def _partition(self, topic_id: bytes, index: int) -> PartitionRegistration:
        known = self.changed.get(topic_id)
        partition = known.partition(index) if known else self.image.partition(topic_id, index)
        assert partition is not None
        return partition

    def _topic(self, topic_id: bytes) -> TopicDelta:
        topic = self.changed.get(topic_id)
        if topic is None:
            previous = self.image.by_id.get(topic_id)
            assert previous is not None, f"unknown topic id {topic_id.hex()}"
            assert topic_id not in self.deleted, f"removed topic id {topic_id.hex()}"
            topic = self.changed[topic_id] = TopicDelta(previous.name, topic_id, previous)
        return topic

    def apply(self) -> TopicsImage:
        by_name = dict(self.image.by_name)
        by_id = dict(self.image.by_id)
        for topic_id, gone in self.deleted.items():
            del by_name[gone.name]
            del by_id[topic_id]
        for topic_id, delta in self.changed.items():
            by_id[topic_id] = by_name[delta.name] = delta.apply()
        return TopicsImage(by_name, by_id)

    def changed_partitions(self) -> Iterator[tuple[TopicDelta, int, PartitionRegistration]]:
        """(topic, index, new registration) for each partition that was created or changed."""
        for topic in self.changed.values():
            for index, partition in topic.partitions.items():
                yield topic, index, partition
