"""OffsetFetch 1–10: a group's positions; several groups from version 8 on (KIP-709), topic ids from version 10 on.

Null topics ask for all. Topics that no longer exist keep their positions until these expire; version 10 can't show
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from blumfeld.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context, Reply
    from blumfeld.cluster.image.topics import TopicsImage

FIRST_VERSION_WITH_TOP_LEVEL_ERROR = 2
FIRST_VERSION_WITH_SEVERAL_GROUPS = 8
FIRST_VERSION_WITH_TOPIC_IDS = 10

_Group = OffsetFetchRequest.Group
_GroupAnswer = OffsetFetchResponse.Group
_PartitionAnswer = OffsetFetchResponse.Group.Topic.Partition


def offset_fetch(broker: Broker, context: Context, request: OffsetFetchRequest) -> Reply[OffsetFetchResponse]:
    """Ask the coordinator for each group, and put the answers into the version's shape."""
    version = context.api_version
    if version < FIRST_VERSION_WITH_SEVERAL_GROUPS:
        request.groups = [_only_group(request)]
    topics = broker.image.topics
    replies = []
    unknown: list[list[_GroupAnswer.Topic]] = []
    for group in request.groups:
        unknown.append(_name_topics(topics, group) if version >= FIRST_VERSION_WITH_TOPIC_IDS else [])
        replies.append(broker.groups.fetch_offsets(group, require_stable=request.require_stable))

    def respond(answers: list[OffsetFetchResponse]) -> OffsetFetchResponse:
        groups = [answer.groups[0] for answer in answers]
        for answer, unknown_topics in zip(groups, unknown, strict=True):
            if version >= FIRST_VERSION_WITH_TOPIC_IDS and answer.error_code == ErrorCode.NONE:
                answer.topics = [*_identified(topics, answer.topics), *unknown_topics]
        if version >= FIRST_VERSION_WITH_SEVERAL_GROUPS:
            return OffsetFetchResponse(groups=groups)
        return _of_one(groups[0], request.groups[0], version)

    answers = [reply for reply in replies if isinstance(reply, OffsetFetchResponse)]
    if len(answers) == len(replies):
        return respond(answers)

    async def respond_later() -> OffsetFetchResponse:
        return respond(list(await asyncio.gather(*(_settle(reply) for reply in replies))))

    return respond_later()


async def _settle(reply: Reply[OffsetFetchResponse]) -> OffsetFetchResponse:
    return await reply if isinstance(reply, Awaitable) else reply


def _only_group(request: OffsetFetchRequest) -> _Group:
    topics = None
    if request.topics is not None:
        topics = [_Group.Topic(name=t.name, partition_indexes=t.partition_indexes) for t in request.topics]
    return _Group(group_id=request.group_id, topics=topics)


def _name_topics(topics: TopicsImage, group: _Group) -> list[_GroupAnswer.Topic]:
    """Give the topics their names. Those that do not exist are taken out of the request; returns their answers."""
    unknown, known = [], []
    for topic in group.topics or ():
        found = topics.get_by_id(topic.topic_id)
        if found is not None:
            topic.name = found.name
            known.append(topic)
            continue
        partitions = [_no_offset(index, ErrorCode.UNKNOWN_TOPIC_ID) for index in topic.partition_indexes]
        unknown.append(_GroupAnswer.Topic(topic_id=topic.topic_id, partitions=partitions))
    if group.topics is not None:
        group.topics = known
    return unknown


def _identified(topics: TopicsImage, answers: list[_GroupAnswer.Topic]) -> list[_GroupAnswer.Topic]:
    """Where all topics were asked for, they have names: give them their ids, and leave out those without."""
    for answer in answers:
        found = topics.get(answer.name)
        if answer.topic_id == ZERO_UUID and found is not None:
            answer.topic_id = found.id
    return [answer for answer in answers if answer.topic_id != ZERO_UUID]


def _of_one(answer: _GroupAnswer, asked: _Group, version: int) -> OffsetFetchResponse:
    """The shape for one group. Version 1 has no error of its own: there each partition carries it."""
    error = answer.error_code
    if error != ErrorCode.NONE and version < FIRST_VERSION_WITH_TOP_LEVEL_ERROR:
        answer.topics = [
            _GroupAnswer.Topic(
                name=topic.name, partitions=[_no_offset(index, error) for index in topic.partition_indexes]
            )
            for topic in asked.topics or ()
        ]
    return OffsetFetchResponse(
        error_code=error,
        topics=[
            OffsetFetchResponse.Topic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponse.Topic.Partition(
                        partition_index=p.partition_index,
                        committed_offset=p.committed_offset,
                        committed_leader_epoch=p.committed_leader_epoch,
                        metadata=p.metadata,
                        error_code=p.error_code,
                    )
                    for p in topic.partitions
                ],
            )
            for topic in answer.topics
        ],
    )


def _no_offset(index: int, error: int) -> _PartitionAnswer:
    return _PartitionAnswer(partition_index=index, committed_offset=-1, metadata="", error_code=error)
