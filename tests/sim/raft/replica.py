"""One simulated replica: the core under test, and a body that carries out its effects as the driver would.

Owns a clock that runs a little fast or slow, a disk that takes its time, and a state machine that is a digest of all
that was committed. While the election state is being made durable nothing else happens, as in the driver.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blumfeld.cluster.raft.core import RaftCore
from blumfeld.cluster.raft.events import (
    AdvanceLogStart,
    Answered,
    Append,
    AppendEpochStart,
    AppendFetched,
    AppendRecords,
    Clean,
    Effect,
    Event,
    Flush,
    Flushed,
    HighWatermark,
    InstallSnapshot,
    PersistElection,
    Received,
    Reply,
    ReplyWithRecords,
    ReplyWithSnapshot,
    ResetLog,
    Send,
    ShutdownComplete,
    SnapshotInstalled,
    SnapshotTaken,
    Tick,
    Truncate,
    WriteSnapshotPart,
)
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import VoteRequest, VoteResponse
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.recovery import FoundSnapshot, recover
from blumfeld.cluster.raft.roles import Leader
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, VoterSet
from blumfeld.protocol.errors import ErrorCode
from tests.sim.raft.disk import Disk, Entry, Operation, SnapshotFile

if TYPE_CHECKING:
    from tests.sim.raft.world import World

NEVER = float("inf")
SNAPSHOT_BYTES = 3
BOOTSTRAP = OffsetAndEpoch(0, 0)


class Replica:
    """A node of the simulated quorum."""

    core: RaftCore

    def __init__(self, world: World, node_id: int, *, voters: VoterSet | None, options: RaftOptions) -> None:
        self.world = world
        self.id = node_id
        self.key = ReplicaKey(node_id, bytes([node_id]) * 16)
        self.endpoint = Endpoint("CONTROLLER", f"node-{node_id}", 9093)
        self.options = options
        self.disk = Disk()
        self.rate = 1.0
        self.offset = 0.0
        self.incarnation = 0
        self.up = self.busy = False
        self.paused_since: float | None = None
        self.stopping = False
        if voters is not None:
            self.disk.snapshots[BOOTSTRAP] = SnapshotFile(0, FoundSnapshot(voters, 1), 1)

    # ------------------------------------------------------------ life

    @property
    def now(self) -> float:
        """The replica's own clock."""
        return self.offset + self.world.now * self.rate

    def start(self) -> None:
        """Recover from the disk, as the driver does."""
        disk = self.disk
        self.incarnation += 1
        self.up, self.stopping = True, False
        self.busy = False
        self.inbox: deque[Event] = deque()
        self.rest: list[Effect] = []
        self.deferred: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self.timer_due = NEVER
        self.download: list[tuple[OffsetAndEpoch, int]] = []
        recovered = recover(
            start_offset=disk.log.start,
            end_offset=disk.log.end,
            epochs=disk.log.epochs(),
            snapshots={id_: file.found for id_, file in disk.snapshots.items()},
            control_batches=[entry.batch for entry in disk.log.entries if entry.batch.voters is not None],
        )
        if recovered.reset_to is not None:
            disk.write(Operation("reset", recovered.reset_to))
        if recovered.advance_to is not None:
            disk.write(Operation("start", recovered.advance_to))
        for obsolete in recovered.obsolete:
            del disk.snapshots[obsolete]
        disk.flushed(len(disk.journal))
        latest = recovered.outline.latest_snapshot or BOOTSTRAP
        self.applied = latest.offset
        self.digest = disk.snapshots[latest].digest if latest in disk.snapshots else 0
        self._check_state()
        self.core = RaftCore(
            self.key,
            endpoints=(self.endpoint,),
            log=recovered.outline,
            persisted=disk.election,
            random=self.world.random.random,
            options=self.options,
            bootstrap=self.world.bootstrap,
        )
        self.carry_out(self.core.start(self.now))
        self._arm()

    def crash(self) -> int:
        """Stop at once; returns how many writes were lost."""
        self.up = False
        self.incarnation += 1
        self.paused_since = None
        kept = self.world.random.choice((0, self.world.random.randint(0, len(self.disk.journal))))
        return self.disk.crash(kept)

    @property
    def _waits(self) -> bool:
        return self.busy or self.paused_since is not None or not self.up

    def step(self, event: Event) -> None:
        """Let the core see `event`; later, where it waits for its disk or stands still."""
        if self._waits:
            self.inbox.append(event)
            return
        self._step(event)
        while self.inbox and not self._waits:
            self._step(self.inbox.popleft())
        if self.up:
            self._arm()

    def _step(self, event: Event) -> None:
        if isinstance(event, Append):
            role = self.core.role
            if not isinstance(role, Leader) or role.epoch != event.epoch:
                return
        self.carry_out(self.core.step(self.now, event))
        self.world.after_step(self)

    def _arm(self) -> None:
        """Have the world call when the core's next deadline has come; a timer that comes earlier anyway will do."""
        due = self.world.now + max(0.0, (self.core.next_deadline - self.now) / self.rate) + 0.01
        if due < self.timer_due:
            self.timer_due = due
            self.world.at(due, self._on_timer, self.incarnation, due)

    def _on_timer(self, incarnation: int, due: float) -> None:
        if incarnation == self.incarnation and due == self.timer_due:
            self.timer_due = NEVER
            self.step(Tick())

    def resume(self, event: Event | None) -> None:
        """Go on after standing still; `event` tells the core of it, where the driver noticed."""
        self.paused_since = None
        if event is not None:
            self.inbox.appendleft(event)
        deferred, self.deferred = self.deferred, []
        for call, arguments in deferred:
            call(*arguments)
        self.step(Tick())

    # ------------------------------------------------------------ effects

    def carry_out(self, effects: list[Effect]) -> None:
        for position, effect in enumerate(effects):
            if isinstance(effect, PersistElection):
                self.busy = True
                self.rest = effects[position + 1 :]
                self._later(self._persisted, effect)
                return
            action = _ACTIONS.get(type(effect))
            if action is not None:
                action(self, effect)

    def _later(self, call: Callable[..., None], *arguments: object) -> None:
        self.world.after_disk(self._if_alive, self.incarnation, call, arguments)

    def _if_alive(self, incarnation: int, call: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if incarnation != self.incarnation:
            return
        if self.paused_since is not None:
            self.deferred.append((call, arguments))
        else:
            call(*arguments)

    def _persisted(self, effect: PersistElection) -> None:
        self.disk.election = effect.state
        self.busy = False
        rest, self.rest = self.rest, []
        self.carry_out(rest)
        self.world.after_step(self)
        self.step(Tick())

    def _append_records(self, effect: AppendRecords) -> None:
        self._append(Entry(effect.batch, effect.payload))

    def _append_epoch_start(self, effect: AppendEpochStart) -> None:
        self.world.invariants.check_new_leader(self, effect)
        self.world.count("election")
        self.world.tempt_fate(self)
        self._append(Entry(effect.batch, ("leader", effect.leader_id)))

    def _append_fetched(self, effect: AppendFetched) -> None:
        for entry in effect.records[: len(effect.batches)]:
            self._append(entry)

    def _append(self, entry: Entry) -> None:
        self.world.invariants.check_entry(self, entry)
        self.disk.write(Operation("append", entry))

    def _truncate(self, effect: Truncate) -> None:
        self.world.invariants.check_truncation(self, effect)
        self.world.count("truncation")
        self.world.tempt_fate(self)
        self.disk.write(Operation("truncate", effect.offset))

    def _reset(self, effect: ResetLog) -> None:
        self.world.count("snapshot installed")
        self.world.tempt_fate(self)
        self.disk.write(Operation("reset", effect.id.offset))
        for other in list(self.disk.snapshots):
            if other < effect.id:
                del self.disk.snapshots[other]
        self.applied, self.digest = effect.id.offset, self.disk.snapshots[effect.id].digest
        self._check_state()

    def _advance_start(self, effect: AdvanceLogStart) -> None:
        self.world.count("log cleaned")
        self.disk.write(Operation("start", effect.offset))
        for obsolete in effect.obsolete:
            del self.disk.snapshots[obsolete]

    def _flush(self, effect: Flush) -> None:
        self._later(self._flushed, effect, len(self.disk.journal))

    def _flushed(self, effect: Flush, journal_length: int) -> None:
        self.disk.flushed(journal_length)
        self.step(Flushed(effect.generation, effect.up_to))

    def _send(self, effect: Send) -> None:
        if isinstance(effect.request, VoteRequest) and not effect.request.pre_vote:
            self.world.invariants.voted(self, effect.request.epoch, self.key)
        self.world.send(self, effect)

    def _reply(self, effect: Reply) -> None:
        response = effect.response
        token = effect.token
        if isinstance(response, VoteResponse) and response.granted and not token.request.pre_vote:
            self.world.invariants.voted(self, token.request.epoch, token.request.candidate)
        self.world.reply(self, token, response)

    def _reply_with_records(self, effect: ReplyWithRecords) -> None:
        entries = self.disk.log.from_offset(effect.offset)[: effect.max_bytes]
        response = effect.response._replace(batches=tuple(entry.batch for entry in entries), records=entries)
        self.world.reply(self, effect.token, response)

    def _reply_with_snapshot(self, effect: ReplyWithSnapshot) -> None:
        response = effect.response
        file = self.disk.snapshots[effect.id]
        if effect.position >= file.size:
            response = response._replace(error=ErrorCode.POSITION_OUT_OF_RANGE)
        else:
            data = [
                (effect.id, at) for at in range(effect.position, min(effect.position + effect.max_bytes, file.size))
            ]
            response = response._replace(size=file.size, data=data)
        self.world.reply(self, effect.token, response)

    def _write_part(self, effect: WriteSnapshotPart) -> None:
        if effect.position == 0:
            self.download = []
        assert len(self.download) == effect.position
        self.download.extend(effect.data)

    def _install(self, effect: InstallSnapshot) -> None:
        assert self.download == [(effect.id, at) for at in range(SNAPSHOT_BYTES)]
        self._later(self._installed, effect.id)

    def _installed(self, id_: OffsetAndEpoch) -> None:
        digest, voters = self.world.snapshot_contents[id_]
        self.disk.snapshots[id_] = SnapshotFile(digest, FoundSnapshot(voters, 1), SNAPSHOT_BYTES)
        self.step(SnapshotInstalled(id_, voters, 1))

    def _high_watermark(self, effect: HighWatermark) -> None:
        invariants = self.world.invariants
        invariants.check_commit(self, effect)
        while self.applied < effect.offset:
            entry = self.disk.log.entry_at(self.applied)
            invariants.check_applied(self, self.applied, entry)
            self.digest = hash((self.digest, entry))
            self.applied += 1
        self._check_state()

    def _check_state(self) -> None:
        if self.digest != self.world.invariants.digest_at(self.applied):
            self.world.invariants.fail(self, f"has another state at {self.applied} than the others")

    def _shut_down(self, effect: ShutdownComplete) -> None:
        self.stopping = True

    # ------------------------------------------------------------ what the state machine does

    def append(self, value: int, count: int) -> None:
        """The client's write, where this replica thinks that it leads."""
        role = self.core.role
        if self.up and not self.busy and isinstance(role, Leader):
            self.step(Append(role.epoch, count, (value,)))

    def take_snapshot(self) -> None:
        """Write a snapshot of the state; it is durable a little later."""
        entry = self.disk.log.entry_at(self.applied - 1)
        if entry is None or entry.batch.last_offset != self.applied - 1 or self.busy:
            return
        id_ = OffsetAndEpoch(self.applied, entry.batch.epoch)
        latest = self.core.log.latest_snapshot
        if latest is None or latest < id_:
            voters, _ = self.core.log.voters_at(self.applied - 1)
            self.world.snapshot_contents[id_] = (self.digest, voters)
            self._later(self._snapshot_taken, id_)

    def _snapshot_taken(self, id_: OffsetAndEpoch) -> None:
        if max(self.disk.snapshots, default=BOOTSTRAP) < id_:
            digest, voters = self.world.snapshot_contents[id_]
            self.disk.snapshots[id_] = SnapshotFile(digest, FoundSnapshot(voters, 1), SNAPSHOT_BYTES)
            self.world.count("snapshot taken")
            self.step(SnapshotTaken(id_))

    def clean(self) -> None:
        """Retention: all but the newest snapshot go, and the log below it."""
        latest = self.core.log.latest_snapshot
        if latest is not None and latest.offset > self.core.log.start_offset:
            self.step(Clean(latest))

    def receive(self, request: Any, token: Any) -> None:
        self.step(Received(request, token))

    def answered(self, correlation_id: int, response: Any) -> None:
        self.step(Answered(correlation_id, response))


_ACTIONS: dict[type, Callable[[Replica, Any], None]] = {
    AppendRecords: Replica._append_records,
    AppendEpochStart: Replica._append_epoch_start,
    AppendFetched: Replica._append_fetched,
    Truncate: Replica._truncate,
    ResetLog: Replica._reset,
    AdvanceLogStart: Replica._advance_start,
    Flush: Replica._flush,
    Send: Replica._send,
    Reply: Replica._reply,
    ReplyWithRecords: Replica._reply_with_records,
    ReplyWithSnapshot: Replica._reply_with_snapshot,
    WriteSnapshotPart: Replica._write_part,
    InstallSnapshot: Replica._install,
    HighWatermark: Replica._high_watermark,
    ShutdownComplete: Replica._shut_down,
}
