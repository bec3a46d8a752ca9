"""A quorum under the test's hands: cores with perfect disks, a network that delivers when told, a clock that waits.

leader, follower, other = quorum.of(3).with_leader(1)
quorum.of(3)                     three voters that know nothing of each other yet
node.time_out()                  its own deadline passes; nobody else's clock moves
quorum.deliver(node, to=other)   what `node` sent to `other`, request or response
quorum.deliver()                 everything, until nobody has anything to say
node.assert_sent(VoteResponse, granted=True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, TypeVar

from blumfeld.cluster.raft.core import RaftCore
from blumfeld.cluster.raft.events import (
    AdvanceLogStart,
    Answered,
    Append,
    AppendEpochStart,
    AppendFetched,
    AppendRecords,
    Effect,
    Event,
    Failed,
    Failure,
    Flush,
    Flushed,
    HighWatermark,
    InstallSnapshot,
    LeaderChanged,
    PeerUnreachable,
    PersistElection,
    Received,
    Reply,
    ReplyWithRecords,
    ReplyWithSnapshot,
    ResetLog,
    Send,
    SnapshotInstalled,
    SnapshotTaken,
    Tick,
    Truncate,
    WriteSnapshotPart,
)
from blumfeld.cluster.raft.listener import LeaderAndEpoch, OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo, Request, Response
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.quorum_state import ElectionState
from blumfeld.cluster.raft.recovery import FoundSnapshot, recover
from blumfeld.cluster.raft.roles import Follower, Leader, Role
from blumfeld.cluster.raft.voters import NO_VOTERS, Endpoint, ReplicaKey, Voter, VoterSet

LISTENER = "CONTROLLER"
SNAPSHOT_SIZE = 10
T = TypeVar("T")


def key_of(node_id: int) -> ReplicaKey:
    return ReplicaKey(node_id, bytes([node_id]) * 16)


def endpoint_of(node_id: int) -> Endpoint:
    return Endpoint(LISTENER, f"host-{node_id}", 9000 + node_id)


def voters_of(*node_ids: int) -> VoterSet:
    return VoterSet(Voter(key_of(node_id), (endpoint_of(node_id),)) for node_id in node_ids)


class Entry(NamedTuple):
    """A batch and its values."""

    batch: BatchInfo
    values: tuple[Any, ...]


@dataclass
class Parcel:
    """A message on its way."""

    source: int
    target: int
    content: Request | Response
    correlation_id: int


class Node:
    """One replica of the test's quorum."""

    core: RaftCore

    def __init__(self, quorum: Quorum, node_id: int, voters: VoterSet | None) -> None:
        self.quorum = quorum
        self.id = node_id
        self.key = key_of(node_id)
        self.endpoints: tuple[Endpoint, ...] = (endpoint_of(node_id),)
        self.persisted: ElectionState | None = None
        self.entries: list[Entry] = []
        self.start_offset = 0
        self.snapshots: dict[OffsetAndEpoch, FoundSnapshot] = {}
        if voters is not None:
            self.snapshots[OffsetAndEpoch(0, 0)] = FoundSnapshot(voters, 1)
        self.holds_flushes = False
        self.flushing: Flush | None = None
        self.effects: list[Effect] = []
        self.sent: list[Request | Response] = []
        self.committed: list[Any] = []
        self.leaders: list[LeaderAndEpoch] = []
        self.answer: Any = None
        self.start()

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Begin, from what is on disk."""
        end = self.entries[-1].batch.last_offset + 1 if self.entries else self.start_offset
        epochs: list[tuple[int, int]] = []
        for entry in self.entries:
            if not epochs or epochs[-1][0] < entry.batch.epoch:
                epochs.append((entry.batch.epoch, max(entry.batch.base_offset, self.start_offset)))
        recovered = recover(
            start_offset=self.start_offset,
            end_offset=end,
            epochs=epochs,
            snapshots=self.snapshots,
            control_batches=[entry.batch for entry in self.entries if entry.batch.voters is not None],
        )
        assert recovered.reset_to is None
        self.committed = []
        self.core = RaftCore(
            self.key,
            endpoints=self.endpoints,
            log=recovered.outline,
            persisted=self.persisted,
            random=self.quorum.random,
            options=self.quorum.options,
            bootstrap=self.quorum.bootstrap,
        )
        self.flushing = None
        self.carry_out(self.core.start(self.quorum.now))

    def restart(self) -> None:
        """Stop and start; its connections break."""
        self.quorum.kill(self)
        self.sent.clear()
        self.quorum.revive(self)

    @property
    def role(self) -> Role:
        return self.core.role

    def is_a(self, *roles: type) -> bool:
        """Whether it is in one of these roles now."""
        return isinstance(self.core.role, roles)

    def as_a(self, role: type[T]) -> T:
        """Its role, which is this one."""
        assert isinstance(self.core.role, role), f"node {self.id} is {self.core.role}"
        return self.core.role

    @property
    def values(self) -> list[Any]:
        """What the log holds but for control records."""
        return [value for entry in self.entries for value in entry.values if value != "epoch start"]

    # ------------------------------------------------------------ what happens to it

    def step(self, event: Event) -> None:
        self.carry_out(self.core.step(self.quorum.now, event))

    def tick(self) -> None:
        self.step(Tick())

    def time_out(self) -> None:
        """The clock goes on to the deadline of its role, and this node notices first."""
        role = self.role
        if isinstance(role, Leader):
            deadline = role.check_quorum_deadline
        elif isinstance(role, Follower):
            deadline = role.fetch_deadline
        else:
            deadline = role.election_deadline
        self.quorum.now = max(self.quorum.now, deadline)
        self.tick()

    def append(self, *values: Any) -> int:
        """One batch of the state machine; returns its last offset."""
        self.step(Append(self.core.epoch, len(values), values))
        return self.core.log.end_offset - 1

    def flush(self) -> None:
        """The disk answers a flush that was held."""
        assert self.flushing is not None, f"node {self.id} waits for no flush"
        flush, self.flushing = self.flushing, None
        self.step(Flushed(flush.generation, flush.up_to))

    def take_snapshot(self, offset: int | None = None) -> OffsetAndEpoch:
        """A snapshot of what is committed (up to `offset`)."""
        offset = self.core.high_watermark if offset is None else offset
        epoch = next(entry.batch.epoch for entry in self.entries if entry.batch.last_offset == offset - 1)
        id_ = OffsetAndEpoch(offset, epoch)
        self.snapshots[id_] = FoundSnapshot(*self.core.log.voters_at(offset - 1))
        self.step(SnapshotTaken(id_))
        return id_

    # ------------------------------------------------------------ what it does

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.effects.append(effect)
            action = _ACTIONS.get(type(effect))
            if action is not None:
                action(self, effect)

    def _persist(self, effect: PersistElection) -> None:
        self.persisted = effect.state

    def _append_records(self, effect: AppendRecords) -> None:
        self.entries.append(Entry(effect.batch, effect.payload))

    def _append_epoch_start(self, effect: AppendEpochStart) -> None:
        self.entries.append(Entry(effect.batch, ("epoch start",)))

    def _append_fetched(self, effect: AppendFetched) -> None:
        self.entries.extend(effect.records[: len(effect.batches)])

    def _truncate(self, effect: Truncate) -> None:
        self.entries = [entry for entry in self.entries if entry.batch.last_offset < effect.offset]

    def _reset(self, effect: ResetLog) -> None:
        self.entries, self.start_offset = [], effect.id.offset

    def _advance_start(self, effect: AdvanceLogStart) -> None:
        self.start_offset = effect.offset
        self.entries = [entry for entry in self.entries if entry.batch.last_offset >= effect.offset]
        for obsolete in effect.obsolete:
            del self.snapshots[obsolete]

    def _flush(self, effect: Flush) -> None:
        assert self.flushing is None, "one flush at a time"
        self.flushing = effect
        if not self.holds_flushes:
            self.flush()

    def _send(self, effect: Send) -> None:
        self.sent.append(effect.request)
        target = int(effect.endpoint.host.removeprefix("host-"))
        self.quorum.parcels.append(Parcel(self.id, target, effect.request, effect.correlation_id))
        self.quorum.calls[self.id, effect.correlation_id] = target

    def _reply(self, effect: Reply | ReplyWithRecords | ReplyWithSnapshot, response: Response | None = None) -> None:
        response = response or effect.response
        self.sent.append(response)
        if effect.token is None:
            self.answer = response
        else:
            source, correlation_id = effect.token
            self.quorum.parcels.append(Parcel(self.id, source, response, correlation_id))

    def _reply_with_records(self, effect: ReplyWithRecords) -> None:
        entries = [entry for entry in self.entries if entry.batch.last_offset >= effect.offset]
        batches = tuple(entry.batch for entry in entries)
        self._reply(effect, effect.response._replace(batches=batches, records=entries))

    def _reply_with_snapshot(self, effect: ReplyWithSnapshot) -> None:
        data = bytes(min(effect.max_bytes, SNAPSHOT_SIZE - effect.position, 4))
        self._reply(effect, effect.response._replace(size=SNAPSHOT_SIZE, data=data))

    def _install(self, effect: InstallSnapshot) -> None:
        found = self.quorum.snapshot(effect.id)
        self.snapshots[effect.id] = found
        self.step(SnapshotInstalled(effect.id, found.voters, found.kraft_version))

    def _high_watermark(self, effect: HighWatermark) -> None:
        self.committed = [
            value
            for entry in self.entries
            if entry.batch.last_offset < effect.offset
            for value in entry.values
            if value != "epoch start"
        ]

    def _leader_changed(self, effect: LeaderChanged) -> None:
        self.leaders.append(effect.leader)

    # ------------------------------------------------------------ what is asked of it

    def receive(self, request: Request) -> Any:
        """Hand it a request made by hand; returns the response."""
        self.answer = None
        self.step(Received(request, None))
        return self.answer

    def assert_sent(self, kind: type[T], **fields: Any) -> T:
        """The last message of that kind has these fields; returns it."""
        found = [message for message in self.sent if isinstance(message, kind)]
        assert found, f"node {self.id} sent no {kind.__name__}, but {self.sent}"
        actual = {name: getattr(found[-1], name) for name in fields}
        assert actual == fields
        return found[-1]

    def assert_not_sent(self, kind: type) -> None:
        assert not [message for message in self.sent if isinstance(message, kind)], self.sent

    def forget(self) -> Node:
        """Forget what was sent and done so far."""
        self.sent.clear()
        self.effects.clear()
        return self

    def did(self, kind: type[T]) -> list[T]:
        """The effects of that kind since `forget`."""
        return [effect for effect in self.effects if isinstance(effect, kind)]


class Quorum:
    """Nodes, their network and their clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.options = RaftOptions()
        self.nodes: dict[int, Node] = {}
        self.parcels: list[Parcel] = []
        self.bootstrap: tuple[Endpoint, ...] = ()
        self.random = Random(0).random
        self.dead: set[int] = set()
        self.calls: dict[tuple[int, int], int] = {}
        """Requests that have no answer yet: (who asked, correlation id) → who was asked."""

    def of(self, voters: int, observers: int = 0, **options: int) -> Quorum:
        """So many voters, with ids from 1 on, and observers after them."""
        self.options = self.options._replace(**options)
        voter_ids = range(1, voters + 1)
        self.bootstrap = tuple(endpoint_of(node_id) for node_id in voter_ids)
        for node_id in range(1, voters + observers + 1):
            self.nodes[node_id] = Node(self, node_id, voters_of(*voter_ids) if node_id <= voters else None)
        return self

    def with_leader(self, node_id: int) -> Quorum:
        """That node has been elected, and everybody has heard of it."""
        node = self.nodes[node_id]
        self.deliver()
        node.time_out()
        self.deliver()
        assert node.is_a(Leader), node.role
        for other in self:
            other.forget()
        return self

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __getitem__(self, node_id: int) -> Node:
        return self.nodes[node_id]

    @property
    def leader(self) -> Node:
        (leader,) = [node for node in self.alive if node.is_a(Leader)]
        return leader

    def snapshot(self, id_: OffsetAndEpoch) -> FoundSnapshot:
        return next(node.snapshots[id_] for node in self if id_ in node.snapshots)

    def advance(self, ms: float) -> None:
        """The clock goes on; every node notices what is due."""
        self.now += ms
        for node in self.alive:
            node.tick()

    def settle(self, ms: int) -> None:
        """So much time passes, in small steps, with everything delivered at once."""
        for _ in range(ms // 10):
            self.advance(10)
            self.deliver()

    # ------------------------------------------------------------ network

    def deliver(self, source: Node | None = None, to: Node | None = None, *, rounds: int = 200) -> None:
        """Deliver what waits from `source` `to` a node, once; with neither, everything until nothing is left."""
        if source is not None or to is not None:
            for parcel in self._take(source, to):
                self._hand_over(parcel)
            return
        for _ in range(rounds):
            if not self.parcels:
                return
            self._hand_over(self.parcels.pop(0))
        raise AssertionError(f"the nodes have no end of things to say: {self.parcels}")

    def deliver_between(self, *nodes: Node, rounds: int = 200) -> None:
        """Deliver among these nodes until nothing is left; what goes to or comes from others is lost."""
        ids = {node.id for node in nodes}
        for _ in range(rounds):
            self.parcels = [parcel for parcel in self.parcels if {parcel.source, parcel.target} <= ids]
            if not self.parcels:
                return
            self._hand_over(self.parcels.pop(0))
        raise AssertionError(f"the nodes have no end of things to say: {self.parcels}")

    def lose(self, source: Node | None = None, to: Node | None = None) -> None:
        """Lose what waits from, or to, a node."""
        self._take(source, to)

    def kill(self, node: Node) -> None:
        """Its process is gone: its connections break, and who connects again is refused."""
        self.lose(node)
        self.lose(to=node)
        self.dead.add(node.id)
        for (source, correlation_id), target in list(self.calls.items()):
            if source == node.id:
                del self.calls[source, correlation_id]
            elif target == node.id:
                del self.calls[source, correlation_id]
                self.nodes[source].step(Failed(correlation_id, Failure.LOST))

    def revive(self, node: Node) -> None:
        """It starts again."""
        self.dead.discard(node.id)
        node.start()

    @property
    def alive(self) -> list[Node]:
        return [node for node in self if node.id not in self.dead]

    def _take(self, source: Node | None, target: Node | None) -> list[Parcel]:
        def fits(parcel: Parcel) -> bool:
            return (source is None or parcel.source == source.id) and (target is None or parcel.target == target.id)

        taken = [parcel for parcel in self.parcels if fits(parcel)]
        self.parcels = [parcel for parcel in self.parcels if not fits(parcel)]
        return taken

    def _hand_over(self, parcel: Parcel) -> None:
        target = self.nodes[parcel.target]
        if target.id in self.dead:
            source = self.nodes[parcel.source]
            source.step(PeerUnreachable(target.id, "refused"))
            source.step(Failed(parcel.correlation_id, Failure.REFUSED))
        elif hasattr(parcel.content, "error"):
            self.calls.pop((target.id, parcel.correlation_id), None)
            target.step(Answered(parcel.correlation_id, parcel.content))  # type: ignore[arg-type]
        else:
            target.step(Received(parcel.content, (parcel.source, parcel.correlation_id)))


_ACTIONS: dict[type, Callable[[Node, Any], None]] = {
    PersistElection: Node._persist,
    AppendRecords: Node._append_records,
    AppendEpochStart: Node._append_epoch_start,
    AppendFetched: Node._append_fetched,
    Truncate: Node._truncate,
    ResetLog: Node._reset,
    AdvanceLogStart: Node._advance_start,
    Flush: Node._flush,
    Send: Node._send,
    Reply: Node._reply,
    ReplyWithRecords: Node._reply_with_records,
    ReplyWithSnapshot: Node._reply_with_snapshot,
    WriteSnapshotPart: lambda node, effect: None,
    InstallSnapshot: Node._install,
    HighWatermark: Node._high_watermark,
    LeaderChanged: Node._leader_changed,
}

__all__ = ["LISTENER", "NO_VOTERS", "Node", "Quorum", "endpoint_of", "key_of", "voters_of"]
