"""OffsetForLeaderEpoch: where an epoch ended."""

from __future__ import annotations

import pytest

from blumfeld.broker.api.offset_for_leader_epoch import offset_for_leader_epoch
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
)
from tests.cluster.world import World, context


@pytest.fixture
def world() -> World:
    return World(2)


def epoch_end(
    world: World, epoch: int, *, current: int = -1, broker: int = 1, index: int = 0
) -> OffsetForLeaderEpochResponse.Topic.Partition:
    asked = OffsetForLeaderEpochRequest.Topic.Partition(
        partition=index, current_leader_epoch=current, leader_epoch=epoch
    )
    request = OffsetForLeaderEpochRequest(topics=[OffsetForLeaderEpochRequest.Topic(topic="t", partitions=[asked])])
    response = offset_for_leader_epoch(world[broker].broker, context(ApiKey.OFFSET_FOR_LEADER_EPOCH, 4), request)
    return response.topics[0].partitions[0]


def test_where_an_epoch_ended(world: World) -> None:
    world.create_topic([1])
    world[1].produce("a")
    world.elect(1, [1])
    world.elect(1, [1])
    world[1].produce("b")
    assert [(e.leader_epoch, e.end_offset) for e in (epoch_end(world, n) for n in (0, 1, 2, 3))] == [
        (0, 1),
        (0, 1),
        (2, 2),
        (-1, -1),
    ]


def test_only_the_leader_says_so_and_only_in_its_epoch(world: World) -> None:
    world.create_topic([1, 2])
    assert epoch_end(world, 0, broker=2).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert epoch_end(world, 0, current=1).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert epoch_end(world, 0, index=3).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
