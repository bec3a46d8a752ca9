"""OffsetCommit 2–10: store a group's positions (KIP-848 topic ids from version 10 on).

Partitions that do not exist are refused one by one, the others are committed. Each offset is kept with its topic's
id, so that it does not count for a topic made anew under the same name.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context, Reply
    from blumfeld.cluster.image.topics import TopicsImage

FIRST_VERSION_WITH_TOPIC_IDS = 10

_Topic = OffsetCommitRequest.Topic
_TopicAnswer = OffsetCommitResponse.Topic


def offset_commit(broker: Broker, context: Context, request: OffsetCommitRequest) -> Reply[OffsetCommitResponse]:
    """Commit what exists; waits for the records to be replicated."""
    refused: list[_TopicAnswer] = []
    request.topics = _known(broker.image.topics, request.topics, context.api_version, refused)
    if refused and not request.topics:
        return OffsetCommitResponse(topics=refused)
    reply = broker.groups.commit_offsets(request, context.api_version)
    if not refused:
        return reply
    return _merged(reply, refused) if isinstance(reply, OffsetCommitResponse) else _merged_later(reply, refused)


def _known(topics: TopicsImage, requested: list[_Topic], version: int, refused: list[_TopicAnswer]) -> list[_Topic]:
    """The part of a request that exists, with names and ids; the rest is added to `refused`."""
    known = []
    for topic in requested:
        by_id = version >= FIRST_VERSION_WITH_TOPIC_IDS
        found = topics.get_by_id(topic.topic_id) if by_id else topics.get(topic.name)
        if found is None:
            error = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            refused.append(_refusal(topic, topic.partitions, error))
            continue
        topic.name, topic.topic_id = found.name, found.id
        missing = [p for p in topic.partitions if p.partition_index not in found.partitions]
        if missing:
            refused.append(_refusal(topic, missing, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
            topic.partitions = [p for p in topic.partitions if p.partition_index in found.partitions]
        if topic.partitions or not missing:
            known.append(topic)
    return known


def _refusal(topic: _Topic, partitions: list[_Topic.Partition], error: ErrorCode) -> _TopicAnswer:
    return _TopicAnswer(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[_TopicAnswer.Partition(partition_index=p.partition_index, error_code=error) for p in partitions],
    )


async def _merged_later(reply: Awaitable[OffsetCommitResponse], refused: list[_TopicAnswer]) -> OffsetCommitResponse:
    return _merged(await reply, refused)


def _merged(response: OffsetCommitResponse, refused: list[_TopicAnswer]) -> OffsetCommitResponse:
    """One entry for each topic, whatever became of its partitions."""
    answers = {(topic.name, topic.topic_id): topic for topic in refused}
    for topic in response.topics:
        known = answers.setdefault((topic.name, topic.topic_id), topic)
        if known is not topic:
            known.partitions.extend(topic.partitions)
    response.topics = list(answers.values())
    return response
