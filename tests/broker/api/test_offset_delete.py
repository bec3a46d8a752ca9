"""OffsetDelete: partitions that exist, topics in use."""

from __future__ import annotations

import asyncio

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.offset_delete import OffsetDeleteRequest
from tests.broker.api.test_offset_commit import commit
from tests.coordinator.brokers import Brokers

Topic = OffsetDeleteRequest.Topic


def delete(group_id: str = "g", **topics: list[int]) -> OffsetDeleteRequest:
    return OffsetDeleteRequest(
        group_id=group_id,
        topics=[
            Topic(name=name, partitions=[Topic.Partition(partition_index=p) for p in partitions])
            for name, partitions in topics.items()
        ],
    )


async def test_what_exists_is_deleted() -> None:
    async with Brokers() as brokers:
        brokers.world.create_topic([1], partitions=2, name="orders")
        await brokers.call(1, commit(("orders", [0, 1])), 9)
        response = await brokers.call(1, delete(orders=[0, 7], ghost=[0]), 0)
        assert response.error_code == ErrorCode.NONE
        assert {(t.name, p.partition_index): p.error_code for t in response.topics for p in t.partitions} == {
            ("orders", 0): ErrorCode.NONE,
            ("orders", 7): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            ("ghost", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        }
        assert len(response.topics) == 2
        machine = next(m for m, _ in brokers.groups[1].runtime.machines() if "g" in m.groups)
        assert set(machine.offsets.of_topic("g", "orders")) == {1}


async def test_errors_of_the_group_are_errors_of_the_whole() -> None:
    async with Brokers(2) as brokers:
        brokers.world.create_topic([1], name="orders")
        for node_id, group_id, error in (
            (1, "", ErrorCode.INVALID_GROUP_ID),
            (1, "ghost", ErrorCode.GROUP_ID_NOT_FOUND),
            (2, "g", ErrorCode.NOT_COORDINATOR),
        ):
            response = await brokers.call(node_id, delete(group_id, orders=[0], ghost=[0]), 0)
            assert (response.error_code, response.topics) == (error, [])


async def test_it_waits_for_replication() -> None:
    async with Brokers(2, replicas=(1, 2)) as brokers:
        brokers.world.create_topic([1], name="orders")
        committing = brokers.start(1, commit(("orders", [0])), 9)
        brokers.replicate()
        await committing
        deleting = brokers.start(1, delete(orders=[0]), 0)
        await asyncio.sleep(0)
        assert not deleting.done()
        brokers.replicate()
        assert (await deleting).topics[0].partitions[0].error_code == ErrorCode.NONE
