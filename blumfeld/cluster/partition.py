"""One replica of one partition, as a state machine.

Owns the replica's role, its leader epoch and partition epoch, the in-sync replicas (`isr.py`), what is known of each
follower (`followers.py`), and the high watermark of its log.

Must never know the network, timers, or who waits: methods take `now` and return values; `ReplicaManager.settle` tells
the waiting what has moved. The log is called synchronously.

Invariants
- Partition epochs only rise; a registration with an older one is ignored (the AlterPartition answer may come before the
  metadata that says the same). One with an equal epoch never touches the ISR: a proposal under way stays.
- On the leader, the high watermark is the smallest log end offset over the *maximal* ISR and all that are about to
  join it; it never goes back within a leader epoch, and stands still while the ISR is smaller than min.insync.replicas.
- A follower is proposed for the ISR when it has fetched up to the high watermark *and* to the start of this leader
  epoch, and the metadata knows that very incarnation as unfenced.
- A leader epoch is in the log's epoch history before anything is appended in it, so that every follower can find out
  where it diverges.
- A follower's log holds the leader's bytes; its high watermark is what the leader said, at most its own end.

    OFFLINE ──become_leader──> LEADER ──become_follower──> FOLLOWER ──become_leader──> LEADER …
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

from blumfeld.cluster.followers import NEVER, NO_BROKER_EPOCH, Follower, Membership
from blumfeld.cluster.isr import Answered, Isr, IsrProposal
from blumfeld.cluster.reading import Reading, refused, unchanged
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.results import AppendResult

if TYPE_CHECKING:
    from blumfeld.cluster.image.topics import PartitionRegistration
    from blumfeld.protocol.messages.alter_partition import AlterPartitionResponse
    from blumfeld.protocol.primitives import Records
    from blumfeld.storage.log import Log
    from blumfeld.storage.validate import Origin

NO_LEADER: Final = -1
RECOVERED: Final = 0
ALL_IN_SYNC: Final = -1
"""acks=all."""
HIGH_WATERMARK: Final = -1
"""DeleteRecords: up to the high watermark."""


class Role(IntEnum):
    """What this replica is, by the metadata applied last."""

    OFFLINE = 0
    FOLLOWER = 1
    LEADER = 2


class Signal:
    """A key to wait for in the purgatory."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Signal({self.name})"


class PartitionWatcher(Protocol):
    """Somebody who wants to know about one partition, for as long as it is watched."""

    def on_append(self, partition: Partition) -> None:
        """Its log end offset moved."""
        ...

    def on_commit(self, partition: Partition) -> None:
        """Its high watermark, last stable offset, log start or ISR moved."""
        ...

    def on_leadership(self, partition: Partition) -> None:
        """Its role or leader epoch changed, or it is gone."""
        ...


class Settled:
    """What those who wait for a partition have been told already."""

    __slots__ = (
        "end",
        "follower_starts",
        "high_watermark",
        "isr",
        "leader_epoch",
        "proposal",
        "role",
        "stable",
        "start",
    )

    def __init__(self) -> None:
        self.end = self.high_watermark = self.stable = self.start = self.follower_starts = -1
        self.role = Role.OFFLINE
        self.leader_epoch = -1
        self.isr: frozenset[int] | None = None
        self.proposal: IsrProposal | None = None


class Partition:
    """One replica. Handlers and coordinators find it in `ReplicaManager` and check its role after every await.

    Args:
        topic, topic_id, index: which partition.
        log: its log here.
        membership: the cluster's brokers, shared by all partitions of this broker.
        max_lag_s: replica.lag.time.max.ms.
        min_in_sync: min.insync.replicas of the topic.
    """

    __slots__ = (
        "appended",
        "committed",
        "follower_starts",
        "followers",
        "index",
        "isr",
        "leader_epoch",
        "leader_epoch_start",
        "leader_id",
        "log",
        "max_lag_s",
        "membership",
        "min_in_sync",
        "partition_epoch",
        "replicas",
        "role",
        "settled",
        "topic",
        "topic_id",
        "watchers",
    )

    def __init__(
        self,
        topic: str,
        topic_id: bytes,
        index: int,
        log: Log,
        membership: Membership,
        *,
        max_lag_s: float = 30.0,
        min_in_sync: int = 1,
    ) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.index = index
        self.log = log
        self.membership = membership
        self.max_lag_s = max_lag_s
        self.min_in_sync = min_in_sync
        self.role = Role.OFFLINE
        self.leader_id = NO_LEADER
        self.leader_epoch = -1
        self.leader_epoch_start = -1
        """Log end offset when this broker became leader in `leader_epoch`; −1 on a follower."""
        self.partition_epoch = -1
        self.replicas: tuple[int, ...] = ()
        self.followers: dict[int, Follower] = {}
        self.isr = Isr()
        self.appended = Signal(f"{topic}-{index} appended")
        """Purgatory key: the log end offset moved, or the role changed."""
        self.committed = Signal(f"{topic}-{index} committed")
        """Purgatory key: the high watermark, the ISR or the role moved."""
        self.follower_starts = 0
        """Counts moves of followers' log starts, which DeleteRecords waits for."""
        self.settled = Settled()
        self.watchers: list[PartitionWatcher] = []

    def __repr__(self) -> str:
        return (
            f"Partition({self.topic}-{self.index}, {self.role.name.lower()} of epoch {self.leader_epoch}, "
            f"partition epoch {self.partition_epoch}, {self.isr}, {self.log.high_watermark}/{self.log.log_end_offset})"
        )

    @property
    def is_leader(self) -> bool:
        """Whether this replica leads, as far as the metadata applied here says."""
        return self.role is Role.LEADER

    @property
    def high_watermark(self) -> int:
        """All below is committed."""
        return self.log.high_watermark

    @property
    def log_end_offset(self) -> int:
        """The offset that the next record gets."""
        return self.log.log_end_offset

    @property
    def log_start_offset(self) -> int:
        """The first offset that can be read."""
        return self.log.log_start_offset

    @property
    def last_stable_offset(self) -> int:
        """read_committed readers see what is below."""
        return self.log.last_stable_offset

    # --- metadata ----------------------------------------------------------------------------------------------

    def become_leader(self, registration: PartitionRegistration, now: float) -> bool:
        """Lead by the metadata's word; True when this is a new leader epoch."""
        if registration.partition_epoch < self.partition_epoch:
            return False
        new_epoch = registration.leader_epoch > self.leader_epoch
        was_leader = self.is_leader
        if registration.partition_epoch > self.partition_epoch or not was_leader:
            self.isr.commit(registration.isr)
        self.role = Role.LEADER
        self.leader_id = self.membership.node_id
        self.partition_epoch = registration.partition_epoch
        self._assign(registration.replicas)
        if new_epoch:
            self.leader_epoch = registration.leader_epoch
            self.leader_epoch_start = end = self.log.log_end_offset
            self.log.assign_epoch(self.leader_epoch, end)
            for follower in self.followers.values():
                in_sync_at = now if follower.broker_id in self.isr.committed else None
                if was_leader:
                    follower.new_epoch(end, in_sync_at)
                else:
                    follower.forget(NEVER if in_sync_at is None else in_sync_at)
        self._advance_high_watermark(now)
        self.reconsider(now)
        return new_epoch

    def become_follower(self, registration: PartitionRegistration) -> bool:
        """Follow (or wait for a leader) by the metadata's word; True when the fetcher must start anew."""
        if registration.partition_epoch < self.partition_epoch:
            return False
        new_epoch = registration.leader_epoch > self.leader_epoch or self.role is not Role.FOLLOWER
        self.role = Role.FOLLOWER
        self.leader_id = registration.leader
        self.leader_epoch = registration.leader_epoch
        self.leader_epoch_start = -1
        self.partition_epoch = registration.partition_epoch
        self.replicas = registration.replicas
        self.followers = {}
        self.isr.commit(registration.isr)
        return new_epoch

    def retire(self) -> None:
        """This broker holds no replica any more; whoever still has a reference finds that it leads nothing."""
        self.role = Role.OFFLINE
        self.leader_id = NO_LEADER
        self.followers = {}
        self.isr.commit(())

    def set_min_in_sync(self, min_in_sync: int, now: float) -> None:
        """The topic's min.insync.replicas changed; a lower one may let the high watermark go on."""
        self.min_in_sync = min_in_sync
        if self.is_leader:
            self._advance_high_watermark(now)

    def _assign(self, replicas: tuple[int, ...]) -> None:
        self.replicas = replicas
        standing = self.followers
        me = self.membership.node_id
        if standing.keys() != set(replicas) - {me}:
            self.followers = {r: standing.get(r) or Follower(r) for r in replicas if r != me}

    # --- leader: writing ---------------------------------------------------------------------------------------

    def append_as_leader(
        self,
        records: Records,
        *,
        acks: int,
        now: float,
        now_ms: int,
        origin: Origin = "client",
        leader_epoch: int | None = None,
    ) -> AppendResult:
        """Append batches; refusals (not leader, too few in-sync replicas, a bad batch) are the result's `error`.

        Call `ReplicaManager.settle(partition)` afterwards.

        Args:
            acks: 0, 1 or -1; with -1 the append is refused while the ISR is smaller than min.insync.replicas.
            now: monotonic seconds.
            now_ms: wall clock.
            origin: "client" or "coordinator": who made the batches; decides what is validated.
            leader_epoch: refused with FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH unless it is ours; None: do not ask.
        """
        if self.role is not Role.LEADER:
            return AppendResult(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if leader_epoch is not None and leader_epoch != self.leader_epoch:
            return AppendResult(self.check_epoch(leader_epoch, must_lead=True))
        if acks == ALL_IN_SYNC and self.is_under_min_isr:
            return AppendResult(
                ErrorCode.NOT_ENOUGH_REPLICAS,
                message=f"{len(self.isr.committed)} replicas in sync, min.insync.replicas={self.min_in_sync}",
            )
        log = self.log
        end = log.log_end_offset
        result = log.append_as_leader(records, self.leader_epoch, now_ms=now_ms, origin=origin)
        if result.error is ErrorCode.NONE:
            if self.followers:
                self._note_caught_up(end)
            self._advance_high_watermark(now)
        return result

    def _note_caught_up(self, end: int) -> None:
        """Followers that had everything until now were caught up when they last fetched anything."""
        last_fetch = self.membership.last_fetch
        for follower in self.followers.values():
            if follower.log_end_offset == end:
                seen = last_fetch.get(follower.broker_id, follower.last_caught_up)
                if seen > follower.last_caught_up:
                    follower.last_caught_up = seen

    def commit_state(self, offset: int) -> ErrorCode | None:
        """What an acks=all append that ends at `offset` (exclusive) is told: NONE, an error, or None for not yet."""
        if self.role is not Role.LEADER:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        if self.log.high_watermark < offset:
            return None
        if len(self.isr.maximal) < self.effective_min_in_sync:
            return ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        return ErrorCode.NONE

    @property
    def effective_min_in_sync(self) -> int:
        """min.insync.replicas, at most the number of replicas there are."""
        return min(self.min_in_sync, len(self.replicas))

    @property
    def is_under_min_isr(self) -> bool:
        """Fewer committed members than min.insync.replicas: acks=all is refused, the high watermark stands."""
        return len(self.isr.committed) < self.effective_min_in_sync

    def _advance_high_watermark(self, now: float) -> bool:
        """Raise it to the smallest end over the maximal ISR and those that are caught up and may join."""
        log = self.log
        end = lowest = log.log_end_offset
        if self.is_under_min_isr:
            return False
        maximal = self.isr.maximal
        for follower in self.followers.values():
            if follower.log_end_offset < lowest and (
                follower.broker_id in maximal
                or (
                    follower.is_caught_up(end, now, self.max_lag_s)
                    and self.membership.may_join_isr(follower.broker_id, follower.broker_epoch)
                )
            ):
                lowest = follower.log_end_offset
        return lowest > log.high_watermark and log.update_high_watermark(lowest)

    # --- reading -----------------------------------------------------------------------------------------------

    def check_epoch(self, current_leader_epoch: int, *, must_lead: bool) -> ErrorCode:
        """Whether a reader's idea of the leader epoch (−1: none) fits and this replica may serve it (KIP-320)."""
        if current_leader_epoch >= 0 and current_leader_epoch != self.leader_epoch:
            older = current_leader_epoch < self.leader_epoch
            return ErrorCode.FENCED_LEADER_EPOCH if older else ErrorCode.UNKNOWN_LEADER_EPOCH
        if self.role is Role.LEADER or (self.role is Role.FOLLOWER and not must_lead):
            return ErrorCode.NONE
        return ErrorCode.NOT_LEADER_OR_FOLLOWER

    def read_as_consumer(
        self,
        offset: int,
        max_bytes: int,
        *,
        current_leader_epoch: int,
        last_fetched_epoch: int,
        committed_only: bool,
        must_lead: bool,
        at_least_one: bool,
    ) -> Reading:
        """Records below the high watermark, or below the last stable offset for read_committed."""
        error = self.check_epoch(current_leader_epoch, must_lead=must_lead)
        if error is not ErrorCode.NONE:
            return refused(error)
        log = self.log
        if last_fetched_epoch >= 0:
            diverged = self._diverged(offset, last_fetched_epoch)
            if diverged is not None:
                return diverged
        upper = log.last_stable_offset if committed_only else log.high_watermark
        return self._read(offset, max_bytes, upper, at_least_one)

    def read_as_follower(
        self,
        replica_id: int,
        broker_epoch: int,
        offset: int,
        max_bytes: int,
        *,
        current_leader_epoch: int,
        last_fetched_epoch: int,
        log_start_offset: int,
        at_least_one: bool,
        now: float | None,
    ) -> Reading:
        """Records up to the log's end for a follower.

        `now`: its progress is noted, `ReplicaManager.settle(partition)` is due afterwards: the high watermark may have
        moved, or an ISR change be proposed. None: the fetch has waited since, it says nothing about the present.
        """
        error = self._check_follower(replica_id, broker_epoch, current_leader_epoch)
        if error is not ErrorCode.NONE:
            return refused(error)
        if last_fetched_epoch >= 0:
            diverged = self._diverged(offset, last_fetched_epoch)
            if diverged is not None:
                return diverged
        end = self.log.log_end_offset
        reading = self._read(offset, max_bytes, None, at_least_one)
        if reading.error is ErrorCode.NONE and now is not None:
            follower = self.followers[replica_id]
            moved = follower.log_end_offset != offset
            if follower.log_start_offset != log_start_offset:
                self.follower_starts += 1
            follower.fetched(offset, log_start_offset, end, broker_epoch, now)
            self._maybe_expand(follower)
            if moved:
                self._advance_high_watermark(now)
        return reading

    def _check_follower(self, replica_id: int, broker_epoch: int, current_leader_epoch: int) -> ErrorCode:
        error = self.check_epoch(current_leader_epoch, must_lead=True)
        if error is not ErrorCode.NONE:
            return error
        if replica_id not in self.followers:
            # It may have been added in metadata that is not applied here yet: it shall ask again.
            return ErrorCode.UNKNOWN_LEADER_EPOCH if current_leader_epoch >= 0 else ErrorCode.NOT_LEADER_OR_FOLLOWER
        known_epoch = self.membership.alive_epoch(replica_id)
        if broker_epoch != NO_BROKER_EPOCH and known_epoch is not None and known_epoch > broker_epoch:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        return ErrorCode.NONE

    def _read(self, offset: int, max_bytes: int, upper: int | None, at_least_one: bool) -> Reading:
        """What the log has; its offsets are those before the read, so that an append meanwhile cannot be missed."""
        log = self.log
        reading = unchanged(log)
        result = log.read(offset, max_bytes, upper=upper, at_least_one=at_least_one)
        if result.error is not ErrorCode.NONE:
            return refused(result.error)
        reading.records = result.records
        reading.next_offset = result.next_offset
        reading.cold = result.cold
        return reading

    def _diverged(self, offset: int, last_fetched_epoch: int) -> Reading | None:
        """Compare the reader's history with ours: None when they agree up to `offset` (KIP-595)."""
        log = self.log
        epoch, end = log.end_offset_for_epoch(last_fetched_epoch)
        if epoch < 0 or end < 0 or offset < log.log_start_offset:
            return refused(ErrorCode.OFFSET_OUT_OF_RANGE)
        if epoch < last_fetched_epoch or end < offset:
            reading = unchanged(log)
            reading.diverging = (epoch, end)
            return reading
        return None

    # --- leader: the in-sync replicas --------------------------------------------------------------------------

    def _maybe_expand(self, follower: Follower) -> None:
        if follower.broker_id in self.isr.maximal or self.isr.proposal is not None:
            return
        if follower.log_end_offset < max(self.log.high_watermark, self.leader_epoch_start):
            return
        if self.membership.may_join_isr(follower.broker_id, follower.broker_epoch):
            self._propose({*self.isr.committed, follower.broker_id})

    def reconsider(self, now: float) -> None:
        """Propose followers that could not be proposed when they fetched last: fenced, or another change under way.

        An idle partition is fetched once and then not named any more, so nothing else would bring it back.
        """
        if self.role is not Role.LEADER:
            return
        last_fetch = self.membership.last_fetch
        for follower in self.followers.values():
            if now - last_fetch.get(follower.broker_id, NEVER) <= self.max_lag_s:
                self._maybe_expand(follower)

    def out_of_sync(self, now: float) -> list[int]:
        """Members of the ISR that have not been caught up for replica.lag.time.max.ms."""
        end = self.log.log_end_offset
        return [
            member
            for member in self.isr.committed
            if member != self.membership.node_id and not self._is_caught_up(member, end, now)
        ]

    def _is_caught_up(self, member: int, end: int, now: float) -> bool:
        follower = self.followers.get(member)
        return follower is not None and follower.is_caught_up(end, now, self.max_lag_s)

    def shrink_isr(self, now: float) -> bool:
        """Propose to drop members that lag; True when there is a proposal to send (`ReplicaManager.settle`)."""
        if self.role is not Role.LEADER or self.isr.proposal is not None or len(self.isr.committed) < 2:
            return False
        lagging = self.out_of_sync(now)
        if not lagging:
            return False
        self._propose(self.isr.committed.difference(lagging))
        return True

    def _propose(self, members: set[int] | frozenset[int]) -> None:
        isr = tuple((member, self._epoch_of(member)) for member in sorted(members))
        self.isr.propose(IsrProposal(self, self.leader_epoch, self.partition_epoch, isr, RECOVERED))

    def _epoch_of(self, member: int) -> int:
        """The incarnation that fetched; −1 (not checked) for a member that has not fetched from this leader yet."""
        if member == self.membership.node_id:
            return self.membership.broker_epoch
        follower = self.followers.get(member)
        return -1 if follower is None or follower.broker_epoch is None else follower.broker_epoch

    def isr_refused(self, proposal: IsrProposal, error: ErrorCode) -> Answered:
        """The controller refused `proposal`, or could not be asked (any retriable error)."""
        if not self.isr.is_current(proposal):
            return Answered.WAITING
        return self.isr.refused(error)

    def isr_answered(
        self, proposal: IsrProposal, answer: AlterPartitionResponse.Topic.Partition, now: float
    ) -> Answered:
        """The controller committed an ISR, ours as a rule."""
        if not self.isr.is_current(proposal):
            return Answered.WAITING
        if answer.leader_epoch != self.leader_epoch or answer.partition_epoch < self.partition_epoch:
            return Answered.WAITING
        self.partition_epoch = answer.partition_epoch
        self.isr.commit(answer.isr)
        self._advance_high_watermark(now)
        self.reconsider(now)
        return Answered.COMMITTED

    # --- leader: deleting records ------------------------------------------------------------------------------

    def delete_records(self, offset: int) -> tuple[ErrorCode, int]:
        """Raise the log's start to `offset` (−1: the high watermark); (error, the offset meant)."""
        if self.role is not Role.LEADER:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER, -1
        wanted = self.log.high_watermark if offset == HIGH_WATERMARK else offset
        if wanted < 0:
            return ErrorCode.OFFSET_OUT_OF_RANGE, -1
        return self.log.advance_log_start_offset(wanted), wanted

    @property
    def low_watermark(self) -> int:
        """The smallest log start offset over all live replicas: below it, records are gone everywhere."""
        low = self.log.log_start_offset
        for follower in self.followers.values():
            if follower.log_start_offset < low and self.membership.alive_epoch(follower.broker_id) is not None:
                low = follower.log_start_offset
        return low

    # --- follower ----------------------------------------------------------------------------------------------

    @property
    def fetch_position(self) -> tuple[int, int]:
        """(offset, last fetched epoch) of the next fetch. Without any epoch, only what is committed is trusted."""
        log = self.log
        epoch = log.latest_epoch
        return (log.log_end_offset, epoch) if epoch >= 0 else (log.high_watermark, -1)

    def append_as_follower(
        self, records: Records, *, leader_high_watermark: int, leader_log_start: int
    ) -> AppendResult:
        """Write what the leader sent, and take over its high watermark and start. `records` may be empty."""
        assert self.role is Role.FOLLOWER
        log = self.log
        if len(records):
            result = log.append_as_follower(records)
            if result.error is not ErrorCode.NONE:
                return result
        else:
            result = AppendResult()
        high_watermark = min(leader_high_watermark, log.log_end_offset)
        if high_watermark > log.high_watermark:
            log.update_high_watermark(high_watermark)
        if leader_log_start > log.log_start_offset and leader_log_start <= log.high_watermark:
            log.advance_log_start_offset(leader_log_start)
        return result

    def truncate_to(self, offset: int) -> None:
        """Drop what the leader does not have, from `offset` on."""
        assert self.role is Role.FOLLOWER
        self.log.truncate_to(offset)

    def start_over_at(self, offset: int) -> None:
        """Drop everything: the leader's log starts at `offset`, above our end."""
        assert self.role is Role.FOLLOWER
        self.log.truncate_and_start_at(offset)
