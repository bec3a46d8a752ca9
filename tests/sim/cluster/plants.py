"""Replication broken on purpose: if the simulation does not notice, it is the simulation that is broken.

Owns a list of planted bugs, each a function that patches one decision. They are applied with pytest's monkeypatch (or
anything with its `setattr`), so that nothing stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

from blumfeld.cluster.followers import Follower, Membership
from blumfeld.cluster.isr import Answered, Isr, IsrProposal
from blumfeld.cluster.leadership import Leadership
from blumfeld.cluster.partition import Partition
from blumfeld.cluster.reading import Reading
from blumfeld.cluster.replicas import ReplicaManager
from blumfeld.cluster.replication import Replication
from blumfeld.protocol.errors import ErrorCode


class Patcher(Protocol):
    """pytest.MonkeyPatch, or whatever patches."""

    def setattr(self, target: Any, name: str, value: Any) -> None: ...


def expand_before_catch_up(patch: Patcher) -> None:
    """A follower is proposed for the ISR as soon as it fetches at all."""

    def maybe_expand(self: Leadership, follower: Follower) -> None:
        if follower.broker_id in self.isr.maximal or self.isr.proposal is not None:
            return
        if self.membership.may_join_isr(follower.broker_id, follower.broker_epoch):
            self._propose({*self.isr.committed, follower.broker_id})

    patch.setattr(Leadership, "_maybe_expand", maybe_expand)


def forget_the_start_of_the_epoch(patch: Patcher) -> None:
    """A follower is proposed when it has reached the high watermark, though a new leader's may lag behind the truth."""

    def maybe_expand(self: Leadership, follower: Follower) -> None:
        if follower.broker_id in self.isr.maximal or self.isr.proposal is not None:
            return
        caught_up = follower.log_end_offset >= self.partition.log.high_watermark
        if caught_up and self.membership.may_join_isr(follower.broker_id, follower.broker_epoch):
            self._propose({*self.isr.committed, follower.broker_id})

    patch.setattr(Leadership, "_maybe_expand", maybe_expand)


def _do_not_wait_for_candidates(patch: Patcher) -> None:
    """The second guard of the high watermark, which waits for whoever is caught up and may join the ISR."""

    class Strict:
        """A membership in which nobody may join."""

        def __init__(self, membership: Membership) -> None:
            self._membership = membership

        def __getattr__(self, name: str) -> Any:
            return getattr(self._membership, name)

        def may_join_isr(self, broker_id: int, broker_epoch: int | None) -> bool:
            return False

    def advance(self: Leadership, now: float) -> bool:
        membership = self.membership
        self.membership = cast(Any, Strict(membership))
        try:
            return original(self, now)
        finally:
            self.membership = membership

    original = Leadership.advance_high_watermark
    patch.setattr(Leadership, "advance_high_watermark", advance)


def count_only_the_committed_isr(patch: Patcher) -> None:
    """The high watermark does not wait for a replica that the controller may have taken in already."""

    def propose(self: Isr, proposal: IsrProposal) -> None:
        self.proposal = proposal
        self.maximal = self.committed

    patch.setattr(Isr, "propose", propose)
    _do_not_wait_for_candidates(patch)


def shrink_before_it_is_committed(patch: Patcher) -> None:
    """A replica that shall leave the ISR counts no more from the moment that is proposed."""

    def propose(self: Isr, proposal: IsrProposal) -> None:
        self.proposal = proposal
        self.maximal = frozenset(member for member, _ in proposal.isr)

    patch.setattr(Isr, "propose", propose)


def metadata_settles_every_proposal(patch: Patcher) -> None:
    """Metadata of the epoch that is known already drops a newer proposal."""

    def become_leader(self: Partition, registration: Any, now: float) -> bool:
        if registration.partition_epoch >= self.partition_epoch:
            self.isr.commit(registration.isr)
        return original(self, registration, now)

    original = Partition.become_leader
    patch.setattr(Partition, "become_leader", become_leader)


def take_doubt_for_no(patch: Patcher) -> None:
    """An answer that leaves open whether the ISR was changed restores the old one."""

    def refused(self: Isr, error: ErrorCode) -> Answered:
        self.commit(self.committed)
        return Answered.ROLLED_BACK

    patch.setattr(Isr, "refused", refused)
    _do_not_wait_for_candidates(patch)


def count_fetches_of_an_earlier_epoch(patch: Patcher) -> None:
    """High watermark from a stale epoch: a leader that comes back trusts what its followers had when it led last."""

    def end(self: Leadership, isr: Iterable[int]) -> None:
        self.epoch_start = -1
        self.isr.commit(isr)

    def begin(self: Leadership, end_offset: int, *, follows_on: bool, now: float) -> None:
        self.epoch_start = end_offset

    patch.setattr(Leadership, "end", end)
    patch.setattr(Leadership, "begin", begin)


def trust_followers_after_an_interregnum(patch: Patcher) -> None:
    """A leader that is elected again, and never heard that others led between, takes its followers for unchanged."""

    def begin(self: Leadership, end_offset: int, *, follows_on: bool, now: float) -> None:
        original(self, end_offset, follows_on=any(f.log_end_offset >= 0 for f in self.followers.values()), now=now)

    original = Leadership.begin
    patch.setattr(Leadership, "begin", begin)


def ignore_divergence(patch: Patcher) -> None:
    """A leader does not compare histories."""

    def diverged(self: Partition, offset: int, last_fetched_epoch: int) -> Reading | None:
        return None

    patch.setattr(Partition, "_diverged", diverged)


def hear_every_incarnation(patch: Patcher) -> None:
    """Fetches and proposals do not tell one incarnation of a broker from another."""

    def may_join(self: Membership, broker_id: int, broker_epoch: int | None) -> bool:
        return self.cluster.is_active(broker_id)

    def epoch_of(self: Leadership, member: int) -> int:
        return -1

    def check(self: Partition, replica_id: int, broker_epoch: int, current_leader_epoch: int) -> ErrorCode:
        return original(self, replica_id, -1, current_leader_epoch)

    original = Partition._check_follower
    patch.setattr(Membership, "may_join_isr", may_join)
    patch.setattr(Leadership, "_epoch_of", epoch_of)
    patch.setattr(Partition, "_check_follower", check)


def act_on_history(patch: Patcher) -> None:
    """A broker that starts acts on every state that metadata ever had."""

    def init(self: ReplicaManager, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self._begun = True

    original = ReplicaManager.__init__
    patch.setattr(ReplicaManager, "__init__", init)
    patch.setattr(ReplicaManager, "begin", lambda self: None)


def keep_what_the_leader_has_not(patch: Patcher) -> None:
    """A follower that is told where it diverges goes on from its own end."""

    def diverged(self: Replication, partition: Partition, epoch: int, end_offset: int, now: float) -> bool:
        partition.log.epochs.assign(epoch, partition.log_end_offset)
        partition.log.epochs_changed()
        self._session.repeat(partition)
        return True

    patch.setattr(Replication, "_diverged", diverged)


PLANTS: tuple[Callable[[Patcher], None], ...] = (
    expand_before_catch_up,
    forget_the_start_of_the_epoch,
    count_only_the_committed_isr,
    shrink_before_it_is_committed,
    metadata_settles_every_proposal,
    take_doubt_for_no,
    count_fetches_of_an_earlier_epoch,
    trust_followers_after_an_interregnum,
    ignore_divergence,
    hear_every_incarnation,
    act_on_history,
    keep_what_the_leader_has_not,
)
