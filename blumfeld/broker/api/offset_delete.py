"""OffsetDelete 0: forget a group's positions of topics that it does not read any more (KIP-496)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context, Reply
    from blumfeld.cluster.image.topics import TopicsImage

_Topic = OffsetDeleteRequest.Topic
_TopicAnswer = OffsetDeleteResponse.Topic


def offset_delete(broker: Broker, context: Context, request: OffsetDeleteRequest) -> Reply[OffsetDeleteResponse]:
    """Delete what exists; the rest is refused, partition by partition."""
    refused: list[_TopicAnswer] = []
    request.topics = _known(broker.image.topics, request.topics, refused)
    reply = broker.groups.delete_offsets(request)
    if isinstance(reply, OffsetDeleteResponse):
        return _merged(reply, refused)
    return _merged_later(reply, refused)


def _known(topics: TopicsImage, requested: list[_Topic], refused: list[_TopicAnswer]) -> list[_Topic]:
    known = []
    for topic in requested:
        found = topics.get(topic.name)
        existing = [p for p in topic.partitions if found is not None and p.partition_index in found.partitions]
        missing = [p for p in topic.partitions if found is None or p.partition_index not in found.partitions]
        if missing:
            error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            refused.append(
                _TopicAnswer(
                    name=topic.name,
                    partitions=[
                        _TopicAnswer.Partition(partition_index=p.partition_index, error_code=error) for p in missing
                    ],
                )
            )
        if existing:
            known.append(_Topic(name=topic.name, partitions=existing))
    return known


async def _merged_later(reply: Awaitable[OffsetDeleteResponse], refused: list[_TopicAnswer]) -> OffsetDeleteResponse:
    return _merged(await reply, refused)


def _merged(response: OffsetDeleteResponse, refused: list[_TopicAnswer]) -> OffsetDeleteResponse:
    """One entry for each topic. An error of the whole answer leaves no topics, as in Apache Kafka."""
    if response.error_code != ErrorCode.NONE:
        return OffsetDeleteResponse(error_code=response.error_code, topics=[])
    answers = {topic.name: topic for topic in refused}
    for topic in response.topics:
        known = answers.setdefault(topic.name, topic)
        if known is not topic:
            known.partitions.extend(topic.partitions)
    response.topics = list(answers.values())
    return response
