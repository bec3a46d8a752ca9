"""OffsetForLeaderEpoch (key 23), versions 2–4: where a leader epoch ended in this log (KIP-101, KIP-320)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
)

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context

_NO_EPOCH: Final = -1
_Answer = OffsetForLeaderEpochResponse.Topic.Partition


def offset_for_leader_epoch(
    broker: Broker, context: Context, request: OffsetForLeaderEpochRequest
) -> OffsetForLeaderEpochResponse:
    """Only a leader answers, and only within the leader epoch that the asker knows."""
    topics = []
    for topic in request.topics:
        here = broker.replicas.partitions_of(topic.topic)
        answers = []
        for data in topic.partitions:
            partition = here.get(data.partition)
            if partition is None:
                error = broker.replicas.why_missing(topic.topic, data.partition)
            elif data.current_leader_epoch < _NO_EPOCH:
                error = ErrorCode.FENCED_LEADER_EPOCH
            else:
                error = partition.check_epoch(data.current_leader_epoch, must_lead=True)
            answer = _Answer(partition=data.partition, error_code=error)
            if partition is not None and error is ErrorCode.NONE:
                answer.leader_epoch, answer.end_offset = partition.log.end_offset_for_epoch(data.leader_epoch)
            answers.append(answer)
        topics.append(OffsetForLeaderEpochResponse.Topic(topic=topic.topic, partitions=answers))
    return OffsetForLeaderEpochResponse(topics=topics)
