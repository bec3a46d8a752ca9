"""How a classic group gets from one generation to the next: what joins, leaves, syncs and failures have in common.

Owns the phases and their deadlines:

    session  (group, member)  a member must be heard of
    join     (group)          the generation is taken with those who have joined
    sync     (group)          those who have not synced are out

Must never know requests. Every step appends to the answers it is given and returns the decision that ends the
whole. Invariant: a group in PreparingRebalance has a join deadline, one in CompletingRebalance a sync deadline.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from blumfeld.coordinator.decision import NOTHING, Answer, Decision
from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.state import GroupState
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.join_group import JoinGroupResponse
from blumfeld.protocol.messages.sync_group import SyncGroupResponse

if TYPE_CHECKING:
    from blumfeld.coordinator.decision import Timers
    from blumfeld.coordinator.group.classic import ClassicGroup
    from blumfeld.coordinator.group.config import GroupConfig
    from blumfeld.coordinator.group.member import Member

_log = logging.getLogger(__name__)

RETRY_MS = 1_000
"""When to try again to write that a group is empty, or at the earliest to go on without members that are away."""


def refused_join(error: ErrorCode, member_id: str) -> JoinGroupResponse:
    """JoinGroup's answer to a request that is refused."""
    return JoinGroupResponse(error_code=error, protocol_name=None, leader="", member_id=member_id, members=[])


def refused_sync(error: ErrorCode) -> SyncGroupResponse:
    """SyncGroup's answer to a request that is refused."""
    return SyncGroupResponse(error_code=error, assignment=b"")


def joined(
    group: ClassicGroup,
    member_id: str,
    *,
    leader: str | None = None,
    with_members: bool = False,
    skip_assignment: bool = False,
) -> JoinGroupResponse:
    """JoinGroup's answer to a member of the current generation.

    Args:
        leader: who leads, where that is not to be what the group says.
        with_members: everybody's subscription goes with it, for the one who assigns.
        skip_assignment: it leads, but the assignment stands (KIP-814).
    """
    members = (
        [
            JoinGroupResponse.Member(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                metadata=member.metadata(group.protocol_name) or b"",
            )
            for member in group.members.values()
        ]
        if with_members
        else []
    )
    return JoinGroupResponse(
        error_code=ErrorCode.NONE,
        generation_id=group.generation,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name,
        leader=(group.leader if leader is None else leader) or "",
        skip_assignment=skip_assignment,
        member_id=member_id,
        members=members,
    )


def synced(group: ClassicGroup, member: Member) -> SyncGroupResponse:
    """SyncGroup's answer to a member of a stable group."""
    return SyncGroupResponse(
        error_code=ErrorCode.NONE,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name,
        assignment=member.assignment,
    )


class Rebalances:
    """The steps of a rebalance, for all groups of a machine."""

    def __init__(self, timers: Timers, config: GroupConfig) -> None:
        self._timers = timers
        self._config = config

    # --- sessions --------------------------------------------------------------------------------------------------

    def hear_of(self, group: ClassicGroup, member: Member, timeout_ms: int | None = None) -> None:
        """The member lives: its session starts anew."""
        self._timers.schedule(
            ("session", group.group_id, member.member_id),
            member.session_timeout_ms if timeout_ms is None else timeout_ms,
        )

    def await_pending(self, group: ClassicGroup, member_id: str, timeout_ms: int) -> None:
        """Give a member that got its id so much time to join with it."""
        group.pending_joins[member_id] = None
        self._timers.schedule(("session", group.group_id, member_id), timeout_ms)

    def forget_session(self, group: ClassicGroup, member_id: str) -> None:
        self._timers.cancel(("session", group.group_id, member_id))

    def has_synced(self, group: ClassicGroup, member_id: str) -> None:
        """The member's sync is not awaited any more; perhaps nobody's is."""
        group.pending_syncs.pop(member_id, None)
        if not group.pending_syncs:
            self._timers.cancel(("sync", group.group_id))

    def drop(self, group: ClassicGroup, member_id: str, answers: list[Answer]) -> None:
        """Let a member or a pending one go, and answer what it waits for: it may join anew."""
        self.forget_session(group, member_id)
        member = group.remove(member_id)
        if member is not None:
            self._dismiss(member, answers)

    def _dismiss(self, member: Member, answers: list[Answer]) -> None:
        if member.join_ticket is not None:
            answers.append(Answer(member.join_ticket, refused_join(ErrorCode.UNKNOWN_MEMBER_ID, "")))
        if member.sync_ticket is not None:
            answers.append(Answer(member.sync_ticket, refused_sync(ErrorCode.UNKNOWN_MEMBER_ID)))
        member.join_ticket = member.sync_ticket = None

    # --- preparing -------------------------------------------------------------------------------------------------

    def prepare(self, group: ClassicGroup, now_ms: int, answers: list[Answer], reason: str) -> Decision:
        """Ask everybody to join again."""
        if group.state is GroupState.COMPLETING_REBALANCE:
            self._cancel_syncs(group, answers)
        group.pending_syncs.clear()
        self._timers.cancel(("sync", group.group_id))
        was_empty = group.state is GroupState.EMPTY
        group.move_to(GroupState.PREPARING_REBALANCE, now_ms)
        _log.info("group %s prepares for generation %d: %s", group.group_id, group.generation + 1, reason)
        if was_empty:
            delay_ms = self._config.initial_rebalance_delay_ms
            group.initial_rebalance_ms = (delay_ms, max(group.rebalance_timeout_ms - delay_ms, 0))
            group.new_member_added = False
            self._timers.schedule(("join", group.group_id), delay_ms)
        elif group.has_all_joined:
            return self.complete(group, now_ms, answers)
        else:
            self._timers.schedule(("join", group.group_id), group.rebalance_timeout_ms)
        return Decision(answers=answers)

    def prepare_or_complete(self, group: ClassicGroup, now_ms: int, answers: list[Answer], reason: str) -> Decision:
        """Start a rebalance, or end one that waited for this member alone."""
        if group.state is GroupState.PREPARING_REBALANCE:
            return self.complete_if_all_joined(group, now_ms, answers)
        return self.prepare(group, now_ms, answers, reason)

    def complete_if_all_joined(self, group: ClassicGroup, now_ms: int, answers: list[Answer]) -> Decision:
        """Take the generation, unless somebody is awaited or it is the first one, for which time is given."""
        waits = group.previous_state is GroupState.EMPTY or not group.has_all_joined
        if group.state is not GroupState.PREPARING_REBALANCE or waits:
            return Decision(answers=answers)
        return self.complete(group, now_ms, answers)

    def _cancel_syncs(self, group: ClassicGroup, answers: list[Answer]) -> None:
        for member in group.members.values():
            member.assignment = b""
            if member.sync_ticket is not None:
                answers.append(Answer(member.sync_ticket, refused_sync(ErrorCode.REBALANCE_IN_PROGRESS)))
                member.sync_ticket = None
                self.hear_of(group, member)

    # --- completing ------------------------------------------------------------------------------------------------

    def complete(self, group: ClassicGroup, now_ms: int, answers: list[Answer]) -> Decision:
        """Take the generation with those who have joined; static members keep their place while they are away."""
        self._timers.cancel(("join", group.group_id))
        for member in list(group.members.values()):
            if member.join_ticket is None and not member.is_static:
                self.drop(group, member.member_id, answers)
        if not group.members:
            return self._complete_empty(group, now_ms, answers)
        if not group.elect_leader():
            self._timers.schedule(("join", group.group_id), max(group.rebalance_timeout_ms, RETRY_MS))
            return Decision(answers=answers)
        group.next_generation(now_ms)
        group.initial_rebalance_ms = None
        _log.info("group %s has %d members in generation %d", group.group_id, len(group.members), group.generation)
        for member in group.members.values():
            ticket = member.join_ticket
            if ticket is not None:
                leads = member.member_id == group.leader
                answers.append(Answer(ticket, joined(group, member.member_id, with_members=leads)))
                group.await_join(member, None)
            member.is_new = False
            self.hear_of(group, member)
        self._timers.schedule(("sync", group.group_id), group.rebalance_timeout_ms)
        return Decision(answers=answers)

    def _complete_empty(self, group: ClassicGroup, now_ms: int, answers: list[Answer]) -> Decision:
        """Nobody is left. The group is Empty once that is written; until then the join deadline tries again."""
        self._timers.schedule(("join", group.group_id), RETRY_MS)

        def emptied() -> Decision:
            _log.info("group %s is empty in generation %d", group.group_id, group.generation)
            self._timers.cancel(("join", group.group_id))
            return NOTHING

        return Decision([records.emptied_group(group, now_ms)], answers, then=emptied)

    # --- deadlines -------------------------------------------------------------------------------------------------

    def expire_session(self, group: ClassicGroup, member_id: str, now_ms: int) -> Decision:
        """Nothing was heard of a member, or of one that was to come back with its id."""
        member = group.members.get(member_id)
        if member is not None and member.is_parked:
            return NOTHING
        answers: list[Answer] = []
        self.drop(group, member_id, answers)
        if group.state is GroupState.PREPARING_REBALANCE and group.has_all_joined:
            return self.complete(group, now_ms, answers)
        if member is not None and group.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            return self.prepare(group, now_ms, answers, f"the session of {member_id} expired")
        return Decision(answers=answers)

    def expire_join(self, group: ClassicGroup, now_ms: int) -> Decision:
        """The time for joining is over; the first rebalance gets more while members keep coming."""
        if group.state is not GroupState.PREPARING_REBALANCE:
            return NOTHING
        if group.initial_rebalance_ms is not None:
            delay_ms, remaining_ms = group.initial_rebalance_ms
            if group.new_member_added and remaining_ms:
                group.new_member_added = False
                next_delay_ms = min(self._config.initial_rebalance_delay_ms, remaining_ms)
                group.initial_rebalance_ms = (next_delay_ms, max(remaining_ms - delay_ms, 0))
                self._timers.schedule(("join", group.group_id), next_delay_ms)
                return NOTHING
        return self.complete(group, now_ms, [])

    def expire_sync(self, group: ClassicGroup, now_ms: int) -> Decision:
        """Some members never asked for their assignment: they are out."""
        if group.state not in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE) or not group.pending_syncs:
            return NOTHING
        answers: list[Answer] = []
        late = list(group.pending_syncs)
        for member_id in late:
            self.drop(group, member_id, answers)
        return self.prepare(group, now_ms, answers, f"{len(late)} members did not sync")
