"""A machine in a small world: a log that is a list, time that is moved by hand, requests with verbs.

world = World()
ada, bob = world.stable("g", "ada", "bob")       # two members of one generation
world.advance(10_001)
bob.heartbeat().assert_error(ErrorCode.UNKNOWN_MEMBER_ID)
"""

from __future__ import annotations

from typing import Any

from blumfeld.coordinator.deadlines import DeadlineQueue
from blumfeld.coordinator.decision import Decision, LogRecord, Ticket
from blumfeld.coordinator.group.classic import ClassicGroup
from blumfeld.coordinator.group.config import GroupConfig
from blumfeld.coordinator.group.machine import GroupMachine
from blumfeld.coordinator.group.member import Client
from blumfeld.env.entropy import SeededEntropy
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.heartbeat import HeartbeatRequest
from blumfeld.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
from blumfeld.protocol.messages.leave_group import LeaveGroupRequest
from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest
from blumfeld.protocol.messages.offset_delete import OffsetDeleteRequest
from blumfeld.protocol.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from blumfeld.protocol.messages.sync_group import SyncGroupRequest

START_MS = 1_700_000_000_000
SESSION_MS = 10_000
REBALANCE_MS = 60_000


def subscription(*topics: str) -> bytes:
    """What a consumer says when it joins: ConsumerProtocolSubscription, version 0."""
    names = b"".join(len(t).to_bytes(2, "big") + t.encode() for t in topics)
    return b"\0\0" + len(topics).to_bytes(4, "big") + names + b"\xff\xff\xff\xff"


Protocols = tuple[tuple[str, bytes], ...]
RANGE: Protocols = (("range", subscription("orders")),)


class Answered(Ticket):
    """A ticket: the request's answer, once there is one."""

    def __init__(self) -> None:
        self.response: Any = None
        self.refused: ErrorCode | None = None

    @property
    def is_parked(self) -> bool:
        return self.response is None and self.refused is None

    @property
    def error(self) -> ErrorCode:
        assert self.response is not None, "not answered"
        return ErrorCode(self.response.error_code)

    def assert_error(self, error: ErrorCode) -> Answered:
        assert self.error is error, f"{self.error!r}, expected {error!r}"
        return self

    def assert_parked(self) -> Answered:
        assert self.is_parked, f"answered: {self.response}"
        return self

    def ok(self) -> Any:
        """The response, which reports no error."""
        self.assert_error(ErrorCode.NONE)
        return self.response


class MachineTimers:
    """Deadlines by a clock that the world moves."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.queue = DeadlineQueue()

    def schedule(self, key: tuple[str, ...], delay_ms: int) -> None:
        self.queue.schedule(key, self.now_ms + max(delay_ms, 0))

    def cancel(self, key: tuple[str, ...]) -> None:
        self.queue.cancel(key)

    def left(self, *key: str) -> int | None:
        """Milliseconds until the deadline of `key`; None if there is none."""
        due = self.queue.due(key)
        return None if due is None else due - self.now_ms


class World:
    """One partition of `__consumer_offsets`."""

    def __init__(
        self, log: list[LogRecord] | None = None, *, seed: int = 1, now_ms: int = START_MS, **config: int
    ) -> None:
        self.config = GroupConfig()._replace(**{"initial_rebalance_delay_ms": 0, **config})
        self.seed = seed
        self.now_ms = now_ms
        self.timers = MachineTimers()
        self.max_record_bytes = 1 << 20
        self.machine = GroupMachine(self.timers, self.config, SeededEntropy(seed), lambda: self.max_record_bytes)
        self.log: list[LogRecord] = []
        self.append_error = ErrorCode.NONE
        for record in log or []:
            self.write(record)
        self.carry_out(self.machine.on_loaded(now_ms))

    # --- the runtime's part ----------------------------------------------------------------------------------------

    def write(self, record: LogRecord, producer_id: int = -1) -> None:
        """The record reaches the machine as bytes, as it does when it is loaded."""
        decoded = self.machine.decode(record.key_bytes, record.value_bytes)
        self.log.append(record)
        if decoded is not None:
            self.machine.replay(decoded, len(self.log) - 1, producer_id)

    def carry_out(self, decision: Decision, ticket: Answered | None = None) -> None:
        """As `Shard.carry_out`, on a log that commits at once."""
        answers = list(decision.answers)
        if decision.records and self.append_error is not ErrorCode.NONE:
            concerned = [answer.ticket for answer in answers] + ([ticket] if ticket else [])
            for refused in concerned:
                assert isinstance(refused, Answered)
                refused.refused = self.append_error
            return
        for record in decision.records:
            self.log.append(record)
            self.machine.replay(record, len(self.log) - 1)
        if decision.then is not None:
            further = decision.then()
            assert not further.records
            answers += further.answers
        for answer in answers:
            assert isinstance(answer.ticket, Answered)
            assert answer.ticket.response is None, "answered twice"
            answer.ticket.response = answer.response

    def advance(self, ms: int) -> None:
        """Time passes; what falls due happens, in order."""
        end = self.timers.now_ms + ms
        while (due := self.timers.queue.next_due()) is not None and due <= end:
            self._set_time(max(due, self.timers.now_ms))
            key = self.timers.queue.pop(self.timers.now_ms)
            if isinstance(key, tuple):
                self.carry_out(self.machine.expire(key, self.now_ms))
        self._set_time(end)

    def _set_time(self, timer_ms: int) -> None:
        self.now_ms += timer_ms - self.timers.now_ms
        self.timers.now_ms = timer_ms

    def settle(self) -> None:
        """Let deadlines happen that are due already (the initial rebalance, where its delay is 0)."""
        self.advance(0)

    def restarted(self, **config: int) -> World:
        """Another broker's machine, loaded from this one's log."""
        values = {**self.config._asdict(), **config}
        return World(self.log, seed=self.seed + 1, now_ms=self.now_ms, **values)

    # --- requests --------------------------------------------------------------------------------------------------

    def join(
        self,
        group_id: str = "g",
        member_id: str = "",
        *,
        instance_id: str | None = None,
        protocols: Protocols = RANGE,
        protocol_type: str = "consumer",
        session_timeout_ms: int = SESSION_MS,
        rebalance_timeout_ms: int = REBALANCE_MS,
        version: int = 9,
        client_id: str = "client",
        connection_id: int = -1,
    ) -> Answered:
        ticket = Answered()
        request = JoinGroupRequest(
            group_id=group_id,
            session_timeout_ms=session_timeout_ms,
            rebalance_timeout_ms=rebalance_timeout_ms,
            member_id=member_id,
            group_instance_id=instance_id,
            protocol_type=protocol_type,
            protocols=[JoinGroupRequest.Protocol(name=name, metadata=metadata) for name, metadata in protocols],
        )
        client = Client(client_id, "/127.0.0.1", connection_id)
        self.carry_out(self.machine.join(request, version, client, ticket, self.now_ms), ticket)
        return ticket

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        *,
        group_id: str = "g",
        instance_id: str | None = None,
        protocol_type: str | None = None,
        protocol_name: str | None = None,
    ) -> Answered:
        ticket = Answered()
        request = SyncGroupRequest(
            group_id=group_id,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance_id,
            protocol_type=protocol_type,
            protocol_name=protocol_name,
            assignments=[
                SyncGroupRequest.Assignment(member_id=m, assignment=a) for m, a in (assignments or {}).items()
            ],
        )
        self.carry_out(self.machine.sync(request, ticket, self.now_ms), ticket)
        return ticket

    def heartbeat(
        self, member_id: str, generation: int, *, group_id: str = "g", instance_id: str | None = None
    ) -> Answered:
        ticket = Answered()
        ticket.response = self.machine.heartbeat(
            HeartbeatRequest(
                group_id=group_id, generation_id=generation, member_id=member_id, group_instance_id=instance_id
            )
        )
        return ticket

    def leave(self, *members: tuple[str, str | None] | str, group_id: str = "g") -> Answered:
        ticket = Answered()
        pairs = [(m, None) if isinstance(m, str) else m for m in members]
        request = LeaveGroupRequest(
            group_id=group_id,
            members=[LeaveGroupRequest.Member(member_id=m, group_instance_id=i) for m, i in pairs],
        )
        self.carry_out(self.machine.leave(request, ticket, self.now_ms), ticket)
        return ticket

    def commit(
        self,
        offsets: dict[tuple[str, int], int],
        *,
        group_id: str = "g",
        member_id: str = "",
        generation: int = -1,
        instance_id: str | None = None,
        metadata: str | None = None,
        retention_ms: int = -1,
        topic_id: bytes = bytes(16),
        version: int = 9,
    ) -> Answered:
        ticket = Answered()
        request = OffsetCommitRequest(
            group_id=group_id,
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            group_instance_id=instance_id,
            retention_time_ms=retention_ms,
            topics=[
                OffsetCommitRequest.Topic(
                    name=topic,
                    topic_id=topic_id,
                    partitions=[
                        OffsetCommitRequest.Topic.Partition(
                            partition_index=partition, committed_offset=offset, committed_metadata=metadata
                        )
                    ],
                )
                for (topic, partition), offset in offsets.items()
            ],
        )
        self.carry_out(self.machine.commit(request, version, ticket, self.now_ms), ticket)
        return ticket

    def commit_error(self, *args: Any, **kwargs: Any) -> ErrorCode:
        """The error of the first partition of a commit."""
        return ErrorCode(self.commit(*args, **kwargs).response.topics[0].partitions[0].error_code)

    def fetch(
        self,
        wanted: dict[str, list[int]] | None,
        *,
        group_id: str = "g",
        require_stable: bool = False,
        topic_id: bytes = bytes(16),
    ) -> OffsetFetchResponse.Group:
        ticket = Answered()
        topics = None
        if wanted is not None:
            topics = [
                OffsetFetchRequest.Group.Topic(name=name, topic_id=topic_id, partition_indexes=partitions)
                for name, partitions in wanted.items()
            ]
        request = OffsetFetchRequest.Group(group_id=group_id, topics=topics)
        self.carry_out(self.machine.fetch(request, ticket, require_stable=require_stable), ticket)
        group: OffsetFetchResponse.Group = ticket.response.groups[0]
        return group

    def offsets(self, group_id: str = "g", **kwargs: Any) -> dict[tuple[str, int], int]:
        """All that the group has committed."""
        answer = self.fetch(None, group_id=group_id, **kwargs)
        return {(t.name, p.partition_index): p.committed_offset for t in answer.topics for p in t.partitions}

    def delete_offsets(self, wanted: dict[str, list[int]], group_id: str = "g") -> Answered:
        ticket = Answered()
        request = OffsetDeleteRequest(
            group_id=group_id,
            topics=[
                OffsetDeleteRequest.Topic(
                    name=name,
                    partitions=[OffsetDeleteRequest.Topic.Partition(partition_index=p) for p in partitions],
                )
                for name, partitions in wanted.items()
            ],
        )
        self.carry_out(self.machine.delete_offsets(request, ticket), ticket)
        return ticket

    def delete(self, *group_ids: str) -> list[ErrorCode]:
        ticket = Answered()
        self.carry_out(self.machine.delete(group_ids, ticket), ticket)
        return [ErrorCode(result.error_code) for result in ticket.response.results]

    # --- stories ---------------------------------------------------------------------------------------------------

    def group(self, group_id: str = "g") -> ClassicGroup:
        return self.machine.groups[group_id]

    def state(self, group_id: str = "g") -> str:
        return str(self.machine.describe(group_id, 5).group_state)

    def consumer(self, name: str, group_id: str = "g", **join: Any) -> Consumer:
        return Consumer(self, name, group_id, **join)

    def stable(self, group_id: str, *names: str, **join: Any) -> list[Consumer]:
        """A group with these members, in their first generation together."""
        consumers = [self.consumer(name, group_id, **join) for name in names]
        self.rebalance(*consumers)
        return consumers

    def rebalance(self, *consumers: Consumer) -> None:
        """Everybody joins and syncs."""
        for consumer in consumers:
            consumer.join()
        self.settle()
        while any(consumer.joining.is_parked for consumer in consumers):
            for consumer in consumers:
                if not consumer.joining.is_parked and consumer.heartbeat().response.error_code:
                    consumer.join()
        for consumer in consumers:
            consumer.take_join()
        for consumer in sorted(consumers, key=lambda c: c.leads):
            consumer.sync()
        assert all(consumer.syncing.error is ErrorCode.NONE for consumer in consumers)


class Consumer:
    """One client of a group, which remembers what it was told."""

    def __init__(self, world: World, name: str, group_id: str, **join: Any) -> None:
        self.world = world
        self.name = name
        self.group_id = group_id
        self.join_arguments = join
        self.member_id = ""
        self.generation = -1
        self.leads = False
        self.members: list[JoinGroupResponse.Member] = []
        self.assignment = b""
        self.joining = Answered()
        self.syncing = Answered()

    def join(self) -> Answered:
        """Join, with the id that is given first if one is."""
        self.joining = self.world.join(self.group_id, self.member_id, client_id=self.name, **self.join_arguments)
        if not self.joining.is_parked and self.joining.response.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = self.joining.response.member_id
            return self.join()
        return self.joining

    def take_join(self) -> JoinGroupResponse:
        """What the join was answered."""
        response: JoinGroupResponse = self.joining.ok()
        self.member_id = response.member_id
        self.generation = response.generation_id
        self.leads = response.leader == response.member_id
        self.members = response.members
        return response

    def sync(self, assignments: dict[str, bytes] | None = None) -> Answered:
        """Sync; the leader assigns everybody its own id unless told otherwise."""
        if self.leads and assignments is None:
            assignments = {member.member_id: member.member_id.encode() for member in self.members}
        self.syncing = self.world.sync(self.member_id, self.generation, assignments, group_id=self.group_id)
        return self.syncing

    def heartbeat(self) -> Answered:
        return self.world.heartbeat(self.member_id, self.generation, group_id=self.group_id)

    def leave(self) -> Answered:
        return self.world.leave(self.member_id, group_id=self.group_id)

    def commit(self, offsets: dict[tuple[str, int], int], **arguments: Any) -> ErrorCode:
        return self.world.commit_error(
            offsets, group_id=self.group_id, member_id=self.member_id, generation=self.generation, **arguments
        )

    @property
    def expects(self) -> bytes:
        """The assignment that `sync` hands out to it."""
        return self.member_id.encode()
