"""ISR proposals on their way to the controller: batched, one request at a time, until there is an answer."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from blumfeld.cluster.controller_channel import ControllerUnavailable
from blumfeld.cluster.isr_changes import IsrChanges
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_partition import AlterPartitionResponse
from tests.cluster.world import World


class Channel:
    """A controller that answers when it is told to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests: list[Any] = []
        self.failures: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, request: Any, *, timeout_ms: float) -> Any:
        self.requests.append(request)
        await self.open.wait()
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        return self.world.answer_to(request)


def _world_with_changes() -> tuple[World, Channel, IsrChanges]:
    world = World(3)
    channel = Channel(world)
    changes = IsrChanges(cast(Any, channel), world[1].membership, world.clock, world[1].replicas.settle)
    world[1].replicas._propose = changes.submit
    return world, channel, changes


async def settled(changes: IsrChanges) -> None:
    async with asyncio.timeout(3):
        while changes._sender is not None:
            await asyncio.sleep(0.001)


async def test_proposals_of_one_moment_travel_together() -> None:
    world, channel, changes = _world_with_changes()
    world.create_topic([1, 2], partitions=5)
    for index in range(5):
        world.elect(1, [1], index)
    world.deaf = {1}
    world[2].fetch(world[1], times=2)
    await settled(changes)
    assert len(channel.requests) == 1
    assert len(channel.requests[0].topics[0].partitions) == 5
    assert channel.requests[0].broker_epoch == world[1].membership.broker_epoch
    assert all(world[1].partition(index).isr.committed == {1, 2} for index in range(5))


async def test_what_is_proposed_meanwhile_goes_with_the_next_request() -> None:
    world, channel, changes = _world_with_changes()
    world.create_topic([1, 2], partitions=2)
    world.elect(1, [1], 0)
    world.elect(1, [1], 1)
    world.deaf = {1}
    channel.open.clear()
    world[1].produce("a", index=1)
    world[2].fetch(world[1])
    await asyncio.sleep(0)
    world[2].fetch(world[1])
    channel.open.set()
    await settled(changes)
    assert [len(request.topics[0].partitions) for request in channel.requests] == [1, 1]


async def test_without_a_controller_it_tries_on() -> None:
    world, channel, changes = _world_with_changes()
    world.create_topic([1, 2])
    world.elect(1, [1])
    world.deaf = {1}
    channel.failures = [
        ControllerUnavailable("away"),
        AlterPartitionResponse(error_code=ErrorCode.STALE_BROKER_EPOCH, topics=[]),
    ]
    world[2].fetch(world[1], times=2)
    await settled(changes)
    assert len(channel.requests) == 3
    assert world[1].partition().isr.committed == {1, 2}


async def test_a_defect_does_not_end_isr_changes(caplog: pytest.LogCaptureFixture) -> None:
    world, channel, changes = _world_with_changes()
    world.create_topic([1, 2])
    world.elect(1, [1])
    world.deaf = {1}
    channel.failures = [LookupError("unheard of")]
    world[2].fetch(world[1], times=2)
    await settled(changes)
    assert world[1].partition().isr.committed == {1, 2}
    assert "unheard of" in caplog.text


async def test_what_is_refused_for_now_is_not_sent_again_at_once() -> None:
    world, channel, changes = _world_with_changes()
    topic_id = world.create_topic([1, 2])
    world.elect(1, [1])
    world.deaf = {1}
    refusal = AlterPartitionResponse.Topic.Partition(
        partition_index=0, error_code=ErrorCode.NOT_CONTROLLER, leader_id=0, leader_epoch=0, isr=[], partition_epoch=0
    )
    topic = AlterPartitionResponse.Topic(topic_id=topic_id, partitions=[refusal])
    channel.failures = [AlterPartitionResponse(error_code=0, topics=[topic]) for _ in range(1000)]
    world[2].fetch(world[1], times=2)
    await asyncio.sleep(0.12)
    assert 2 <= len(channel.requests) <= 3
    await changes.stop()


async def test_a_proposal_that_metadata_settled_is_not_sent() -> None:
    world, channel, changes = _world_with_changes()
    world.create_topic([1, 2])
    world.elect(1, [1])
    world[2].fetch(world[1], times=2)
    world.elect(2, [2])
    await settled(changes)
    assert channel.requests == []


async def test_an_answer_that_leaves_a_partition_out_is_no_answer() -> None:
    world, channel, changes = _world_with_changes()
    world.create_topic([1, 2])
    world.elect(1, [1])
    world.deaf = {1}
    channel.failures = [AlterPartitionResponse(error_code=0, topics=[])]
    world[2].fetch(world[1], times=2)
    await settled(changes)
    assert len(channel.requests) == 2


async def test_stopping_sends_nothing_more() -> None:
    world, channel, changes = _world_with_changes()
    world.create_topic([1, 2])
    world.elect(1, [1])
    channel.open.clear()
    world[2].fetch(world[1], times=2)
    await asyncio.sleep(0)
    await changes.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
