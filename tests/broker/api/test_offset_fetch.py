"""OffsetFetch: one group or several, by name or id, all or some."""

from __future__ import annotations

import asyncio

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.offset_fetch import OffsetFetchRequest
from tests.broker.api.test_offset_commit import commit
from tests.coordinator.brokers import Brokers

Group = OffsetFetchRequest.Group


async def filled(brokers: Brokers) -> bytes:
    """A topic orders of two partitions, offset 10 committed in the first."""
    topic_id = brokers.world.create_topic([1], partitions=2, name="orders")
    await brokers.call(1, commit(("orders", [0])), 9)
    return topic_id


@pytest.mark.parametrize("version", range(1, 8))
async def test_one_group(version: int) -> None:
    async with Brokers() as brokers:
        await filled(brokers)
        wanted = [OffsetFetchRequest.Topic(name="orders", partition_indexes=[0, 1])]
        response = await brokers.call(1, OffsetFetchRequest(group_id="g", topics=wanted), version)
        assert response.error_code == ErrorCode.NONE
        (topic,) = response.topics
        assert [(p.partition_index, p.committed_offset, p.metadata) for p in topic.partitions] == [
            (0, 10, "m"),
            (1, -1, ""),
        ]


@pytest.mark.parametrize("version", range(2, 8))
async def test_all_of_one_group(version: int) -> None:
    async with Brokers() as brokers:
        await filled(brokers)
        response = await brokers.call(1, OffsetFetchRequest(group_id="g", topics=None), version)
        assert [(t.name, [p.partition_index for p in t.partitions]) for t in response.topics] == [("orders", [0])]


@pytest.mark.parametrize("version", [8, 9])
async def test_several_groups(version: int) -> None:
    async with Brokers() as brokers:
        await filled(brokers)
        some = [Group.Topic(name="orders", partition_indexes=[1])]
        request = OffsetFetchRequest(
            groups=[Group(group_id="g", topics=None), Group(group_id="h", topics=some)], require_stable=True
        )
        response = await brokers.call(1, request, version)
        assert [
            (g.group_id, g.error_code, [p.committed_offset for t in g.topics for p in t.partitions])
            for g in response.groups
        ] == [("g", ErrorCode.NONE, [10]), ("h", ErrorCode.NONE, [-1])]


async def test_by_topic_id() -> None:
    async with Brokers() as brokers:
        topic_id = await filled(brokers)
        wanted = [Group.Topic(topic_id=i, partition_indexes=[0]) for i in (topic_id, b"g" * 16)]
        response = await brokers.call(1, OffsetFetchRequest(groups=[Group(group_id="g", topics=wanted)]), 10)
        assert [
            (t.topic_id, t.partitions[0].committed_offset, t.partitions[0].error_code)
            for t in response.groups[0].topics
        ] == [(topic_id, 10, ErrorCode.NONE), (b"g" * 16, -1, ErrorCode.UNKNOWN_TOPIC_ID)]


async def test_all_by_topic_id_leaves_topics_out_that_have_none() -> None:
    async with Brokers() as brokers:
        topic_id = await filled(brokers)
        request = OffsetFetchRequest(groups=[Group(group_id="g", topics=None)])
        assert [t.topic_id for t in (await brokers.call(1, request, 10)).groups[0].topics] == [topic_id]
        brokers.world.change(
            0, "orders", leader=1
        )  # the topic lives; its offsets outlive it only in other brokers' logs
        machine = next(m for m, _ in brokers.groups[1].runtime.machines() if "g" in m.groups)
        offset = machine.offsets.get("g", "orders", 0)
        assert offset is not None
        machine.offsets.put("g", "gone", 0, offset, -1)
        assert [t.topic_id for t in (await brokers.call(1, request, 10)).groups[0].topics] == [topic_id]
        assert len((await brokers.call(1, request, 9)).groups[0].topics) == 2


@pytest.mark.parametrize("version", range(1, 11))
async def test_another_broker_says_it_is_not_the_coordinator(version: int) -> None:
    async with Brokers(2) as brokers:
        topic_id = await filled(brokers)
        if version < 8:
            wanted = [OffsetFetchRequest.Topic(name="orders", partition_indexes=[0])]
            response = await brokers.call(2, OffsetFetchRequest(group_id="g", topics=wanted), version)
            error = response.error_code if version >= 2 else response.topics[0].partitions[0].error_code
        else:
            named = {"topic_id": topic_id} if version >= 10 else {"name": "orders"}
            groups = [Group(group_id="g", topics=[Group.Topic(**named, partition_indexes=[0])])]
            response = await brokers.call(2, OffsetFetchRequest(groups=groups), version)
            error = response.groups[0].error_code
        assert error == ErrorCode.NOT_COORDINATOR


@pytest.mark.parametrize("version", [7, 8])
async def test_what_is_being_written_is_waited_for(version: int) -> None:
    async with Brokers(2, replicas=(1, 2)) as brokers:
        brokers.world.create_topic([1], name="orders")
        committing = brokers.start(1, commit(("orders", [0])), 9)
        request = (
            OffsetFetchRequest(group_id="g", topics=None)
            if version == 7
            else OffsetFetchRequest(groups=[Group(group_id="g", topics=None)])
        )
        fetching = brokers.start(1, request, version)
        await asyncio.sleep(0)
        assert not fetching.done()
        brokers.replicate()
        await committing
        response = await fetching
        topics = response.topics if version == 7 else response.groups[0].topics
        assert topics[0].partitions[0].committed_offset == 10


async def test_a_write_that_takes_too_long_is_no_error_that_old_consumers_do_not_know() -> None:
    async with Brokers(2, replicas=(1, 2)) as brokers:
        brokers.world.create_topic([1], name="orders")
        committing = brokers.start(1, commit(("orders", [0])), 9)
        fetching = brokers.start(1, OffsetFetchRequest(group_id="g", topics=None), 7)
        await asyncio.sleep(0)
        brokers.world.clock.advance(ms=5_000)
        brokers.groups[1].runtime.expire()
        assert (await fetching).error_code == ErrorCode.NOT_COORDINATOR
        assert (await committing).topics[0].partitions[0].error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
