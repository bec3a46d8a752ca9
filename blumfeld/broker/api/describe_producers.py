"""DescribeProducers (key 61), version 0: the producers that a partition's log knows (KIP-664)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_producers import DescribeProducersRequest, DescribeProducersResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context
    from blumfeld.cluster.partition import Partition

_Answer = DescribeProducersResponse.Topic.Partition


def describe_producers(
    broker: Broker, context: Context, request: DescribeProducersRequest
) -> DescribeProducersResponse:
    """Only the leader's state is of interest: followers' lags behind."""
    topics = []
    for topic in request.topics:
        answers = []
        for index in topic.partition_indexes:
            partition = broker.replicas.find_by_name(topic.name, index)
            if partition is None:
                answer = _refused(index, broker.replicas.why_missing(topic.name, index))
            elif not partition.is_leader:
                answer = _refused(index, ErrorCode.NOT_LEADER_OR_FOLLOWER)
            else:
                answer = _describe(index, partition)
            answers.append(answer)
        topics.append(DescribeProducersResponse.Topic(name=topic.name, partitions=answers))
    return DescribeProducersResponse(topics=topics)


def _describe(index: int, partition: Partition) -> _Answer:
    return _Answer(
        partition_index=index,
        error_code=ErrorCode.NONE,
        active_producers=[
            _Answer.ActiveProducer(
                producer_id=producer.producer_id,
                producer_epoch=producer.epoch,
                last_sequence=producer.last_sequence,
                last_timestamp=producer.last_timestamp,
                coordinator_epoch=producer.coordinator_epoch,
                current_txn_start_offset=producer.txn_first_offset,
            )
            for producer in partition.log.producers.by_id.values()
        ],
    )


def _refused(index: int, error: ErrorCode) -> _Answer:
    return _Answer(partition_index=index, error_code=error, error_message=error.text, active_producers=[])
