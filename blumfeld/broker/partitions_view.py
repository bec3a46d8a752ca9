"""Partitions as clients of one listener may see them: leaders, errors, offline replicas.

Owns what Metadata and DescribeTopicPartitions have in common, and the bits of authorized operations. Must never know
addresses.
Invariant: a view is of one image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blumfeld.cluster.image.topics import NO_LEADER
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.cluster.image.topics import PartitionRegistration

NO_OPERATIONS_ASKED: Final = -(2**31)
TOPIC_OPERATIONS: Final = sum(1 << code for code in (3, 4, 5, 6, 7, 8, 10, 11))
"""read, write, create, delete, alter, describe, describe configs, alter configs: all there are."""
CLUSTER_OPERATIONS: Final = sum(1 << code for code in (5, 7, 8, 9, 10, 11, 12))
"""create, alter, describe, cluster action, describe configs, alter configs, idempotent write."""


class PartitionsView:
    """Partitions of `image`, for clients that came by `listener`."""

    def __init__(self, image: MetadataImage, listener: str) -> None:
        brokers = image.cluster.brokers
        self._listening = {id_: broker for id_, broker in brokers.items() if listener in broker.listeners}
        self._known = frozenset(brokers)
        self._online = {id_: broker for id_, broker in self._listening.items() if not broker.fenced}

    def leader(self, partition: PartitionRegistration) -> tuple[ErrorCode, int]:
        """(error, leader): LEADER_NOT_AVAILABLE without one, LISTENER_NOT_FOUND where it lacks the listener."""
        if partition.leader in self._listening:
            return ErrorCode.NONE, partition.leader
        known = partition.leader in self._known
        return (ErrorCode.LISTENER_NOT_FOUND if known else ErrorCode.LEADER_NOT_AVAILABLE), NO_LEADER

    def alive(self, replicas: tuple[int, ...]) -> list[int]:
        """Those of `replicas` that can be reached: what clients of Metadata version 0 are told."""
        return [replica for replica in replicas if replica in self._online]

    def offline(self, partition: PartitionRegistration) -> list[int]:
        """Replicas whose broker is gone, fenced or without the listener, or whose directory has failed."""
        online = self._online
        return [
            replica
            for replica, directory in zip(partition.replicas, partition.directories, strict=True)
            if replica not in online or not online[replica].has_online_directory(directory)
        ]
