"""The core broken on purpose: if the simulation does not notice, it is the simulation that is broken.

Owns a list of planted bugs, each a function that patches one decision of the core. They are applied with pytest's
monkeypatch (or anything with its `setattr`), so that nothing stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from blumfeld.cluster.raft import election, replication
from blumfeld.cluster.raft.core import RaftCore
from blumfeld.cluster.raft.events import (
    Effect,
    HighWatermark,
    PersistElection,
)
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo, VoteRequest
from blumfeld.cluster.raft.outline import LogOutline, Position
from blumfeld.cluster.raft.quorum_state import ElectionState
from blumfeld.cluster.raft.roles import Ballots, Leader, Prospective, Unattached


class Patcher(Protocol):
    """pytest.MonkeyPatch, or whatever patches."""

    def setattr(self, target: Any, name: str, value: Any) -> None: ...

    def setitem(self, dictionary: Any, key: Any, value: Any) -> None: ...


def vote_twice_in_an_epoch(patch: Patcher) -> None:
    """A replica forgets, while it runs, for whom it voted."""

    def may_grant(core: RaftCore, request: VoteRequest) -> bool:
        role = core.role
        if isinstance(role, Unattached | Prospective):
            role.voted = None
        return original(core, request)

    original = election._may_grant
    patch.setattr(election, "_may_grant", may_grant)


def forget_the_vote_in_a_crash(patch: Patcher) -> None:
    """The vote is told before it is on disk, and never gets there."""

    def finish(core: RaftCore) -> list[Effect]:
        return [effect for effect in original(core) if not isinstance(effect, PersistElection)]

    original = RaftCore._finish
    patch.setattr(RaftCore, "_finish", finish)


def forget_the_fsync(patch: Patcher) -> None:
    """Whatever was written counts as durable."""

    def append(log: LogOutline, batch: BatchInfo) -> None:
        original(log, batch)
        log.durable_offset = log.end_offset

    original = LogOutline.append
    patch.setattr(LogOutline, "append", append)


def forget_the_fsync_on_followers(patch: Patcher) -> None:
    """A follower fetches on, and so acknowledges, before its disk has answered."""

    def request_flush(core: RaftCore) -> None:
        original(core)
        if not isinstance(core.role, Leader):
            core.log.durable_offset = core.log.end_offset

    original = replication.request_flush
    patch.setattr(replication, "request_flush", request_flush)


def count_the_leaders_log_before_its_fsync(patch: Patcher) -> None:
    """The leader counts its own log end at once."""

    def update(core: RaftCore, role: Leader) -> None:
        durable, core.log.durable_offset = core.log.durable_offset, core.log.end_offset
        original(core, role)
        core.log.durable_offset = durable

    original = replication.update_high_watermark
    patch.setattr(replication, "update_high_watermark", update)


def high_watermark_from_a_stale_epoch(patch: Patcher) -> None:
    """A new leader commits what an older epoch left behind, before a record of its own (Raft, figure 8)."""

    def update(core: RaftCore, role: Leader) -> None:
        start, role.epoch_start_offset = role.epoch_start_offset, -1
        original(core, role)
        role.epoch_start_offset = start

    original = replication.update_high_watermark
    patch.setattr(replication, "update_high_watermark", update)


def elect_a_stale_log(patch: Patcher) -> None:
    """Votes go to whoever asks, however short its log."""

    def may_grant(core: RaftCore, request: VoteRequest) -> bool:
        end = core.log.end
        return original(core, request._replace(last_offset=end.offset, last_epoch=end.epoch))

    original = election._may_grant
    patch.setattr(election, "_may_grant", may_grant)


def lead_the_same_epoch_again(patch: Patcher) -> None:
    """A leader that restarts believes that it still leads its epoch, though it may have lost what it wrote."""

    def start(core: RaftCore, now: float) -> list[Effect]:
        state = core._persisted
        effects = original(core, now)
        if state is not None and state.leader_id == core.key.id and isinstance(core.role, Unattached):
            core.role = Leader(state.epoch, core.key.id, core.key, core.log.end_offset - 1, (), now + 300, now)
            core._persisted = ElectionState(state.epoch, core.key.id, core.key)
            return [effect for effect in effects if not isinstance(effect, PersistElection)]
        return effects

    original = RaftCore.start
    patch.setattr(RaftCore, "start", start)


def overlook_diverging_logs(patch: Patcher) -> None:
    """A leader sends records to whoever has as many, whatever their epoch."""

    def locate(log: LogOutline, offset: int, epoch: int) -> tuple[Position, OffsetAndEpoch]:
        position, where = original(log, offset, epoch)
        if position is Position.DIVERGING and offset <= log.end_offset:
            return Position.VALID, OffsetAndEpoch(offset, epoch)
        return position, where

    original = LogOutline.locate
    patch.setattr(LogOutline, "locate", locate)


def win_with_half_the_votes(patch: Patcher) -> None:
    """An election is won one vote short of a majority."""
    patch.setattr(Ballots, "is_won", property(lambda ballots: len(ballots.granted) >= len(ballots.voters) // 2))


def commit_one_short_of_a_majority(patch: Patcher) -> None:
    """The high watermark follows the fastest replica."""

    def update(core: RaftCore, role: Leader) -> None:
        original(core, role)
        if core.log.durable_offset > max(role.epoch_start_offset, core.high_watermark):
            role.high_watermark = core.high_watermark = core.log.durable_offset
            core.emit(HighWatermark(core.log.durable_offset))

    original = replication.update_high_watermark
    patch.setattr(replication, "update_high_watermark", update)


def trust_the_leaders_high_watermark(patch: Patcher) -> None:
    """A follower takes the leader's high watermark for its own, whatever it has of the log."""

    def min_of(_: int, high_watermark: int) -> int:
        return high_watermark

    patch.setitem(vars(replication), "min", min_of)


def forget_epochs_when_cleaning(patch: Patcher) -> None:
    """The epoch history goes with the log's beginning, though it goes on above it."""

    def advance_start(log: LogOutline, id_: OffsetAndEpoch) -> tuple[OffsetAndEpoch, ...]:
        obsolete = original(log, id_)
        log.epochs = [(log.epochs[-1][0], log.start_offset)] if log.epochs else []
        return obsolete

    original = LogOutline.advance_start
    patch.setattr(LogOutline, "advance_start", advance_start)


PLANTS: tuple[Callable[[Patcher], None], ...] = (
    vote_twice_in_an_epoch,
    forget_the_vote_in_a_crash,
    forget_the_fsync,
    forget_the_fsync_on_followers,
    count_the_leaders_log_before_its_fsync,
    high_watermark_from_a_stale_epoch,
    elect_a_stale_log,
    lead_the_same_epoch_again,
    overlook_diverging_logs,
    win_with_half_the_votes,
    commit_one_short_of_a_majority,
    trust_the_leaders_high_watermark,
    forget_epochs_when_cleaning,
)
