"""A replicating cluster in one process, moved by hand: brokers over memory disks, metadata by real records.

`World` is controller and network: it decides what the tests say, publishes it to the brokers one by one, and carries
Fetch and AlterPartition as bytes. Nothing happens unless a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, cast

from blumfeld.broker.api.fetch import fetch
from blumfeld.broker.context import Broker, Context
from blumfeld.broker.dispatch import Peer
from blumfeld.broker.recently_fenced import RecentlyFenced
from blumfeld.broker.sessions import FetchSessions
from blumfeld.cluster.followers import Membership
from blumfeld.cluster.image.delta import MetadataDelta
from blumfeld.cluster.image.image import EMPTY_IMAGE, MetadataImage
from blumfeld.cluster.isr import IsrProposal
from blumfeld.cluster.isr_changes import IsrQueue
from blumfeld.cluster.partition import Partition
from blumfeld.cluster.replicas import ReplicaManager
from blumfeld.cluster.replication import FetchOptions, Replication
from blumfeld.cluster.waiting import Purgatory
from blumfeld.cluster.watching import Signal
from blumfeld.config.sources import Config, Layer
from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Disk
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.environment import Env
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.env.net import RealNetwork
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.alter_partition import AlterPartitionRequest, AlterPartitionResponse
from blumfeld.protocol.messages.fetch import FetchRequest, FetchResponse
from blumfeld.protocol.messages.header import RequestHeader
from blumfeld.protocol.messages.metadata_log import (
    BrokerRegistrationChangeRecord,
    ConfigRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from blumfeld.protocol.records import Record, build_batch
from blumfeld.protocol.schema import Record as MetadataRecord
from blumfeld.storage.errors import StorageError
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig
from blumfeld.storage.results import AppendResult

FETCH_VERSION = 17
TOPIC = "t"
DIRECTORY = bytes(16)
"""Where all replicas of a world lie, as their metadata says."""


def context(key: ApiKey, version: int, client_id: str = "test") -> Context:
    """A request's surroundings, as if it came from a client on this machine."""
    header = RequestHeader(request_api_key=key, request_api_version=version, correlation_id=1, client_id=client_id)
    return Context(header, Peer(1, "PLAINTEXT", "127.0.0.1", "127.0.0.1", 9092))


def batch(*values: str, **options: Any) -> bytearray:
    """A record batch as a producer sends it."""
    records = [Record(i, 1_700_000_000_000, None, value.encode(), ()) for i, value in enumerate(values)]
    return bytearray(build_batch(records, **options))


class Logs:
    """What a replica manager asks of a log manager, over one disk."""

    def __init__(self, disk: Disk, clock: ManualClock) -> None:
        self.disk = disk
        self.clock = clock
        self.by_name: dict[tuple[str, int], Log] = {}
        self.high_watermarks: dict[tuple[str, int], int] = {}
        self.damaged: set[tuple[str, int]] = set()
        self.flushes: list[tuple[Log, Future[int]]] = []

    def create(
        self,
        topic: str,
        partition: int,
        topic_id: bytes,
        overrides: Mapping[str, str] | None = None,
        *,
        directory_id: bytes | None = None,
        holds_data: bool = False,
    ) -> Log:
        if (topic, partition) in self.damaged:
            raise StorageError(f"{topic}-{partition} is damaged")
        log = self.by_name.get((topic, partition))
        if log is None:
            log = self.by_name[topic, partition] = Log.open(
                f"/data/{topic}-{partition}",
                LogConfig(),
                self.disk,
                self.clock,
                topic_id=topic_id,
                high_watermark=self.high_watermarks.get((topic, partition), 0),
            )
        return log

    def get(self, topic: str, partition: int) -> Log | None:
        return self.by_name.get((topic, partition))

    def flushed(self, log: Log, offset: int) -> Future[int]:
        """A flush that is done when the test says so."""
        self.flushes.append((log, Future()))
        return self.flushes[-1][1]

    def flush(self, *, error: OSError | None = None) -> None:
        """All that was asked for is on the device, or cannot be brought there."""
        for log, future in self.flushes:
            if future.set_running_or_notify_cancel():
                future.set_exception(error) if error is not None else future.set_result(log.flush())
        self.flushes.clear()

    def delete(self, topic: str, partition: int) -> None:
        if (topic, partition) in self.damaged:
            self.damaged.remove((topic, partition))
            return
        self.by_name.pop((topic, partition)).abandon()
        self.disk.remove_tree(f"/data/{topic}-{partition}")

    def update_config(self, config: Config, overrides: Any) -> None:
        self.config = config

    def directory_ids(self) -> list[bytes]:
        return [DIRECTORY]

    def directory_of(self, log: Log) -> bytes:
        return DIRECTORY

    def update_topic_config(self, topic: str, overrides: Mapping[str, str]) -> None:
        pass

    def logs(self) -> Iterator[Log]:
        yield from list(self.by_name.values())


class Follows:
    """The replica manager's fetchers, moved by hand."""

    def __init__(self, broker: Member) -> None:
        self._broker = broker
        self.leaders: dict[Partition, int] = {}

    def follow(self, partition: Partition) -> None:
        self.unfollow(partition)
        self.leaders[partition] = partition.leader_id
        self._broker.replication(partition.leader_id).follow(partition)

    def unfollow(self, partition: Partition) -> None:
        leader = self.leaders.pop(partition, None)
        if leader is not None:
            self._broker.replication(leader).unfollow(partition)

    def brokers_changed(self, broker_ids: Iterable[int]) -> None:
        pass

    def drop_idle(self) -> None:
        pass


class Member:
    """One broker of the world."""

    def __init__(self, world: World, node_id: int, disk: Disk) -> None:
        self.world = world
        self.node_id = node_id
        self.disk = disk
        self.logs = Logs(disk, world.clock)
        self.image: MetadataImage = EMPTY_IMAGE
        self.woken: list[Signal] = []
        self.membership = Membership(node_id, EMPTY_IMAGE.cluster)
        self.isr_queue = IsrQueue(self.membership)
        self.proposals: list[IsrProposal] = []
        self.directories: dict[tuple[bytes, int], bytes] = {}
        self.follows = Follows(self)
        self._replications: dict[int, Replication] = {}
        self.purgatory: Purgatory | None = None
        config = Config([Layer("test", {"replica.lag.time.max.ms": "30000"})])
        self.replicas = ReplicaManager(
            cast(Any, self.logs),
            self.membership,
            world.clock,
            config,
            wake=self._wake,
            followed=self.follows,
            propose=self._propose,
            note_directory=lambda topic_id, index, directory_id: self.directories.update(
                {(topic_id, index): directory_id}
            ),
        )
        self.replicas.begin()
        env = Env(world.clock, SeededEntropy(node_id), disk, RealNetwork())
        self.broker = Broker(
            env=env,
            config=config,
            node_id=node_id,
            cluster_id="world",
            image=EMPTY_IMAGE,
            replicas=self.replicas,
            groups=cast(Any, None),
            controller=cast(Any, None),
            purgatory=cast(Any, None),
            fetch_sessions=FetchSessions(),
            recently_fenced=RecentlyFenced(world.clock),
        )

    def _wake(self, signal: Signal) -> None:
        self.woken.append(signal)
        if self.purgatory is not None:
            self.purgatory.check(signal)

    def _propose(self, proposal: IsrProposal) -> None:
        self.proposals.append(proposal)
        self.isr_queue.submit(proposal)

    def with_purgatory(self) -> Purgatory:
        """Let requests wait here (needs a running loop)."""
        self.purgatory = self.broker.purgatory = Purgatory(self.world.clock)
        return self.purgatory

    def replication(self, leader: int) -> Replication:
        found = self._replications.get(leader)
        if found is None:
            found = self._replications[leader] = Replication(self.node_id, FetchOptions(max_wait_ms=0, min_bytes=0))
        return found

    def partition(self, index: int = 0, topic: str = TOPIC) -> Partition:
        found = self.replicas.find_by_name(topic, index)
        assert found is not None, f"broker {self.node_id} has no replica of {topic}-{index}"
        return found

    # --- verbs -------------------------------------------------------------------------------------------------

    def apply(self, image: MetadataImage, delta: MetadataDelta) -> None:
        self.image = self.broker.image = image
        self.replicas.apply(delta, image)

    def produce(
        self, *values: str, acks: int = 1, index: int = 0, leader_epoch: int | None = None, **options: Any
    ) -> AppendResult:
        """Append one batch here, as a client would."""
        partition = self.partition(index)
        clock = self.world.clock
        result = partition.append_as_leader(
            batch(*values, **options),
            acks=acks,
            now=clock.monotonic(),
            now_ms=clock.time_ms(),
            leader_epoch=leader_epoch,
        )
        self.replicas.settle(partition)
        return result

    def fetch(self, leader: Member, *, times: int = 1) -> FetchResponse | None:
        """Fetch from `leader` and take the answer in, `times` times."""
        answer = None
        for _ in range(times):
            request = self.ask(leader)
            if request is None:
                return None
            number = self.replication(leader.node_id).request_number
            answer = leader.serve(request)
            self.take(leader, number, answer)
        return answer

    def ask(self, leader: Member) -> FetchRequest | None:
        return self.replication(leader.node_id).next_request(self.membership.broker_epoch, self.world.clock.monotonic())

    def serve(self, request: FetchRequest) -> FetchResponse:
        """Answer a replica's fetch, through the wire format both ways."""
        decoded = FetchRequest.decode(request.encode(FETCH_VERSION), FETCH_VERSION)
        answer = fetch(self.broker, context(ApiKey.FETCH, FETCH_VERSION, "replica"), decoded)
        assert isinstance(answer, FetchResponse)
        return FetchResponse.decode(answer.encode(FETCH_VERSION), FETCH_VERSION)

    def take(self, leader: Member, number: int, answer: FetchResponse) -> None:
        now = self.world.clock.monotonic()
        for partition in self.replication(leader.node_id).answered(number, answer, now):
            self.replicas.settle(partition)

    def values(self, index: int = 0) -> list[str]:
        """All record values of the log here."""
        from blumfeld.protocol.batch import iterate_batches
        from blumfeld.protocol.records import read_records

        log = self.partition(index).log
        result = log.read(log.log_start_offset, 1 << 30)
        found = []
        for one in iterate_batches(result.records):
            found += [(record.value or b"").decode() for record in read_records(one)]
        return found


class World:
    """Controller, network and clock of a few brokers."""

    def __init__(self, brokers: int = 3) -> None:
        self.clock = ManualClock()
        self.image: MetadataImage = EMPTY_IMAGE
        self.offset = -1
        self.next_topic = 1
        self.members: dict[int, Member] = {}
        self.deaf: set[int] = set()
        """Brokers that metadata does not reach now."""
        for node_id in range(1, brokers + 1):
            self.members[node_id] = Member(self, node_id, MemoryDisk())
            self.register(node_id)

    def __getitem__(self, node_id: int) -> Member:
        return self.members[node_id]

    # --- the controller's part ---------------------------------------------------------------------------------

    def commit(self, *records: MetadataRecord) -> None:
        """Append metadata; brokers that are not deaf apply it."""
        delta = MetadataDelta(self.image).replay_all(records)
        self.offset += len(records)
        self.image = delta.apply(self.offset, 1)
        for node_id in self.members:
            if node_id not in self.deaf:
                self.publish(node_id)

    def publish(self, node_id: int) -> None:
        """Bring one broker's metadata up to date."""
        from blumfeld.cluster.image.delta import difference

        member = self.members[node_id]
        member.apply(self.image, difference(member.image, self.image))

    def register(self, node_id: int) -> None:
        """A broker (re)registers, unfenced: a new broker epoch."""
        epoch = self.offset + 1
        self.commit(
            RegisterBrokerRecord(
                broker_id=node_id,
                incarnation_id=bytes([node_id]) * 16,
                broker_epoch=epoch,
                end_points=[
                    RegisterBrokerRecord.Endpoint(
                        name="PLAINTEXT", host=f"host{node_id}", port=9000 + node_id, security_protocol=0
                    )
                ],
                features=[],
                rack=None,
                fenced=False,
            )
        )
        self.members[node_id].membership.broker_epoch = epoch

    def fence(self, node_id: int, fenced: bool = True) -> None:
        broker = self.image.cluster.brokers[node_id]
        self.commit(
            BrokerRegistrationChangeRecord(
                broker_id=node_id, broker_epoch=broker.epoch, fenced=1 if fenced else -1, in_controlled_shutdown=0
            )
        )

    def create_topic(
        self, replicas: Iterable[int], *, partitions: int = 1, name: str = TOPIC, min_isr: int = 1
    ) -> bytes:
        """A topic whose partitions all have these replicas; the first one leads."""
        topic_id = b"topic-id" + self.next_topic.to_bytes(8, "big")
        self.next_topic += 1
        chosen = list(replicas)
        records: list[MetadataRecord] = [TopicRecord(name=name, topic_id=topic_id)]
        if min_isr != 1:
            records.append(
                ConfigRecord(resource_type=2, resource_name=name, name="min.insync.replicas", value=str(min_isr))
            )
        for index in range(partitions):
            records.append(
                PartitionRecord(
                    partition_id=index,
                    topic_id=topic_id,
                    replicas=chosen,
                    isr=chosen,
                    removing_replicas=[],
                    adding_replicas=[],
                    leader=chosen[0],
                    leader_epoch=0,
                    partition_epoch=0,
                    directories=[bytes(16)] * len(chosen),
                )
            )
        self.commit(*records)
        return topic_id

    def delete_topic(self, name: str = TOPIC) -> None:
        self.commit(RemoveTopicRecord(topic_id=self.image.topics.by_name[name].id))

    def change(self, index: int = 0, topic: str = TOPIC, **fields: Any) -> None:
        """PartitionChangeRecord: `leader=2`, `isr=[2, 3]`, `replicas=[…]`."""
        topic_id = self.image.topics.by_name[topic].id
        self.commit(PartitionChangeRecord(partition_id=index, topic_id=topic_id, **fields))

    def elect(self, leader: int, isr: Iterable[int], index: int = 0) -> None:
        self.change(index, leader=leader, isr=list(isr))

    def decide_isr(self, member: Member, *, publish: bool = True) -> AlterPartitionResponse | None:
        """Take the broker's AlterPartition and agree; it hears the answer, and the metadata unless told otherwise."""
        request = member.isr_queue.next_request()
        if request is None:
            return None
        answer = self.answer_to(request)
        if publish:
            for node_id in self.members:
                if node_id not in self.deaf:
                    self.publish(node_id)
        for partition in member.isr_queue.answered(answer, self.clock.monotonic()):
            member.replicas.settle(partition)
        return answer

    def answer_to(self, request: AlterPartitionRequest) -> AlterPartitionResponse:
        """The controller's decision, committed; nobody hears of it yet."""
        topics = []
        for topic in request.topics:
            answers = []
            for asked in topic.partitions:
                standing = self.image.topics.partition(topic.topic_id, asked.partition_index)
                assert standing is not None
                error = ErrorCode.NONE
                if asked.leader_epoch != standing.leader_epoch:
                    error = ErrorCode.FENCED_LEADER_EPOCH
                elif asked.partition_epoch != standing.partition_epoch:
                    error = ErrorCode.INVALID_UPDATE_VERSION
                else:
                    deaf, self.deaf = self.deaf, set(self.members)
                    self.commit(
                        PartitionChangeRecord(
                            partition_id=asked.partition_index,
                            topic_id=topic.topic_id,
                            isr=[state.broker_id for state in asked.new_isr_with_epochs],
                        )
                    )
                    self.deaf = deaf
                    standing = self.image.topics.partition(topic.topic_id, asked.partition_index)
                    assert standing is not None
                answers.append(
                    AlterPartitionResponse.Topic.Partition(
                        partition_index=asked.partition_index,
                        error_code=error,
                        leader_id=standing.leader,
                        leader_epoch=standing.leader_epoch,
                        isr=list(standing.isr),
                        partition_epoch=standing.partition_epoch,
                    )
                )
            topics.append(AlterPartitionResponse.Topic(topic_id=topic.topic_id, partitions=answers))
        return AlterPartitionResponse(error_code=0, topics=topics)

    # --- conveniences ------------------------------------------------------------------------------------------

    def replicate(self, *, rounds: int = 3) -> None:
        """Let every follower fetch from every leader, a few times."""
        for _ in range(rounds):
            for follower in self.members.values():
                for leader in set(follower.follows.leaders.values()):
                    follower.fetch(self.members[leader])

    def restart(self, node_id: int, *, lose_unsynced: bool = False) -> Member:
        """The broker's process ends and begins again on its disk, deaf to metadata until published to."""
        old = self.members[node_id]
        high_watermarks = {(log.topic, log.partition): log.high_watermark for log in old.logs.by_name.values()}
        for log in old.logs.by_name.values():
            log.close()
        member = self.members[node_id] = Member(self, node_id, old.disk)
        member.logs.high_watermarks = high_watermarks
        for log in old.logs.by_name.values():
            assert log.topic_id is not None
            member.logs.create(log.topic, log.partition, log.topic_id)
        return member
