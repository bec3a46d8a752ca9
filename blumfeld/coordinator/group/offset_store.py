"""Committed offsets, by group, topic and partition; and those of transactions that have not ended.

Owns what the offset records of one partition of `__consumer_offsets` add up to. Decides nothing. Invariants: no
empty inner mapping is kept; an offset of an open transaction is in `pending`, and its producer in `open_producers`
of exactly the partitions for which it has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from blumfeld.coordinator.group.records import CommittedOffset

TopicOffsets: TypeAlias = dict[str, dict[int, CommittedOffset]]

_NONE: Mapping[str, Mapping[int, CommittedOffset]] = {}


class OffsetStore:
    """All offsets of one machine."""

    __slots__ = ("_groups", "_open_producers", "_pending")

    def __init__(self) -> None:
        self._groups: dict[str, TopicOffsets] = {}
        self._pending: dict[int, dict[tuple[str, str, int], CommittedOffset]] = {}
        self._open_producers: dict[str, dict[tuple[str, int], set[int]]] = {}

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, group_id: str, topic: str, partition: int) -> CommittedOffset | None:
        return self.of_topic(group_id, topic).get(partition)

    def of_group(self, group_id: str) -> Mapping[str, Mapping[int, CommittedOffset]]:
        """By topic and partition."""
        return self._groups.get(group_id, _NONE)

    def of_topic(self, group_id: str, topic: str) -> Mapping[int, CommittedOffset]:
        return self._groups.get(group_id, _NONE).get(topic, {})

    def groups(self) -> Iterator[str]:
        """The groups that have offsets."""
        yield from self._groups

    def is_unstable(self, group_id: str, topic: str, partition: int) -> bool:
        """Whether an open transaction has committed another offset."""
        producers = self._open_producers.get(group_id)
        return producers is not None and (topic, partition) in producers

    def has_open_transactions(self, group_id: str) -> bool:
        return group_id in self._open_producers

    def unstable_partitions(self, group_id: str) -> list[tuple[str, int]]:
        """The partitions for which open transactions have committed offsets."""
        return list(self._open_producers.get(group_id, ()))

    def snapshot(self) -> object:
        """Everything, in a form that compares."""
        return (self._groups, self._pending, self._open_producers)

    # --- replay ------------------------------------------------------------------------------------------------------

    def put(self, group_id: str, topic: str, partition: int, committed: CommittedOffset, producer_id: int) -> None:
        """An offset was committed; within a transaction it does not count yet."""
        if producer_id == -1:
            self._groups.setdefault(group_id, {}).setdefault(topic, {})[partition] = committed
        else:
            self._pending.setdefault(producer_id, {})[group_id, topic, partition] = committed
            producers = self._open_producers.setdefault(group_id, {})
            producers.setdefault((topic, partition), set()).add(producer_id)

    def remove(self, group_id: str, topic: str, partition: int) -> None:
        """The offset is forgotten, and what open transactions have committed for the partition."""
        topics = self._groups.get(group_id)
        if topics is not None and topic in topics:
            topics[topic].pop(partition, None)
            if not topics[topic]:
                del topics[topic]
            if not topics:
                del self._groups[group_id]
        for producer_id in self._close(group_id, topic, partition):
            pending = self._pending[producer_id]
            del pending[group_id, topic, partition]
            if not pending:
                del self._pending[producer_id]

    def end_transaction(self, producer_id: int, *, committed: bool) -> None:
        """The producer's offsets count from now on, unless a later record has overtaken them; or they never do."""
        for (group_id, topic, partition), offset in self._pending.pop(producer_id, {}).items():
            self._close(group_id, topic, partition, producer_id)
            if committed:
                known = self.get(group_id, topic, partition)
                if known is None or offset.record_offset > known.record_offset:
                    self.put(group_id, topic, partition, offset, -1)

    def _close(self, group_id: str, topic: str, partition: int, producer_id: int | None = None) -> set[int]:
        """The producers whose transactions concern the partition no more; None: all."""
        partitions = self._open_producers.get(group_id, {})
        producers = partitions.get((topic, partition), set())
        closed = set(producers) if producer_id is None else {producer_id} & producers
        producers -= closed
        if closed and not producers:
            del partitions[topic, partition]
            if not partitions:
                del self._open_producers[group_id]
        return closed
