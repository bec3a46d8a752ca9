"""The group coordinator of one broker: what handlers ask, and what leadership and metadata tell it.

Owns the runtime over `__consumer_offsets`, that topic's creation, and the checks that need no group. Requests are
answered with the response, or a future of it; refusals are error codes in the response. Must never know connections
or versions' shapes: handlers do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from blumfeld.coordinator.group.config import GroupConfig
from blumfeld.coordinator.group.machine import GroupMachine
from blumfeld.coordinator.group.offsets import refused_commit
from blumfeld.coordinator.group.overview import undescribed
from blumfeld.coordinator.group.rebalance import refused_join, refused_sync
from blumfeld.coordinator.internal_topic import InternalTopic
from blumfeld.coordinator.replica_log import ReplicaLog
from blumfeld.coordinator.runtime import CoordinatorRuntime
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.delete_groups import DeleteGroupsResponse
from blumfeld.protocol.messages.heartbeat import HeartbeatResponse
from blumfeld.protocol.messages.leave_group import LeaveGroupResponse
from blumfeld.protocol.messages.list_groups import ListGroupsResponse
from blumfeld.protocol.messages.offset_delete import OffsetDeleteResponse
from blumfeld.protocol.messages.offset_fetch import OffsetFetchResponse

if TYPE_CHECKING:
    from blumfeld.cluster.controller_channel import ControllerChannel
    from blumfeld.cluster.image.delta import MetadataDelta
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.cluster.partition import Partition
    from blumfeld.cluster.replicas import ReplicaManager
    from blumfeld.config.sources import Config
    from blumfeld.coordinator.decision import Decision, Timers
    from blumfeld.coordinator.group.member import Client
    from blumfeld.coordinator.shard import RequestTicket
    from blumfeld.coordinator.shard_log import ShardLog
    from blumfeld.env.environment import Env
    from blumfeld.protocol.messages.describe_groups import DescribeGroupsResponse
    from blumfeld.protocol.messages.heartbeat import HeartbeatRequest
    from blumfeld.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
    from blumfeld.protocol.messages.leave_group import LeaveGroupRequest
    from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
    from blumfeld.protocol.messages.offset_delete import OffsetDeleteRequest
    from blumfeld.protocol.messages.offset_fetch import OffsetFetchRequest
    from blumfeld.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

R = TypeVar("R")
T = TypeVar("T")
Reply: TypeAlias = R | Awaitable[R]

OFFSETS_TOPIC = "__consumer_offsets"


class GroupCoordinator:
    """Groups of the partitions of `__consumer_offsets` that this broker leads.

    Args: env: clock and entropy. config: the broker's. replicas: the replicas here; the coordinator subscribes to
    their leadership. controller: who creates the topic. disconnect_grace_ms: how long a member lives whose
    connection has closed; None: its whole session, as in Kafka.
    """

    def __init__(
        self,
        env: Env,
        config: Config,
        replicas: ReplicaManager,
        controller: ControllerChannel,
        *,
        disconnect_grace_ms: int | None = None,
    ) -> None:
        self._clock = env.clock
        self._replicas = replicas
        self._disconnect_grace_ms = disconnect_grace_ms
        self.config = group_config = GroupConfig.of(config)

        def make_machine(log: ShardLog, timers: Timers) -> GroupMachine:
            return GroupMachine(timers, group_config, env.entropy, lambda: log.max_batch_bytes)

        self.runtime: CoordinatorRuntime[GroupMachine] = CoordinatorRuntime(
            OFFSETS_TOPIC,
            env.clock,
            make_machine,
            write_timeout_ms=config.int("offsets.commit.timeout.ms"),
            load_buffer_bytes=config.int("offsets.load.buffer.size"),
            codec=Codec(config.int("offsets.topic.compression.codec")),
        )
        self.topic = InternalTopic(
            OFFSETS_TOPIC,
            partitions=config.int("offsets.topic.num.partitions"),
            replication_factor=config.int("offsets.topic.replication.factor"),
            configs={
                "cleanup.policy": "compact",
                "compression.type": "producer",
                "segment.bytes": str(config.int("offsets.topic.segment.bytes")),
            },
            controller=controller,
        )
        replicas.subscribe(self)

    async def stop(self) -> None:
        """Refuse all who wait; end what is under way."""
        await self.topic.stop()
        await self.runtime.stop()

    # --- what the broker tells -------------------------------------------------------------------------------------

    def apply(self, delta: MetadataDelta, image: MetadataImage) -> None:
        """Metadata was applied to the replicas: the offsets of deleted topics go."""
        if delta.topics is not None:
            self.topic.apply(image.topics)
            deleted = [(topic.name, topic.id) for topic in delta.topics.deleted.values()]
            if deleted:
                self.runtime.tell_all(lambda machine, _: machine.forget_topics(deleted))

    def on_elected(self, partition: Partition) -> None:
        """This broker leads a partition."""
        if partition.topic == OFFSETS_TOPIC:
            self.runtime.elected(partition.index, ReplicaLog(self._replicas, partition, self._clock))

    def on_resigned(self, topic: str, index: int, leader_epoch: int | None) -> None:
        """This broker leads it no more."""
        if topic == OFFSETS_TOPIC:
            self.runtime.resigned(index)

    def connection_closed(self, connection_id: int) -> None:
        """A client is gone. Its members need not wait for their session, where that is configured."""
        if self._disconnect_grace_ms is None:
            return
        for machine, _ in self.runtime.machines():
            for group in machine.groups.values():
                for member in group.members.values():
                    if member.connection_id == connection_id:
                        machine.hurry(group.group_id, member.member_id, self._disconnect_grace_ms)

    def clock_moved(self) -> None:
        """The clock was set forward, by a test."""
        self.runtime.clock_moved()

    # --- where groups live -----------------------------------------------------------------------------------------

    def partition_for(self, group_id: str) -> int:
        """The partition of `__consumer_offsets` that the group belongs to."""
        return self.topic.partition_for(group_id)

    # --- membership ------------------------------------------------------------------------------------------------

    def join_group(self, request: JoinGroupRequest, version: int, client: Client) -> Reply[JoinGroupResponse]:
        """JoinGroup: waits until the generation is taken."""
        config = self.config
        if not request.group_id:
            return refused_join(ErrorCode.INVALID_GROUP_ID, request.member_id)
        if not config.min_session_timeout_ms <= request.session_timeout_ms <= config.max_session_timeout_ms:
            return refused_join(ErrorCode.INVALID_SESSION_TIMEOUT, request.member_id)
        return self._ask(
            request.group_id,
            lambda machine, ticket, now_ms: machine.join(request, version, client, ticket, now_ms),
            lambda error: refused_join(error, ""),
        )

    def sync_group(self, request: SyncGroupRequest) -> Reply[SyncGroupResponse]:
        """SyncGroup: waits for the leader's assignment."""
        if not request.group_id:
            return refused_sync(ErrorCode.INVALID_GROUP_ID)
        return self._ask(
            request.group_id,
            lambda machine, ticket, now_ms: machine.sync(request, ticket, now_ms),
            refused_sync,
        )

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        """Heartbeat. While the group is being loaded every member is alive."""
        if not request.group_id:
            return HeartbeatResponse(error_code=ErrorCode.INVALID_GROUP_ID)
        return self._look(request.group_id, lambda machine: machine.heartbeat(request), _refused_heartbeat)

    def leave_group(self, request: LeaveGroupRequest) -> Reply[LeaveGroupResponse]:
        """LeaveGroup, of one or several members."""
        if not request.group_id:
            return LeaveGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID)
        return self._ask(
            request.group_id,
            lambda machine, ticket, now_ms: machine.leave(request, ticket, now_ms),
            lambda error: LeaveGroupResponse(error_code=error),
        )

    # --- offsets ---------------------------------------------------------------------------------------------------

    def commit_offsets(self, request: OffsetCommitRequest, version: int) -> Reply[OffsetCommitResponse]:
        """OffsetCommit of partitions that exist, with topic names and ids."""
        return self._ask(
            request.group_id,
            lambda machine, ticket, now_ms: machine.commit(request, version, ticket, now_ms),
            lambda error: refused_commit(request, error),
        )

    def fetch_offsets(self, request: OffsetFetchRequest.Group, *, require_stable: bool) -> Reply[OffsetFetchResponse]:
        """OffsetFetch of one group, with topic names; the response has that group alone."""
        return self._ask(
            request.group_id,
            lambda machine, ticket, _: machine.fetch(request, ticket, require_stable=require_stable),
            lambda error: refused_fetch(request.group_id, error),
        )

    def delete_offsets(self, request: OffsetDeleteRequest) -> Reply[OffsetDeleteResponse]:
        """OffsetDelete of partitions that exist."""
        if not request.group_id:
            return OffsetDeleteResponse(error_code=ErrorCode.INVALID_GROUP_ID, topics=[])
        return self._ask(
            request.group_id,
            lambda machine, ticket, _: machine.delete_offsets(request, ticket),
            lambda error: OffsetDeleteResponse(error_code=error, topics=[]),
        )

    # --- overview --------------------------------------------------------------------------------------------------

    def describe_groups(self, group_ids: Sequence[str], version: int) -> list[DescribeGroupsResponse.Group]:
        """DescribeGroups."""
        return [self._describe(group_id, version) for group_id in group_ids]

    def list_groups(self, states: Collection[str], types: Collection[str]) -> ListGroupsResponse:
        """ListGroups of the partitions led here; refused while one of them is being loaded."""
        if self.runtime.is_loading:
            return ListGroupsResponse(error_code=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, groups=[])
        groups = [group for machine, _ in self.runtime.machines() for group in machine.list(states, types)]
        return ListGroupsResponse(error_code=ErrorCode.NONE, groups=groups)

    def delete_groups(self, group_ids: Collection[str]) -> list[Reply[DeleteGroupsResponse]]:
        """DeleteGroups, partition by partition; each response has the groups of one."""
        by_partition: dict[int, list[str]] = {}
        for group_id in dict.fromkeys(group_ids):
            by_partition.setdefault(self.partition_for(group_id), []).append(group_id)
        return [self._delete(partition, ids) for partition, ids in by_partition.items()]

    def _describe(self, group_id: str, version: int) -> DescribeGroupsResponse.Group:
        return self._look(
            group_id,
            lambda machine: machine.describe(group_id, version),
            lambda error: undescribed(group_id, error),
        )

    def _delete(self, partition: int, group_ids: list[str]) -> Reply[DeleteGroupsResponse]:
        def refuse(error: ErrorCode) -> DeleteGroupsResponse:
            return DeleteGroupsResponse(
                results=[DeleteGroupsResponse.Result(group_id=g, error_code=error) for g in group_ids]
            )

        return self.runtime.request(partition, lambda machine, ticket, _: machine.delete(group_ids, ticket), refuse)

    # --- the way into the runtime ----------------------------------------------------------------------------------

    def _ask(
        self,
        group_id: str,
        decide: Callable[[GroupMachine, RequestTicket[R], int], Decision],
        refuse: Callable[[ErrorCode], R],
    ) -> R | asyncio.Future[R]:
        return self.runtime.request(self.partition_for(group_id), decide, refuse)

    def _look(self, group_id: str, look: Callable[[GroupMachine], T], refuse: Callable[[ErrorCode], T]) -> T:
        return self.runtime.look(self.partition_for(group_id), look, refuse)


def _refused_heartbeat(error: ErrorCode) -> HeartbeatResponse:
    loading = error is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    return HeartbeatResponse(error_code=ErrorCode.NONE if loading else error)


def refused_fetch(group_id: str, error: ErrorCode) -> OffsetFetchResponse:
    """OffsetFetch's answer for a group that is refused. Consumers know no COORDINATOR_NOT_AVAILABLE here."""
    if error is ErrorCode.COORDINATOR_NOT_AVAILABLE:
        error = ErrorCode.NOT_COORDINATOR
    return OffsetFetchResponse(groups=[OffsetFetchResponse.Group(group_id=group_id, topics=[], error_code=error)])
