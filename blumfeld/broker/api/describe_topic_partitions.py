"""DescribeTopicPartitions 0: topics in name order, a bounded number of partitions at a time (KIP-966).

Without topics named it describes all. The cursor says where the next request goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.broker.partitions_view import NO_OPERATIONS_ASKED, TOPIC_OPERATIONS, PartitionsView
from blumfeld.cluster.controller.topic_names import invalid_topic_name, is_internal_topic
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
)
from blumfeld.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context
    from blumfeld.cluster.image.topics import PartitionRegistration, TopicImage

_Topic = DescribeTopicPartitionsResponse.Topic
_Partition = DescribeTopicPartitionsResponse.Topic.Partition
_Cursor = DescribeTopicPartitionsResponse.Cursor


def describe_topic_partitions(
    broker: Broker, context: Context, request: DescribeTopicPartitionsRequest
) -> DescribeTopicPartitionsResponse:
    """Describe from the cursor on, until the limit is reached."""
    topics = broker.image.topics
    everything = not request.topics
    start, first_index = "", 0
    if request.cursor is not None:
        start, first_index = request.cursor.topic_name, request.cursor.partition_index
    names = sorted({*topics.by_name} if everything else {topic.name for topic in request.topics})
    names = [name for name in names if name >= start]
    if request.cursor is not None and (first_index < 0 or (not everything and start not in names)):
        return DescribeTopicPartitionsResponse(
            topics=[_error_topic(ErrorCode.INVALID_REQUEST, topic.name) for topic in request.topics]
        )
    view = PartitionsView(broker.image, context.listener)
    left = max(min(broker.config.int("max.request.partition.size.limit"), request.response_partition_limit), 1)
    response = DescribeTopicPartitionsResponse(topics=[])
    for name in names:
        if left == 0:
            response.next_cursor = _Cursor(topic_name=name, partition_index=0)
            break
        topic = topics.get(name)
        if topic is None:
            if not everything:
                response.topics.append(_unknown(name))
            continue
        first = first_index if name == start else 0
        described = _describe(topic, view, first, left)
        response.topics.append(described)
        left -= len(described.partitions)
        if first + len(described.partitions) < len(topic.partitions):
            response.next_cursor = _Cursor(topic_name=name, partition_index=first + len(described.partitions))
            break
    return response


def _unknown(name: str) -> _Topic:
    invalid = invalid_topic_name(name) is not None
    code = ErrorCode.INVALID_TOPIC_EXCEPTION if invalid else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return _error_topic(code, name, TOPIC_OPERATIONS)


def _error_topic(code: ErrorCode, name: str, operations: int = NO_OPERATIONS_ASKED) -> _Topic:
    return _Topic(
        error_code=code,
        name=name,
        topic_id=ZERO_UUID,
        is_internal=is_internal_topic(name),
        partitions=[],
        topic_authorized_operations=operations,
    )


def _describe(topic: TopicImage, view: PartitionsView, first: int, most: int) -> _Topic:
    last = min(len(topic.partitions), first + most)
    return _Topic(
        error_code=ErrorCode.NONE,
        name=topic.name,
        topic_id=topic.id,
        is_internal=is_internal_topic(topic.name),
        partitions=[_partition(index, topic.partitions[index], view) for index in range(first, last)],
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _partition(index: int, partition: PartitionRegistration, view: PartitionsView) -> _Partition:
    return _Partition(
        error_code=ErrorCode.NONE,
        partition_index=index,
        leader_id=view.leader(partition)[1],
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.isr),
        eligible_leader_replicas=list(partition.elr),
        last_known_elr=list(partition.last_known_elr),
        offline_replicas=view.offline(partition),
    )
