"""The follower's half of an incremental fetch session (KIP-227).

Owns what the leader has been told about each partition, and what it must be told next. Builds requests; knows nothing
of answers but whether the session goes on.

Invariants
- A partition is in `_told` exactly while the leader's session holds it.
- The cost of a request follows the number of partitions that changed since the last one, not of those in the session.
- `number` rises with each request; a request built earlier never tells more than one built later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from blumfeld.protocol.messages.fetch import FetchRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blumfeld.cluster.partition import Partition

NO_SESSION: Final = 0
FIRST_EPOCH: Final = 0
LAST_EPOCH: Final = 0x7FFFFFFF

_Asked = FetchRequest.Topic.Partition


class Told(NamedTuple):
    """What the leader knows of one partition."""

    offset: int
    last_fetched_epoch: int
    leader_epoch: int
    log_start_offset: int
    number: int
    """Of the request that told it. Answers to requests before it are to what was told earlier."""


class FetchSession:
    """One session with one leader.

    Args:
        max_bytes: replica.fetch.max.bytes, per partition.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._id = NO_SESSION
        self._epoch = FIRST_EPOCH
        self._wanted: dict[Partition, None] = {}
        self._told: dict[Partition, Told] = {}
        self._changed: dict[Partition, None] = {}
        self._forgotten: dict[Partition, None] = {}
        self.number = 0
        """Of the request built last."""

    def __len__(self) -> int:
        return len(self._wanted)

    @property
    def has_additions(self) -> bool:
        """Whether there are partitions, or positions, that the leader does not know yet."""
        return bool(self._changed)

    @property
    def is_established(self) -> bool:
        """Whether the next request goes on with a session whose id is known."""
        return self._id != NO_SESSION and self._epoch != FIRST_EPOCH

    def add(self, partition: Partition) -> None:
        """Fetch it, from wherever its log ends when the request is built. Also: it moved."""
        self._wanted[partition] = None
        self._changed[partition] = None
        self._forgotten.pop(partition, None)

    def remove(self, partition: Partition) -> None:
        """Fetch it no more."""
        if partition not in self._wanted:
            return
        del self._wanted[partition]
        self._changed.pop(partition, None)
        if self._told.pop(partition, None) is not None:
            self._forgotten[partition] = None

    def repeat(self, partition: Partition) -> None:
        """Name it in the next request even if it did not move: what the leader told was not heeded."""
        self._told.pop(partition, None)
        self.add(partition)

    def told(self, partition: Partition) -> Told | None:
        """What the leader was last told about it."""
        return self._told.get(partition)

    def reset(self) -> None:
        """The session is lost, or the connection: begin another, closing the old one if the leader still has it."""
        self._epoch = FIRST_EPOCH
        self._told.clear()
        self._forgotten.clear()
        self._changed = dict(self._wanted)

    def answered(self, session_id: int) -> None:
        """The leader answered without an error at the top; 0: it gives us no session, so each request is whole."""
        if session_id == NO_SESSION:
            self._id = NO_SESSION
            self.reset()
        else:
            self._id = session_id

    def build(
        self, *, replica_id: int, broker_epoch: int, max_wait_ms: int, min_bytes: int, max_bytes: int
    ) -> FetchRequest:
        """The next request: all partitions when a session begins, otherwise what changed."""
        self.number += 1
        epoch = self._epoch
        topics: dict[bytes, list[_Asked]] = {}
        for partition in self._changed:
            told = _position(partition, self.number)
            known = self._told.get(partition)
            if known is None or known._replace(number=self.number) != told:
                self._told[partition] = told
                topics.setdefault(partition.topic_id, []).append(self._asked(partition, told))
        forgotten = self._to_be_forgotten(topics) if self._forgotten else {}
        self._changed.clear()
        self._forgotten.clear()
        self._epoch = 1 if epoch == LAST_EPOCH else epoch + 1
        return FetchRequest(
            replica_state=FetchRequest.ReplicaState(replica_id=replica_id, replica_epoch=broker_epoch),
            max_wait_ms=max_wait_ms,
            min_bytes=min_bytes,
            max_bytes=max_bytes,
            session_id=self._id,
            session_epoch=epoch,
            topics=[FetchRequest.Topic(topic_id=i, partitions=p) for i, p in topics.items()],
            forgotten_topics_data=[FetchRequest.ForgottenTopic(topic_id=i, partitions=p) for i, p in forgotten.items()],
        )

    def _to_be_forgotten(self, topics: Mapping[bytes, Sequence[_Asked]]) -> dict[bytes, list[int]]:
        """What the leader shall drop. It forgets after it adds: not so a replica that went and came back."""
        named = {(topic_id, asked.partition) for topic_id, partitions in topics.items() for asked in partitions}
        forgotten: dict[bytes, list[int]] = {}
        for partition in self._forgotten:
            if (partition.topic_id, partition.index) not in named:
                forgotten.setdefault(partition.topic_id, []).append(partition.index)
        return forgotten

    def _asked(self, partition: Partition, told: Told) -> _Asked:
        return _Asked(
            partition=partition.index,
            current_leader_epoch=told.leader_epoch,
            fetch_offset=told.offset,
            last_fetched_epoch=told.last_fetched_epoch,
            log_start_offset=told.log_start_offset,
            partition_max_bytes=self._max_bytes,
        )


def _position(partition: Partition, number: int) -> Told:
    offset, epoch = partition.fetch_position
    return Told(offset, epoch, partition.leader_epoch, partition.log_start_offset, number)
