"""One replica of one partition, as a state machine.

Owns the replica's role, its leader epoch and partition epoch, and (through `leadership.py`) the in-sync replicas and
the high watermark of its log.

Must never know the network, timers, or who waits: methods take `now` and return values; `ReplicaManager.settle` tells
the waiting what has moved. The log is called synchronously.

Invariants
- Partition epochs only rise; a registration with an older one is ignored (the AlterPartition answer may come before the
  metadata that says the same). One with an equal epoch never touches the ISR: a proposal under way stays.
- A leader epoch is in the log's epoch history before anything is appended in it, so that every follower can find out
  where it diverges.
- A follower's log holds the leader's bytes; its high watermark is what the leader said, at most its own end.
- Consumers read from a follower only what its leader has confirmed in this epoch: after a crash of the machine, what is
  below the checkpointed high watermark may be older than a truncation that never reached the disk.

    OFFLINE ──become_leader──> LEADER ──become_follower──> FOLLOWER ──become_leader──> LEADER …
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from blumfeld.cluster.followers import NO_BROKER_EPOCH, Follower, Membership
from blumfeld.cluster.leadership import Leadership
from blumfeld.cluster.reading import Reading, refused, unchanged
from blumfeld.cluster.watching import PartitionWatcher, Settled, Signal
from blumfeld.protocol.batch import RecordBatch
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.results import AppendResult

if TYPE_CHECKING:
    from blumfeld.cluster.image.topics import PartitionRegistration
    from blumfeld.cluster.isr import Isr
    from blumfeld.protocol.primitives import Records
    from blumfeld.storage.log import Log
    from blumfeld.storage.validate import Origin

NO_LEADER: Final = -1
ALL_IN_SYNC: Final = -1
"""acks=all."""
HIGH_WATERMARK: Final = -1
"""DeleteRecords: up to the high watermark."""


class Role(IntEnum):
    """What this replica is, by the metadata applied last."""

    OFFLINE = 0
    FOLLOWER = 1
    LEADER = 2


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
        "confirmed_epoch",
        "index",
        "leader_epoch",
        "leader_id",
        "leadership",
        "log",
        "membership",
        "partition_epoch",
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
        self.role = Role.OFFLINE
        self.leader_id = NO_LEADER
        self.leader_epoch = -1
        self.partition_epoch = -1
        self.confirmed_epoch = -1
        """The leader epoch in which the leader last agreed with this follower's history."""
        self.leadership = Leadership(self, membership, max_lag_s, min_in_sync)
        self.appended = Signal(f"{topic}-{index} appended")
        """Purgatory key: the log end offset moved, or the role changed."""
        self.committed = Signal(f"{topic}-{index} committed")
        """Purgatory key: the high watermark, the ISR or the role moved."""
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

    @property
    def isr(self) -> Isr:
        """The in-sync replicas, as far as known here."""
        return self.leadership.isr

    @property
    def followers(self) -> dict[int, Follower]:
        """The other replicas, on the leader; nobody elsewhere."""
        return self.leadership.followers

    # --- metadata ----------------------------------------------------------------------------------------------

    def become_leader(self, registration: PartitionRegistration, now: float) -> bool:
        """Lead by the metadata's word; True when this is a new leader epoch."""
        if registration.partition_epoch < self.partition_epoch:
            return False
        leadership, was_leader = self.leadership, self.is_leader
        new_epoch = registration.leader_epoch > self.leader_epoch
        follows_on = was_leader and registration.leader_epoch == self.leader_epoch + 1
        if registration.partition_epoch > self.partition_epoch or not was_leader:
            leadership.isr.commit(registration.isr)
        self.role = Role.LEADER
        self.leader_id = self.membership.node_id
        self.partition_epoch = registration.partition_epoch
        leadership.assign(registration)
        if new_epoch:
            self.leader_epoch = registration.leader_epoch
            end = self.log.log_end_offset
            self.log.assign_epoch(self.leader_epoch, end)
            leadership.begin(end, follows_on=follows_on, now=now)
        leadership.advance_high_watermark(now)
        leadership.reconsider(now)
        return new_epoch

    def become_follower(self, registration: PartitionRegistration) -> bool:
        """Follow (or wait for a leader) by the metadata's word; True when the fetcher must start anew."""
        if registration.partition_epoch < self.partition_epoch:
            return False
        new_epoch = registration.leader_epoch > self.leader_epoch or self.role is not Role.FOLLOWER
        self.role = Role.FOLLOWER
        self.leader_id = registration.leader
        self.leader_epoch = registration.leader_epoch
        self.partition_epoch = registration.partition_epoch
        self.leadership.end(registration.isr)
        return new_epoch

    def retire(self) -> None:
        """This broker holds no replica any more; whoever still has a reference finds that it leads nothing."""
        self.role = Role.OFFLINE
        self.leader_id = NO_LEADER
        self.leadership.end(())

    def set_min_in_sync(self, min_in_sync: int, now: float) -> None:
        """The topic's min.insync.replicas changed; a lower one may let the high watermark go on."""
        self.leadership.min_in_sync = min_in_sync
        if self.is_leader:
            self.leadership.advance_high_watermark(now)

    # --- leader ------------------------------------------------------------------------------------------------

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
        leadership, log = self.leadership, self.log
        if acks == ALL_IN_SYNC and leadership.is_under_min_isr:
            return AppendResult(
                ErrorCode.NOT_ENOUGH_REPLICAS,
                message=f"{len(self.isr.committed)} replicas in sync, min.insync.replicas={leadership.min_in_sync}",
            )
        end = log.log_end_offset
        result = log.append_as_leader(records, self.leader_epoch, now_ms=now_ms, origin=origin)
        if result.error is ErrorCode.NONE:
            if leadership.followers:
                leadership.note_caught_up(end)
            leadership.advance_high_watermark(now)
        return result

    def commit_state(self, offset: int) -> ErrorCode | None:
        """What an acks=all append that ends at `offset` (exclusive) is told: NONE, an error, or None for not yet."""
        if self.role is not Role.LEADER:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        return self.leadership.commit_state(offset)

    def delete_records(self, offset: int) -> tuple[ErrorCode, int]:
        """Raise the log's start to `offset` (−1: the high watermark); (error, the offset meant)."""
        if self.role is not Role.LEADER:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER, -1
        if not self.log.config.delete:
            return ErrorCode.POLICY_VIOLATION, -1
        wanted = self.log.high_watermark if offset == HIGH_WATERMARK else offset
        if wanted < 0:
            return ErrorCode.OFFSET_OUT_OF_RANGE, -1
        return self.log.advance_log_start_offset(wanted), wanted

    # --- readers -----------------------------------------------------------------------------------------------

    def check_epoch(self, current_leader_epoch: int, *, must_lead: bool) -> ErrorCode:
        """Whether a reader's idea of the leader epoch (−1: none) fits and this replica may serve it (KIP-320)."""
        if self.log.home.error is not None:
            return ErrorCode.KAFKA_STORAGE_ERROR
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
        if self.role is Role.FOLLOWER and self.confirmed_epoch != self.leader_epoch:
            return refused(ErrorCode.OFFSET_NOT_AVAILABLE)
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
            self.leadership.fetched(replica_id, offset, log_start_offset, end, broker_epoch, now)
        return reading

    def _check_follower(self, replica_id: int, broker_epoch: int, current_leader_epoch: int) -> ErrorCode:
        error = self.check_epoch(current_leader_epoch, must_lead=True)
        if error is not ErrorCode.NONE:
            return error
        follower = self.leadership.followers.get(replica_id)
        if follower is None:
            # It may have been added in metadata that is not applied here yet: it shall ask again.
            return ErrorCode.UNKNOWN_LEADER_EPOCH if current_leader_epoch >= 0 else ErrorCode.NOT_LEADER_OR_FOLLOWER
        is_stale = broker_epoch != NO_BROKER_EPOCH and broker_epoch < max(
            self.membership.registered_epoch(replica_id), follower.broker_epoch or NO_BROKER_EPOCH
        )
        return ErrorCode.NOT_LEADER_OR_FOLLOWER if is_stale else ErrorCode.NONE

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
        self.confirmed_epoch = self.leader_epoch
        if len(records):
            result = log.append_as_follower(records)
            if result.error is ErrorCode.OFFSET_OUT_OF_RANGE and self._begins_within_a_batch(records, leader_log_start):
                result = log.append_as_follower(records)
            if result.error is not ErrorCode.NONE:
                return result
        else:
            result = AppendResult()
        high_watermark = min(leader_high_watermark, log.log_end_offset)
        if high_watermark > log.high_watermark:
            log.update_high_watermark(high_watermark)
        if log.log_start_offset < leader_log_start <= log.high_watermark:
            log.advance_log_start_offset(leader_log_start)
        return result

    def _begins_within_a_batch(self, records: Records, leader_log_start: int) -> bool:
        """Our log ends in the middle of the leader's first batch: begin anew with that batch.

        DeleteRecords can move a start there, the leader's or only ours. Nothing is lost: either all that we have lies
        below the leader's start, or we have nothing. The leader's start will be ours once the high watermark is above.
        """
        first, log = RecordBatch(records), self.log
        end = log.log_end_offset
        has_nothing_else = leader_log_start >= end or log.log_start_offset == end
        fits = first.base_offset < end < first.next_offset and has_nothing_else
        return fits and self.start_over_at(first.base_offset)

    def truncate_to(self, offset: int) -> bool:
        """Drop what the leader does not have, from `offset` on; False where the disk failed (the log is offline)."""
        assert self.role is Role.FOLLOWER
        try:
            self.log.truncate_to(offset)
        except OSError:
            return False
        return True

    def start_over_at(self, offset: int) -> bool:
        """Drop everything: the leader's log starts at `offset`, above our end; False where the disk failed."""
        assert self.role is Role.FOLLOWER
        try:
            self.log.truncate_and_start_at(offset)
        except OSError:
            return False
        return True
