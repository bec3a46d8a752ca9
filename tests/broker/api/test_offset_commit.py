"""OffsetCommit: partitions that exist, names and ids, replication."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from tests.coordinator.brokers import Brokers

Topic = OffsetCommitRequest.Topic


def commit(*topics: tuple[Any, list[int]], **fields: Any) -> OffsetCommitRequest:
    """Topics by name (text) or id (bytes), with their partitions; each commits offset 10 + partition."""
    made = []
    for topic, partitions in topics:
        named = {"name": topic} if isinstance(topic, str) else {"topic_id": topic}
        offsets = [
            Topic.Partition(partition_index=p, committed_offset=10 + p, committed_metadata="m") for p in partitions
        ]
        made.append(Topic(**named, partitions=offsets))
    return OffsetCommitRequest(**{"group_id": "g", "member_id": "", "topics": made, **fields})


def errors(response: OffsetCommitResponse) -> dict[tuple[Any, int], ErrorCode]:
    return {
        (topic.name or topic.topic_id, p.partition_index): ErrorCode(p.error_code)
        for topic in response.topics
        for p in topic.partitions
    }


def committed(brokers: Brokers) -> dict[str, dict[int, int]]:
    machine = next(m for m, _ in brokers.groups[1].runtime.machines() if "g" in m.groups)
    return {name: {p: o.offset for p, o in ps.items()} for name, ps in machine.offsets.of_group("g").items()}


@pytest.mark.parametrize("version", range(2, 10))
async def test_what_exists_is_committed_by_name(version: int) -> None:
    async with Brokers() as brokers:
        brokers.world.create_topic([1], partitions=2, name="orders")
        response = await brokers.call(1, commit(("orders", [0, 1, 2]), ("ghost", [0])), version)
        assert errors(response) == {
            ("orders", 0): ErrorCode.NONE,
            ("orders", 1): ErrorCode.NONE,
            ("orders", 2): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            ("ghost", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        }
        assert len(response.topics) == 2, "one entry for each topic"
        assert committed(brokers) == {"orders": {0: 10, 1: 11}}


async def test_what_exists_is_committed_by_id() -> None:
    async with Brokers() as brokers:
        topic_id = brokers.world.create_topic([1], name="orders")
        response = await brokers.call(1, commit((topic_id, [0, 5]), (b"g" * 16, [0])), 10)
        assert errors(response) == {
            (topic_id, 0): ErrorCode.NONE,
            (topic_id, 5): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            (b"g" * 16, 0): ErrorCode.UNKNOWN_TOPIC_ID,
        }
        assert committed(brokers) == {"orders": {0: 10}}


async def test_offsets_are_kept_with_the_topics_id() -> None:
    async with Brokers() as brokers:
        topic_id = brokers.world.create_topic([1], name="orders")
        await brokers.call(1, commit(("orders", [0])), 9)
        machine = next(m for m, _ in brokers.groups[1].runtime.machines() if "g" in m.groups)
        offset = machine.offsets.get("g", "orders", 0)
        assert offset is not None
        assert offset.topic_id == topic_id


async def test_nothing_that_exists_asks_nobody() -> None:
    async with Brokers(2) as brokers:
        response = await brokers.call(2, commit(("ghost", [0])), 9)
        assert errors(response) == {("ghost", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
        assert (await brokers.call(1, commit(), 9)).topics == []


async def test_an_error_of_the_group_is_told_for_each_partition() -> None:
    async with Brokers(2) as brokers:
        brokers.world.create_topic([1], partitions=2, name="orders")
        elsewhere = await brokers.call(2, commit(("orders", [0, 1, 7])), 9)
        assert set(errors(elsewhere).values()) == {ErrorCode.NOT_COORDINATOR, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
        request = commit(("orders", [0]), member_id="m", generation_id_or_member_epoch=4)
        assert errors(await brokers.call(1, request, 9)) == {("orders", 0): ErrorCode.GROUP_ID_NOT_FOUND}
        assert errors(await brokers.call(1, request, 8)) == {("orders", 0): ErrorCode.ILLEGAL_GENERATION}


async def test_part_of_a_commit_waits_for_replication() -> None:
    async with Brokers(2, replicas=(1, 2)) as brokers:
        brokers.world.create_topic([1], name="orders")
        committing = brokers.start(1, commit(("orders", [0, 9])), 9)
        await asyncio.sleep(0)
        assert not committing.done()
        brokers.replicate()
        assert errors(await committing)[("orders", 0)] is ErrorCode.NONE


async def test_the_empty_group_id_may_commit() -> None:
    """For clients that know no groups; Apache Kafka allows it."""
    async with Brokers() as brokers:
        brokers.world.create_topic([1], name="orders")
        response = await brokers.call(1, commit(("orders", [0]), group_id=""), 9)
        assert errors(response) == {("orders", 0): ErrorCode.NONE}
