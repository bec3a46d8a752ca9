"""The group coordinator on real replicas: replication, failover, metadata, connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from blumfeld.coordinator.groups import OFFSETS_TOPIC
from blumfeld.coordinator.replica_log import ReplicaLog
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.heartbeat import HeartbeatRequest
from blumfeld.protocol.messages.list_groups import ListGroupsRequest
from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from blumfeld.protocol.messages.offset_fetch import OffsetFetchRequest
from tests.cluster.world import TOPIC
from tests.coordinator.brokers import Brokers

Make = Callable[..., Brokers]


def commit(group_id: str, offset: int, topic: str = TOPIC) -> OffsetCommitRequest:
    partition = OffsetCommitRequest.Topic.Partition(partition_index=0, committed_offset=offset, committed_metadata=None)
    return OffsetCommitRequest(
        group_id=group_id, member_id="", topics=[OffsetCommitRequest.Topic(name=topic, partitions=[partition])]
    )


def error_of(response: OffsetCommitResponse) -> ErrorCode:
    return ErrorCode(response.topics[0].partitions[0].error_code)


async def offset_of(brokers: Brokers, node_id: int, group_id: str = "g") -> int:
    wanted = OffsetFetchRequest.Group.Topic(name=TOPIC, partition_indexes=[0])
    request = OffsetFetchRequest(groups=[OffsetFetchRequest.Group(group_id=group_id, topics=[wanted])])
    response = await brokers.call(node_id, request, 8)
    assert response.groups[0].error_code == ErrorCode.NONE
    return int(response.groups[0].topics[0].partitions[0].committed_offset)


async def test_a_single_broker_answers_at_once(make_brokers: Make) -> None:
    brokers = make_brokers()
    brokers.world.create_topic([1])
    reply = brokers.start(1, commit("g", 5), 8)
    assert isinstance(reply, OffsetCommitResponse), "no future is made"
    assert error_of(reply) is ErrorCode.NONE
    assert await offset_of(brokers, 1) == 5


async def test_a_commit_waits_for_all_in_sync_replicas(make_brokers: Make) -> None:
    brokers = make_brokers(2, replicas=(1, 2))
    brokers.world.create_topic([1])
    committing = brokers.start(1, commit("g", 5), 8)
    await asyncio.sleep(0)
    assert not committing.done()
    brokers.replicate()
    assert error_of(await committing) is ErrorCode.NONE


async def test_another_broker_takes_the_groups_over(make_brokers: Make) -> None:
    brokers = make_brokers(2, replicas=(1, 2))
    brokers.world.create_topic([1])
    joining = asyncio.ensure_future(brokers.joined("g"))
    while not joining.done():
        await asyncio.sleep(0)
        brokers.replicate(1)
    member = joining.result()
    committing = brokers.start(1, commit("h", 7), 8)
    brokers.replicate()
    await committing

    brokers.fail_over(2, [2])
    beat = HeartbeatRequest(group_id="g", generation_id=1, member_id=member.member_id)
    assert brokers.start(1, beat, 4).error_code == ErrorCode.NOT_COORDINATOR
    assert brokers.start(2, beat, 4).error_code == ErrorCode.NONE, "while it is loaded every member is alive"
    assert brokers.start(2, ListGroupsRequest(), 5).error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    await brokers.loaded(2)
    assert brokers.start(2, beat, 4).error_code == ErrorCode.NONE
    assert await offset_of(brokers, 2, "h") == 7
    (listed,) = [g for g in (await brokers.call(2, ListGroupsRequest(), 5)).groups if g.group_id == "g"]
    assert (listed.group_state, listed.group_type) == ("Stable", "classic")

    brokers.replicate()
    brokers.fail_over(1, [1, 2])
    await brokers.loaded(1)
    assert brokers.start(1, beat, 4).error_code == ErrorCode.NONE


async def test_whoever_waits_is_sent_elsewhere_on_failover(make_brokers: Make) -> None:
    brokers = make_brokers(2, replicas=(1, 2))
    brokers.world.create_topic([1])
    committing = brokers.start(1, commit("g", 5), 8)
    await asyncio.sleep(0)
    brokers.fail_over(2, [2])
    assert error_of(await committing) is ErrorCode.NOT_COORDINATOR


async def test_whoever_waits_is_refused_when_the_replica_goes(make_brokers: Make) -> None:
    brokers = make_brokers(2, replicas=(1, 2))
    brokers.world.create_topic([1])
    committing = brokers.start(1, commit("g", 5), 8)
    await asyncio.sleep(0)
    for index in range(3):
        brokers.world.change(index, OFFSETS_TOPIC, leader=2, isr=[2], replicas=[2])
    assert error_of(await committing) is ErrorCode.NOT_COORDINATOR


async def test_a_replica_that_goes_while_it_is_loaded_leaves_the_others_to_be_loaded(
    make_brokers: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    brokers = make_brokers(2, replicas=(1, 2))
    brokers.world.create_topic([1])
    for group_id in "abcdefgh":  # in all partitions
        brokers.start(1, commit(group_id, 5), 8)
    brokers.replicate()
    going: list[int] = []

    async def read_and_go(log: ReplicaLog, offset: int, max_bytes: int) -> Any:
        if going:
            return await read(log, offset, max_bytes)
        going.append(log._index)
        brokers.world.change(log._index, OFFSETS_TOPIC, leader=1, isr=[1], replicas=[1])
        return b""  # what was to be read in a thread is gone

    read = ReplicaLog.read
    monkeypatch.setattr(ReplicaLog, "read", read_and_go)
    brokers.fail_over(2, [2])
    await brokers.loaded(2)
    assert sorted([*going, *brokers.groups[2].runtime.led]) == [0, 1, 2]


async def test_a_new_epoch_of_the_same_leader_changes_nothing(make_brokers: Make) -> None:
    brokers = make_brokers(2, replicas=(1, 2))
    brokers.world.create_topic([1])
    committing = brokers.start(1, commit("g", 5), 8)
    brokers.fail_over(1, [1, 2])
    brokers.replicate()
    assert error_of(await committing) is ErrorCode.NONE
    assert await offset_of(brokers, 1) == 5


async def test_too_few_replicas_refuse_a_commit(make_brokers: Make) -> None:
    brokers = make_brokers(2, with_topic=False)
    brokers.world.create_topic([1, 2], partitions=3, name=OFFSETS_TOPIC, min_isr=2)
    brokers.world.create_topic([1])
    brokers.fail_over(1, [1])
    assert error_of(brokers.start(1, commit("g", 5), 8)) is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert await offset_of(brokers, 1) == -1


async def test_offsets_of_a_deleted_topic_are_forgotten(make_brokers: Make) -> None:
    brokers = make_brokers()
    brokers.world.create_topic([1])
    await brokers.call(1, commit("g", 5), 8)
    brokers.world.delete_topic()
    brokers.world.create_topic([1])
    assert await offset_of(brokers, 1) == -1


async def test_when_the_topic_itself_is_deleted_its_groups_are_gone(make_brokers: Make) -> None:
    brokers = make_brokers()
    brokers.world.create_topic([1])
    await brokers.call(1, commit("g", 5), 8)
    brokers.world.delete_topic(OFFSETS_TOPIC)
    assert error_of(brokers.start(1, commit("g", 6), 8)) is ErrorCode.NOT_COORDINATOR
    brokers.world.create_topic([1], partitions=5, name=OFFSETS_TOPIC)
    assert brokers.groups[1].topic.partitions == 5
    assert await offset_of(brokers, 1) == -1


async def test_a_member_whose_connection_closed_is_gone_early(make_brokers: Make) -> None:
    brokers = make_brokers()
    left = await brokers.joined("g")
    kept = await brokers.joined("h", instance_id="i")
    groups = brokers.groups[1]
    groups.connection_closed(1)
    brokers.world.clock.advance(ms=501)
    groups.runtime.expire()
    for member, group_id, error in ((left, "g", ErrorCode.UNKNOWN_MEMBER_ID), (kept, "h", ErrorCode.NONE)):
        beat = HeartbeatRequest(group_id=group_id, generation_id=1, member_id=member.member_id)
        assert brokers.start(1, beat, 4).error_code == error
    groups.connection_closed(99)


async def test_a_clock_that_is_moved_ends_sessions(make_brokers: Make) -> None:
    brokers = make_brokers()
    member = await brokers.joined("g")
    brokers.world.clock.advance(ms=10_000)
    brokers.groups[1].clock_moved()
    beat = HeartbeatRequest(group_id="g", generation_id=1, member_id=member.member_id)
    async with asyncio.timeout(5):
        while brokers.groups[1].describe_groups(["g"], 6)[0].group_state != "Empty":
            await asyncio.sleep(0)
    assert brokers.start(1, beat, 4).error_code == ErrorCode.UNKNOWN_MEMBER_ID


# --- the internal topic ----------------------------------------------------------------------------------------------


async def test_the_topic_is_made_when_it_is_needed_once(make_brokers: Make) -> None:
    brokers = make_brokers(with_topic=False)
    topic = brokers.groups[1].topic
    assert not topic.exists
    assert all(await asyncio.gather(topic.ensure(1_000), topic.ensure(1_000)))
    assert await topic.ensure(1_000)
    (asked,) = brokers.controller.asked
    (made,) = asked.topics
    assert (made.name, made.num_partitions, made.replication_factor) == (OFFSETS_TOPIC, 3, 1)
    assert {c.name: c.value for c in made.configs} == {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "segment.bytes": "104857600",
    }


async def test_a_refused_creation_is_told_and_tried_again(make_brokers: Make, caplog: pytest.LogCaptureFixture) -> None:
    brokers = make_brokers(with_topic=False)
    topic = brokers.groups[1].topic
    brokers.controller.refusal = ErrorCode.INVALID_REPLICATION_FACTOR
    assert not await topic.ensure(5_000)
    assert OFFSETS_TOPIC in caplog.text
    brokers.controller.refusal = ErrorCode.NONE
    assert await topic.ensure(5_000)


async def test_somebody_elses_creation_is_as_good(make_brokers: Make) -> None:
    brokers = make_brokers(with_topic=False)
    topic = brokers.groups[1].topic
    brokers.controller.refusal = ErrorCode.TOPIC_ALREADY_EXISTS
    waiting = asyncio.ensure_future(topic.ensure(5_000))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    brokers.world.create_topic([1], partitions=3, name=OFFSETS_TOPIC)
    assert await waiting


async def test_metadata_that_does_not_arrive_is_not_waited_for_forever(make_brokers: Make) -> None:
    brokers = make_brokers(with_topic=False)
    brokers.controller.refusal = ErrorCode.TOPIC_ALREADY_EXISTS
    assert not await brokers.groups[1].topic.ensure(20)
