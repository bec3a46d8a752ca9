"""OffsetCommit, OffsetFetch, OffsetDelete: decisions about committed offsets.

Owns who may commit for a group (its members of the current generation, or anybody while it has no members), and the
size limit of metadata. Topics are named here, never only identified: handlers resolve topic ids, and refuse
partitions that do not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.coordinator.decision import Answer, Decision, LogRecord, Ticket
from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.records import CommittedOffset
from blumfeld.coordinator.group.state import GroupState
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from blumfeld.protocol.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from blumfeld.protocol.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from blumfeld.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from blumfeld.coordinator.group.classic import ClassicGroup
    from blumfeld.coordinator.group.config import GroupConfig
    from blumfeld.coordinator.group.offset_store import OffsetStore
    from blumfeld.coordinator.group.rebalance import Rebalances

FIRST_VERSION_WITH_GROUP_ID_NOT_FOUND = 9
NO_OFFSET = -1
_FOREVER = (1 << 63) - 1
SMALLEST_RECORD_BYTES = 40
"""An offset's record is longer, whatever group and topic are called."""

_GroupAnswer = OffsetFetchResponse.Group
_PartitionAnswer = OffsetFetchResponse.Group.Topic.Partition


def refused_commit(request: OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse:
    """OffsetCommit's answer where everything is refused."""
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponse.Topic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    OffsetCommitResponse.Topic.Partition(partition_index=p.partition_index, error_code=error)
                    for p in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


class Offsets:
    """Decides about offsets."""

    def __init__(
        self,
        groups: dict[str, ClassicGroup],
        store: OffsetStore,
        rebalances: Rebalances,
        config: GroupConfig,
        max_record_bytes: Callable[[], int],
    ) -> None:
        self._max_record_bytes = max_record_bytes
        self._groups = groups
        self._store = store
        self._rebalances = rebalances
        self._config = config

    # --- OffsetCommit ----------------------------------------------------------------------------------------------

    def commit(self, request: OffsetCommitRequest, version: int, ticket: Ticket, now_ms: int) -> Decision:
        """Write the positions; those with too much metadata are refused, the others taken."""
        refusal = self._commit_refusal(request, version)
        count = sum(len(topic.partitions) for topic in request.topics)
        if count * SMALLEST_RECORD_BYTES > self._max_record_bytes():
            refusal = ErrorCode.UNKNOWN_SERVER_ERROR  # as for a batch that is too large, but before it is made
        if refusal is not ErrorCode.NONE:
            return Decision(answers=[Answer(ticket, refused_commit(request, refusal))])
        retention_ms = request.retention_time_ms
        expire_timestamp_ms = -1 if retention_ms == -1 else min(now_ms + retention_ms, _FOREVER)
        to_write: list[LogRecord] = []
        response = refused_commit(request, ErrorCode.NONE)
        for topic, answer in zip(request.topics, response.topics, strict=True):
            for partition, partition_answer in zip(topic.partitions, answer.partitions, strict=True):
                metadata = partition.committed_metadata or ""
                if len(metadata) > self._config.offset_metadata_max_bytes:
                    partition_answer.error_code = ErrorCode.OFFSET_METADATA_TOO_LARGE
                    continue
                committed = CommittedOffset(
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    metadata,
                    now_ms,
                    expire_timestamp_ms,
                    topic.topic_id,
                )
                to_write.append(
                    records.offset_commit(request.group_id, topic.name, partition.partition_index, committed)
                )
        return Decision(to_write, [Answer(ticket, response)])

    def _commit_refusal(self, request: OffsetCommitRequest, version: int) -> ErrorCode:
        group = self._groups.get(request.group_id)
        generation = request.generation_id_or_member_epoch
        if group is None:
            if generation < 0:
                return ErrorCode.NONE  # a group of offsets alone
            if version >= FIRST_VERSION_WITH_GROUP_ID_NOT_FOUND:
                return ErrorCode.GROUP_ID_NOT_FOUND
            return ErrorCode.ILLEGAL_GENERATION
        if generation < 0 and group.state is GroupState.EMPTY:
            return ErrorCode.NONE
        if generation < 0 and not request.member_id and request.group_instance_id is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        refusal = group.refusal(request.member_id, request.group_instance_id)
        if refusal is not ErrorCode.NONE:
            return refusal
        if generation != group.generation:
            return ErrorCode.ILLEGAL_GENERATION
        if group.state is GroupState.COMPLETING_REBALANCE:
            return ErrorCode.REBALANCE_IN_PROGRESS
        self._rebalances.hear_of(group, group.members[request.member_id])
        return ErrorCode.NONE

    # --- OffsetFetch -----------------------------------------------------------------------------------------------

    def fetch(self, request: OffsetFetchRequest.Group, ticket: Ticket, *, require_stable: bool) -> Decision:
        """Read the positions of one group, all of them where no topics are named (KIP-447: or that they are unstable).

        Kafka reads what is committed where a client does not ask for stable offsets; here every read waits for the
        writes before it, which in Kafka those do that ask.
        """
        known = self._store.of_group(request.group_id)
        topics = []
        if request.topics is None:
            for name, offsets in known.items():
                partitions = self._read(request.group_id, name, ZERO_UUID, offsets, offsets, require_stable)
                topics.append(_GroupAnswer.Topic(name=name, partitions=partitions))
        else:
            for topic in request.topics:
                offsets = known.get(topic.name, {})
                partitions = self._read(
                    request.group_id, topic.name, topic.topic_id, topic.partition_indexes, offsets, require_stable
                )
                topics.append(_GroupAnswer.Topic(name=topic.name, topic_id=topic.topic_id, partitions=partitions))
        return Decision(answers=[Answer(ticket, _one_group(request.group_id, topics))], settled=True)

    def _read(
        self,
        group_id: str,
        topic: str,
        topic_id: bytes,
        partitions: Iterable[int],
        offsets: Mapping[int, CommittedOffset],
        require_stable: bool,
    ) -> list[_PartitionAnswer]:
        answers = []
        for index in partitions:
            committed = offsets.get(index)
            if require_stable and self._store.is_unstable(group_id, topic, index):
                answers.append(_no_offset(index, ErrorCode.UNSTABLE_OFFSET_COMMIT))
            elif committed is None or _is_of_another_topic(committed, topic_id):
                answers.append(_no_offset(index))
            else:
                answers.append(
                    _PartitionAnswer(
                        partition_index=index,
                        committed_offset=committed.offset,
                        committed_leader_epoch=committed.leader_epoch,
                        metadata=committed.metadata,
                        error_code=ErrorCode.NONE,
                    )
                )
        return answers

    # --- OffsetDelete ----------------------------------------------------------------------------------------------

    def delete(self, request: OffsetDeleteRequest, ticket: Ticket) -> Decision:
        """Forget positions of topics that the group does not read any more (KIP-496)."""
        group = self._groups.get(request.group_id)
        error = ErrorCode.NONE
        if group is None:
            error = ErrorCode.GROUP_ID_NOT_FOUND
        elif group.state is not GroupState.EMPTY and not group.is_consumer_group:
            error = ErrorCode.NON_EMPTY_GROUP
        response = OffsetDeleteResponse(error_code=error, topics=[])
        if group is None or error is not ErrorCode.NONE:
            return Decision(answers=[Answer(ticket, response)])
        to_write: list[LogRecord] = []
        for topic in request.topics:
            in_use = group.is_subscribed_to(topic.name)
            topic_error = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if in_use else ErrorCode.NONE
            answer = OffsetDeleteResponse.Topic(name=topic.name, partitions=[])
            response.topics.append(answer)
            for partition in topic.partitions:
                index = partition.partition_index
                answer.partitions.append(
                    OffsetDeleteResponse.Topic.Partition(partition_index=index, error_code=topic_error)
                )
                if not in_use and self._has_any(request.group_id, topic.name, index):
                    to_write.append(records.offset_tombstone(request.group_id, topic.name, index))
        return Decision(to_write, [Answer(ticket, response)])

    def _has_any(self, group_id: str, topic: str, partition: int) -> bool:
        store = self._store
        return store.get(group_id, topic, partition) is not None or store.is_unstable(group_id, topic, partition)


def _no_offset(partition: int, error: ErrorCode = ErrorCode.NONE) -> _PartitionAnswer:
    return _PartitionAnswer(partition_index=partition, committed_offset=NO_OFFSET, metadata="", error_code=error)


def _is_of_another_topic(committed: CommittedOffset, topic_id: bytes) -> bool:
    """The topic was deleted and made anew since the commit."""
    return ZERO_UUID not in (committed.topic_id, topic_id) and committed.topic_id != topic_id


def _one_group(group_id: str, topics: list[_GroupAnswer.Topic]) -> OffsetFetchResponse:
    return OffsetFetchResponse(groups=[_GroupAnswer(group_id=group_id, topics=topics)])
