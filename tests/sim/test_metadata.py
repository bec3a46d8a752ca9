"""Brokers under the real controller's decisions, which each hears of when it does: topics come, move and go while
clients wait.

Owns the deeds and the two laws. Nothing raises while metadata is applied (that would stop the node). What a leader has
committed is in every in-sync replica. One seed, one universe; a failure names its seed:

    python -m pytest tests/sim/test_metadata.py -k seed17]
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, cast

import pytest

from blumfeld.broker.api.delete_records import delete_records
from blumfeld.broker.api.fetch import fetch
from blumfeld.broker.api.offset_commit import offset_commit
from blumfeld.broker.api.produce import produce
from blumfeld.cluster.image.directories import LOST_DIRECTORY
from blumfeld.config.sources import Config, Layer
from blumfeld.coordinator.groups import OFFSETS_TOPIC, GroupCoordinator
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from blumfeld.protocol.messages.assign_replicas_to_dirs import AssignReplicasToDirsRequest
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.delete_records import DeleteRecordsRequest
from blumfeld.protocol.messages.delete_topics import DeleteTopicsRequest
from blumfeld.protocol.messages.elect_leaders import ElectLeadersRequest
from blumfeld.protocol.messages.fetch import FetchRequest
from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest
from blumfeld.protocol.messages.produce import ProduceRequest
from blumfeld.protocol.messages.unregister_broker import UnregisterBrokerRequest
from blumfeld.protocol.primitives import ZERO_UUID
from blumfeld.protocol.schema import Record
from tests.cluster.controller.story import Controller
from tests.cluster.world import Member, World, batch, context

BROKERS = (1, 2, 3, 4)
TOPICS = ("a", OFFSETS_TOPIC)
PARTITIONS = 2
STEPS = 300


class Deciding(Controller):
    """The controller's decisions, published to the world's brokers."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        world.commit(*self.image.to_records())

    def append(self, records: Sequence[Record]) -> None:
        super().append(records)
        world = getattr(self, "world", None)
        if world is not None and records:
            world.commit(*records)


class Turmoil:
    """A world, its controller and coordinators, and all that waits."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.world = World(0)
        self.groups: dict[int, GroupCoordinator] = {}
        self.waiting: list[asyncio.Future[Any]] = []
        for node_id in BROKERS:
            self._add(Member(self.world, node_id, MemoryDisk()))
        self.controller = Deciding(self.world)
        for node_id in BROKERS:
            self._register(node_id)

    def _add(self, member: Member) -> None:
        member.with_purgatory()
        config = Config([Layer("test", {"offsets.topic.num.partitions": str(PARTITIONS)})])
        groups = GroupCoordinator(member.broker.env, config, member.replicas, cast(Any, None))
        member.broker.config, member.broker.groups = config, groups
        apply = member.apply

        def apply_to_both(image: Any, delta: Any) -> None:
            apply(image, delta)
            groups.apply(delta, image)

        member.apply = apply_to_both  # type: ignore[method-assign]  # as the node composes them
        self.world.members[member.node_id], self.groups[member.node_id] = member, groups

    def _register(self, node_id: int) -> None:
        self.controller.register(node_id)
        self.world[node_id].membership.broker_epoch = self.controller.epoch_of(node_id)
        self.controller.unfence(node_id)

    def _somebody(self) -> Member:
        return self.world[self.chance.choice(BROKERS)]

    def _ask(self, reply: Any) -> None:
        if isinstance(reply, Awaitable):
            self.waiting.append(asyncio.ensure_future(reply))

    # --- what is decided ---------------------------------------------------------------------------------------

    def create(self) -> None:
        topic = CreateTopicsRequest.Topic(
            name=self.chance.choice(TOPICS),
            num_partitions=PARTITIONS,
            replication_factor=self.chance.randrange(1, 4),
            assignments=[],
            configs=[],
        )
        self.controller.send(CreateTopicsRequest(topics=[topic], timeout_ms=1))

    def delete(self) -> None:
        topic = DeleteTopicsRequest.Topic(name=self.chance.choice(TOPICS), topic_id=ZERO_UUID)
        self.controller.send(DeleteTopicsRequest(topics=[topic], timeout_ms=1))

    def reassign(self) -> None:
        name = self.chance.choice(TOPICS)
        wanted = AlterPartitionReassignmentsRequest.Topic.Partition
        partitions = []
        for index in range(PARTITIONS):
            standing = self.controller.image.topics.partition_by_name(name, index)
            near = [] if standing is None else [*standing.replicas]
            if len(near) > 1 and self.chance.random() < 0.5:
                near.remove(self.chance.choice(near))
            else:
                near.extend(self.chance.sample([broker for broker in BROKERS if broker not in near], len(near) < 4))
            anywhere = self.chance.sample(BROKERS, self.chance.randrange(1, 4))
            target = self.chance.choice([None, near, near, near, anywhere])
            partitions.append(wanted(partition_index=index, replicas=target))
        topic = AlterPartitionReassignmentsRequest.Topic(name=name, partitions=partitions)
        self.controller.send(AlterPartitionReassignmentsRequest(topics=[topic], timeout_ms=1))

    def elect(self) -> None:
        self.controller.send(ElectLeadersRequest(election_type=0, topic_partitions=None, timeout_ms=1))

    def fence_or_unfence(self) -> None:
        self.controller.heartbeat(self.chance.choice(BROKERS), want_fence=self.chance.random() < 0.3)

    def register_anew(self) -> None:
        node_id = self.chance.choice(BROKERS)
        self.controller.send(UnregisterBrokerRequest(broker_id=node_id))
        self._register(node_id)

    def decide_isrs(self) -> None:
        member = self._somebody()
        request = member.isr_queue.next_request()
        if request is None:
            return
        answer = self.controller.send(request)
        if self.chance.random() < 0.9:
            changed = member.isr_queue.answered(answer, self.world.clock.monotonic())
        else:
            changed = member.isr_queue.failed(ErrorCode.REQUEST_TIMED_OUT)
        for partition in changed:
            member.replicas.settle(partition)

    def lose_a_directory(self) -> None:
        member = self._somebody()
        partition = next(iter(member.replicas.all()), None)
        if partition is None:
            return
        partition.log.home.fail(OSError(5, "Input/output error"), "writing")
        member.replicas.directory_failed()
        directory = AssignReplicasToDirsRequest.Directory
        lost = directory.Topic.Partition(partition_index=partition.index)
        topic = directory.Topic(topic_id=partition.topic_id, partitions=[lost])
        self.controller.send(
            AssignReplicasToDirsRequest(
                broker_id=member.node_id,
                broker_epoch=self.controller.epoch_of(member.node_id),
                directories=[directory(id=LOST_DIRECTORY, topics=[topic])],
            )
        )

    # --- what brokers hear, copy and wait for ------------------------------------------------------------------

    def turn_deaf_or_listen(self) -> None:
        node_id = self.chance.choice(BROKERS)
        if node_id in self.world.deaf:
            self.world.deaf.remove(node_id)
            self.world.publish(node_id)
        elif len(self.world.deaf) < 2:
            self.world.deaf.add(node_id)

    def replicate(self) -> None:
        for member in self.world.members.values():
            for leader in sorted(set(member.follows.leaders.values())):
                if self.chance.random() < 0.7:
                    member.fetch(self.world[leader])

    def pass_time(self) -> None:
        self.world.clock.advance(self.chance.choice([0.1, 1, 1, 1, 40]))
        for member in self.world.members.values():
            assert member.purgatory is not None
            member.purgatory.expire()
            member.replicas.shrink_isrs()
            self.groups[member.node_id].clock_moved()

    # --- what clients want -------------------------------------------------------------------------------------

    def produce(self) -> None:
        topic = ProduceRequest.Topic
        data = [topic.Partition(index=index, records=batch("x")) for index in range(PARTITIONS)]
        request = ProduceRequest(
            acks=self.chance.choice([1, -1]),
            timeout_ms=1_000,
            transactional_id=None,
            topic_data=[topic(name=TOPICS[0], partition_data=data)],
        )
        self._ask(produce(self._somebody().broker, context(ApiKey.PRODUCE, 9), request))

    def consume(self) -> None:
        topic = FetchRequest.Topic
        asked = [
            topic.Partition(partition=index, fetch_offset=self.chance.randrange(4), partition_max_bytes=1 << 20)
            for index in range(PARTITIONS)
        ]
        request = FetchRequest(
            max_wait_ms=1_000,
            min_bytes=1,
            session_epoch=self.chance.choice([-1, 0]),
            isolation_level=self.chance.choice([0, 1]),
            topics=[topic(topic=self.chance.choice(TOPICS), partitions=asked)],
        )
        self._ask(fetch(self._somebody().broker, context(ApiKey.FETCH, 12), request))

    def delete_records(self) -> None:
        topic = DeleteRecordsRequest.Topic
        asked = [topic.Partition(partition_index=index, offset=-1) for index in range(PARTITIONS)]
        request = DeleteRecordsRequest(topics=[topic(name=TOPICS[0], partitions=asked)], timeout_ms=1_000)
        self._ask(delete_records(self._somebody().broker, context(ApiKey.DELETE_RECORDS, 2), request))

    def commit_offsets(self) -> None:
        topic = OffsetCommitRequest.Topic
        committed = topic.Partition(partition_index=0, committed_offset=5, committed_metadata=None)
        broker = self._somebody().broker
        for group_id in "abcdef":
            request = OffsetCommitRequest(
                group_id=group_id, member_id="", topics=[topic(name="a", partitions=[committed])]
            )
            self._ask(offset_commit(broker, context(ApiKey.OFFSET_COMMIT, 8), request))

    # --- the laws ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What a leader has committed is in every in-sync replica whose disk is in order."""
        for topic in self.controller.image.topics.by_id.values():
            for index, registration in topic.partitions.items():
                if not registration.has_leader:
                    continue
                leader = self.world[registration.leader].replicas.find(topic.id, index)
                if leader is None or leader.leader_epoch != registration.leader_epoch or leader.log.home.error:
                    continue
                for replica in registration.isr:
                    follower = self.world[replica].replicas.find(topic.id, index)
                    if follower is None:
                        assert replica in self.world.deaf
                    elif follower.log.home.error is None:
                        assert follower.log_end_offset >= leader.high_watermark, (leader, follower)

    async def run(self) -> None:
        """All that happens in one universe."""
        deeds: dict[Callable[[], None], int] = {
            self.create: 3,
            self.delete: 1,
            self.reassign: 15,
            self.elect: 1,
            self.fence_or_unfence: 2,
            self.register_anew: 1,
            self.decide_isrs: 15,
            self.lose_a_directory: 1,
            self.turn_deaf_or_listen: 8,
            self.replicate: 30,
            self.pass_time: 2,
            self.produce: 6,
            self.consume: 3,
            self.delete_records: 1,
            self.commit_offsets: 3,
        }
        try:
            for _ in range(STEPS):
                self.chance.choices([*deeds], [*deeds.values()])[0]()
                await asyncio.sleep(0)
                self.check()
        finally:
            for future in self.waiting:
                future.cancel()
            await asyncio.gather(*self.waiting, return_exceptions=True)
            for node_id, member in self.world.members.items():
                assert member.purgatory is not None
                member.purgatory.close()
                await self.groups[node_id].stop()


@pytest.mark.parametrize("seed", range(100), ids=lambda seed: f"seed{seed}")
async def test_whatever_is_decided_no_broker_fails_and_nothing_committed_is_missing(seed: int) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
    await Turmoil(seed).run()
    assert failures == []
