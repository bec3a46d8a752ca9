"""SyncGroup, Heartbeat, LeaveGroup: a member's requests within a generation.

Owns the decisions of these three. A generation becomes durable with the leader's sync: its record carries every
member's subscription and assignment, and nobody learns an assignment before that record is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.coordinator.decision import Answer, Decision, Ticket
from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.rebalance import Rebalances, refused_sync, synced
from blumfeld.coordinator.group.state import GroupState
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.heartbeat import HeartbeatResponse
from blumfeld.protocol.messages.leave_group import LeaveGroupResponse

if TYPE_CHECKING:
    from blumfeld.coordinator.group.classic import ClassicGroup
    from blumfeld.protocol.messages.heartbeat import HeartbeatRequest
    from blumfeld.protocol.messages.leave_group import LeaveGroupRequest
    from blumfeld.protocol.messages.sync_group import SyncGroupRequest


class Syncing:
    """Decides about SyncGroup, Heartbeat and LeaveGroup."""

    def __init__(self, groups: dict[str, ClassicGroup], rebalances: Rebalances) -> None:
        self._groups = groups
        self._rebalances = rebalances

    # --- SyncGroup -------------------------------------------------------------------------------------------------

    def sync(self, request: SyncGroupRequest, ticket: Ticket, now_ms: int) -> Decision:
        """Take the leader's assignment, give the others theirs, or park them until there is one."""
        group = self._groups.get(request.group_id)
        if group is None or group.state is GroupState.EMPTY:
            return _refuse_sync(ticket, ErrorCode.UNKNOWN_MEMBER_ID)
        refusal = group.refusal(request.member_id, request.group_instance_id) or _contradiction(group, request)
        if refusal is not ErrorCode.NONE:
            return _refuse_sync(ticket, refusal)
        if group.state is GroupState.PREPARING_REBALANCE:
            return _refuse_sync(ticket, ErrorCode.REBALANCE_IN_PROGRESS)
        member = group.members[request.member_id]
        if group.state is GroupState.STABLE:
            self._rebalances.has_synced(group, request.member_id)
            return Decision(answers=[Answer(ticket, synced(group, member))], settled=True)
        if request.member_id == group.leader:
            return self._take_assignments(group, request, ticket, now_ms)
        self._rebalances.has_synced(group, request.member_id)
        answers = []
        if member.sync_ticket is not None:
            answers.append(Answer(member.sync_ticket, refused_sync(ErrorCode.REBALANCE_IN_PROGRESS)))
        member.sync_ticket = ticket
        return Decision(answers=answers)

    def _take_assignments(
        self, group: ClassicGroup, request: SyncGroupRequest, ticket: Ticket, now_ms: int
    ) -> Decision:
        """The leader has spoken: the generation is written with everybody's assignment."""
        given = {assignment.member_id: assignment.assignment for assignment in request.assignments}
        record = records.stable_group(
            group,
            [(member, given.get(member.member_id, b"")) for member in group.members.values()],
            leader=group.leader,
            timestamp_ms=now_ms,
        )

        def written() -> Decision:
            leader = group.members[request.member_id]
            self._rebalances.has_synced(group, leader.member_id)
            self._rebalances.hear_of(group, leader)
            answers = [Answer(ticket, synced(group, leader))]
            for member in group.members.values():
                if member.sync_ticket is not None:
                    answers.append(Answer(member.sync_ticket, synced(group, member)))
                    member.sync_ticket = None
                    self._rebalances.hear_of(group, member)
            return Decision(answers=answers)

        return Decision([record], then=written)

    # --- Heartbeat -------------------------------------------------------------------------------------------------

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        """Keep the member's session; the answer tells it to join again while the group prepares a rebalance."""
        group = self._groups.get(request.group_id)
        error = ErrorCode.UNKNOWN_MEMBER_ID
        if group is not None:
            error = group.refusal(request.member_id, request.group_instance_id)
            if error is ErrorCode.NONE:
                error = self._hear(group, request)
        return HeartbeatResponse(error_code=error)

    def _hear(self, group: ClassicGroup, request: HeartbeatRequest) -> ErrorCode:
        if request.generation_id != group.generation:
            return ErrorCode.ILLEGAL_GENERATION
        self._rebalances.hear_of(group, group.members[request.member_id])
        is_preparing = group.state is GroupState.PREPARING_REBALANCE
        return ErrorCode.REBALANCE_IN_PROGRESS if is_preparing else ErrorCode.NONE

    # --- LeaveGroup ------------------------------------------------------------------------------------------------

    def leave(self, request: LeaveGroupRequest, ticket: Ticket, now_ms: int) -> Decision:
        """Let members go: by member id, or static ones by instance id, as administrators do (KIP-345)."""
        group = self._groups.get(request.group_id)
        answers: list[Answer] = []
        response = LeaveGroupResponse(error_code=ErrorCode.NONE)
        members_before = len(group.members) if group is not None else 0
        for member in request.members:
            error = ErrorCode.UNKNOWN_MEMBER_ID
            if group is not None:
                error = self._let_go(group, member, answers)
            response.members.append(
                LeaveGroupResponse.Member(
                    member_id=member.member_id, group_instance_id=member.group_instance_id, error_code=error
                )
            )
        answers.append(Answer(ticket, response))
        left = members_before - len(group.members) if group is not None else 0
        if group is None or (not left and group.state is not GroupState.PREPARING_REBALANCE):
            return Decision(answers=answers)
        return self._rebalances.prepare_or_complete(group, now_ms, answers, f"{left} members left")

    def _let_go(self, group: ClassicGroup, leaver: LeaveGroupRequest.Member, answers: list[Answer]) -> ErrorCode:
        member_id = leaver.member_id
        if not member_id:
            known = group.static_member(leaver.group_instance_id)
            if known is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            member_id = known
        elif member_id not in group.pending_joins:
            refusal = group.refusal(member_id, leaver.group_instance_id)
            if refusal is not ErrorCode.NONE:
                return refusal
        self._rebalances.drop(group, member_id, answers)
        return ErrorCode.NONE


def _refuse_sync(ticket: Ticket, error: ErrorCode) -> Decision:
    return Decision(answers=[Answer(ticket, refused_sync(error))])


def _contradiction(group: ClassicGroup, request: SyncGroupRequest) -> ErrorCode:
    """A sync for another generation, or under another protocol (KIP-559); null says nothing of the protocol."""
    if request.generation_id != group.generation:
        return ErrorCode.ILLEGAL_GENERATION
    for said, known in (
        (request.protocol_type, group.protocol_type),
        (request.protocol_name, group.protocol_name),
    ):
        if said is not None and known is not None and said != known:
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    return ErrorCode.NONE
