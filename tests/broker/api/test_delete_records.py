"""DeleteRecords: starts move forward, and the answer waits for the replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from blumfeld.broker.api.delete_records import delete_records
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.delete_records import DeleteRecordsRequest, DeleteRecordsResponse
from blumfeld.storage.log_config import LogConfig
from tests.cluster.world import World, context


@pytest.fixture
def world() -> World:
    return World(2)


def delete(world: World, offset: int, *, topic: str = "t", index: int = 0, timeout_ms: int = 1000) -> Any:
    asked = DeleteRecordsRequest.Topic.Partition(partition_index=index, offset=offset)
    request = DeleteRecordsRequest(
        topics=[DeleteRecordsRequest.Topic(name=topic, partitions=[asked])], timeout_ms=timeout_ms
    )
    return delete_records(world[1].broker, context(ApiKey.DELETE_RECORDS, 2), request)


def outcome(response: Any) -> tuple[int, int]:
    assert isinstance(response, DeleteRecordsResponse)
    data = response.topics[0].partitions[0]
    return data.error_code, data.low_watermark


def test_a_lone_leader_deletes_at_once(world: World) -> None:
    world.create_topic([1])
    for _ in range(3):
        world[1].produce("a")
    assert outcome(delete(world, 2)) == (0, 2)
    assert outcome(delete(world, -1)) == (0, 3)
    assert outcome(delete(world, 4)) == (ErrorCode.OFFSET_OUT_OF_RANGE, -1)
    assert outcome(delete(world, 0, index=9)) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1)
    assert outcome(delete(world, 0, topic="__consumer_offsets")) == (ErrorCode.INVALID_TOPIC_EXCEPTION, -1)


def test_records_of_a_topic_that_deletes_none_stay(world: World) -> None:
    world.create_topic([1])
    world[1].produce("a")
    world[1].partition().log.update_config(LogConfig(cleanup_policy=("compact",)))
    assert outcome(delete(world, 1)) == (ErrorCode.POLICY_VIOLATION, -1)
    assert world[1].values() == ["a"]


async def test_it_waits_for_the_followers(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1, 2])
    for _ in range(3):
        world[1].produce("a")
    world.replicate()
    response = delete(world, 2)
    assert isinstance(response, Awaitable)
    world.replicate()
    assert outcome(await asyncio.wait_for(asyncio.ensure_future(response), 60)) == (0, 2)


async def test_it_does_not_wait_for_ever(world: World) -> None:
    purgatory = world[1].with_purgatory()
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    response = delete(world, 1, timeout_ms=500)
    world.clock.advance(1)
    purgatory.expire()
    assert outcome(await asyncio.wait_for(response, 60)) == (ErrorCode.REQUEST_TIMED_OUT, 0)


async def test_a_leader_that_is_deposed_says_so(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    response = delete(world, 1)
    world.elect(2, [1, 2])
    assert outcome(await asyncio.wait_for(response, 60)) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)
