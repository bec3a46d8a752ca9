"""What leading a partition means: followers, the in-sync replicas, and how far records are committed.

Owns the followers (`followers.py`) and the ISR with a change under way (`isr.py`) of one partition, and the rules that
connect them with the high watermark. Follower replicas have one too, with no followers in it.

Must never know the network, timers, or who waits.

Invariants
- The high watermark is the smallest log end offset over the *maximal* ISR and all that are about to join it; it stands
  still while the committed ISR is smaller than min.insync.replicas, and never goes back within a leader epoch.
- A follower is proposed for the ISR when it has fetched up to the high watermark *and* to the start of this leader
  epoch, and the metadata knows that very incarnation as unfenced and its log directory as online. (Below the start of
  the epoch there may be committed records above the high watermark that is known here.)
- A member is proposed to leave when it has not been caught up for replica.lag.time.max.ms.
- Nothing is proposed while a proposal is under way.
- What was learned of a follower counts only while nobody else can have led since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blumfeld.cluster.followers import NEVER, Follower, Membership
from blumfeld.cluster.isr import Answered, Isr, IsrProposal
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blumfeld.cluster.image.topics import PartitionRegistration
    from blumfeld.cluster.partition import Partition
    from blumfeld.protocol.messages.alter_partition import AlterPartitionResponse

RECOVERED: Final = 0
"""An unclean leader recovers nothing: its log is the truth from now on, and its first proposal says so."""


class Leadership:
    """Followers and ISR of one partition.

    Args:
        partition: whose they are.
        membership: the cluster's brokers.
        max_lag_s: replica.lag.time.max.ms.
        min_in_sync: min.insync.replicas of the topic.
    """

    __slots__ = (
        "epoch_start",
        "follower_starts",
        "followers",
        "isr",
        "max_lag_s",
        "membership",
        "min_in_sync",
        "partition",
    )

    def __init__(self, partition: Partition, membership: Membership, max_lag_s: float, min_in_sync: int) -> None:
        self.partition = partition
        self.membership = membership
        self.max_lag_s = max_lag_s
        self.min_in_sync = min_in_sync
        self.isr = Isr()
        self.followers: dict[int, Follower] = {}
        self.epoch_start = -1
        """Log end offset when this broker became leader in its epoch; −1 on a follower."""
        self.follower_starts = 0
        """Counts moves of followers' log starts, which DeleteRecords waits for."""

    # --- taking and leaving office -----------------------------------------------------------------------------

    def assign(self, registration: PartitionRegistration) -> None:
        """The partition has these replicas; what is known of followers that stay is kept."""
        standing = self.followers
        others = [replica for replica in registration.replicas if replica != self.membership.node_id]
        if standing.keys() != set(others):
            self.followers = {replica: standing.get(replica) or Follower(replica) for replica in others}
        for replica, follower in self.followers.items():
            follower.directory = registration.directory(replica)

    def begin(self, end_offset: int, *, follows_on: bool, now: float) -> None:
        """A new leader epoch begins where the log ends now.

        `follows_on`: we led in the epoch right before, so what we know of followers in sync still holds. Otherwise
        others may have led meanwhile, unheard of by us, and followers may have cut what they had from us. Who is not in
        sync may have been removed and added again, which begins an epoch too: then it has nothing any more.
        """
        self.epoch_start = end_offset
        for follower in self.followers.values():
            in_sync = follower.broker_id in self.isr.committed
            if follows_on and in_sync:
                follower.new_epoch(end_offset, now)
            else:
                follower.forget(now if in_sync else NEVER)

    def end(self, isr: Iterable[int]) -> None:
        """Somebody else leads, or nobody."""
        self.epoch_start = -1
        self.followers = {}
        self.isr.commit(isr)

    # --- commit ------------------------------------------------------------------------------------------------

    @property
    def effective_min_in_sync(self) -> int:
        """min.insync.replicas, at most the number of replicas there are."""
        return min(self.min_in_sync, len(self.followers) + 1)

    @property
    def is_under_min_isr(self) -> bool:
        """Fewer committed members than min.insync.replicas: acks=all is refused, the high watermark stands."""
        return len(self.isr.committed) < self.effective_min_in_sync

    def advance_high_watermark(self, now: float) -> bool:
        """Raise it to the smallest end over the maximal ISR and those that are caught up and may join."""
        log = self.partition.log
        end = lowest = log.log_end_offset
        if end <= log.high_watermark or self.is_under_min_isr:
            return False
        maximal = self.isr.maximal
        for follower in self.followers.values():
            if follower.log_end_offset < lowest and (
                follower.broker_id in maximal
                or (follower.is_caught_up(end, now, self.max_lag_s) and self._may_join(follower))
            ):
                lowest = follower.log_end_offset
        return lowest > log.high_watermark and log.update_high_watermark(lowest)

    def commit_state(self, offset: int) -> ErrorCode | None:
        """NONE or an error once everything below `offset` is committed; None for not yet."""
        if self.partition.log.high_watermark < offset:
            return None
        if len(self.isr.maximal) < self.effective_min_in_sync:
            return ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        return ErrorCode.NONE

    @property
    def low_watermark(self) -> int:
        """The smallest log start offset over all live replicas: below it, records are gone everywhere."""
        low = self.partition.log.log_start_offset
        for follower in self.followers.values():
            if follower.log_start_offset < low and self.membership.alive_epoch(follower.broker_id) is not None:
                low = follower.log_start_offset
        return low

    # --- followers ---------------------------------------------------------------------------------------------

    def note_caught_up(self, end: int) -> None:
        """Records are appended at `end`: followers that had everything were caught up when they last fetched at all."""
        last_fetch = self.membership.last_fetch
        for follower in self.followers.values():
            if follower.log_end_offset == end:
                seen = last_fetch.get(follower.broker_id, follower.last_caught_up)
                if seen > follower.last_caught_up:
                    follower.last_caught_up = seen

    def fetched(
        self, replica_id: int, offset: int, log_start_offset: int, leader_end: int, broker_epoch: int, now: float
    ) -> None:
        """A follower has everything below `offset`: it may join the ISR, and the high watermark may rise."""
        follower = self.followers[replica_id]
        moved = follower.log_end_offset != offset
        if follower.log_start_offset != log_start_offset:
            self.follower_starts += 1
        follower.fetched(offset, log_start_offset, leader_end, broker_epoch, now)
        self._maybe_expand(follower)
        if moved:
            self.advance_high_watermark(now)

    # --- in and out of the ISR ---------------------------------------------------------------------------------

    def reconsider(self, now: float) -> None:
        """Propose followers that could not be proposed when they fetched last: fenced, or another change under way.

        An idle partition is fetched once and then not named any more, so nothing else would bring it back.
        """
        last_fetch = self.membership.last_fetch
        for follower in self.followers.values():
            if now - last_fetch.get(follower.broker_id, NEVER) <= self.max_lag_s:
                self._maybe_expand(follower)

    def _maybe_expand(self, follower: Follower) -> None:
        if follower.broker_id in self.isr.maximal or self.isr.proposal is not None:
            return
        if follower.log_end_offset < max(self.partition.log.high_watermark, self.epoch_start):
            return
        if self._may_join(follower):
            self._propose({*self.isr.committed, follower.broker_id})

    def _may_join(self, follower: Follower) -> bool:
        """Whether the metadata knows that very incarnation as fit, and its log directory as online (KIP-858)."""
        membership = self.membership
        return membership.may_join_isr(follower.broker_id, follower.broker_epoch) and membership.has_online_directory(
            follower.broker_id, follower.directory
        )

    def shrink(self, now: float) -> bool:
        """Propose to drop members that lag; True when there is a proposal to send."""
        if self.isr.proposal is not None or len(self.isr.committed) < 2:
            return False
        end = self.partition.log.log_end_offset
        lagging = [
            member
            for member in self.isr.committed
            if member != self.membership.node_id and not self._is_caught_up(member, end, now)
        ]
        if lagging:
            self._propose(self.isr.committed.difference(lagging))
        return bool(lagging)

    def _is_caught_up(self, member: int, end: int, now: float) -> bool:
        follower = self.followers.get(member)
        return follower is not None and follower.is_caught_up(end, now, self.max_lag_s)

    def _propose(self, members: Iterable[int]) -> None:
        partition = self.partition
        isr = tuple((member, self._epoch_of(member)) for member in sorted(members))
        self.isr.propose(IsrProposal(partition, partition.leader_epoch, partition.partition_epoch, isr, RECOVERED))

    def _epoch_of(self, member: int) -> int:
        """The incarnation that fetched; −1 (not checked) for a member that has not fetched from this leader yet."""
        if member == self.membership.node_id:
            return self.membership.broker_epoch
        follower = self.followers.get(member)
        return -1 if follower is None or follower.broker_epoch is None else follower.broker_epoch

    # --- the controller's word ---------------------------------------------------------------------------------

    def refused(self, proposal: IsrProposal, error: ErrorCode) -> Answered:
        """The controller refused `proposal`, or could not be asked (any retriable error)."""
        return self.isr.refused(error) if self.isr.is_current(proposal) else Answered.WAITING

    def answered(self, proposal: IsrProposal, answer: AlterPartitionResponse.Topic.Partition, now: float) -> Answered:
        """The controller committed an ISR, ours as a rule."""
        partition = self.partition
        if (
            not self.isr.is_current(proposal)
            or answer.leader_epoch != partition.leader_epoch
            or answer.partition_epoch < partition.partition_epoch
        ):
            return Answered.WAITING
        partition.partition_epoch = answer.partition_epoch
        self.isr.commit(answer.isr)
        self.advance_high_watermark(now)
        self.reconsider(now)
        return Answered.COMMITTED
