"""JoinGroup: who may enter a classic group, and what that starts (KIP-394 member ids, KIP-345 static members).

Owns the decisions of that one request. The group itself is `classic.py`, the phases are `rebalance.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from blumfeld.coordinator.decision import Answer, Decision, Ticket
from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.classic import ClassicGroup, largest
from blumfeld.coordinator.group.config import (
    MAX_PENDING_JOINS,
    MEMBER_ID_PREFIX_CHARACTERS,
    NEW_MEMBER_JOIN_TIMEOUT_MS,
    GroupConfig,
)
from blumfeld.coordinator.group.member import Client, Member, MemberProtocol, distinct_protocols
from blumfeld.coordinator.group.rebalance import Rebalances, joined, refused_join, refused_sync
from blumfeld.coordinator.group.state import GroupState
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.env.entropy import Entropy
    from blumfeld.protocol.messages.join_group import JoinGroupRequest

FIRST_VERSION_WITH_MEMBER_IDS = 4
FIRST_VERSION_WITH_SKIP_ASSIGNMENT = 9


class Join(NamedTuple):
    """One JoinGroup request."""

    request: JoinGroupRequest
    version: int
    client: Client
    ticket: Ticket
    protocols: tuple[MemberProtocol, ...]

    @classmethod
    def of(cls, request: JoinGroupRequest, version: int, client: Client, ticket: Ticket) -> Join:
        return cls(request, version, client, ticket, distinct_protocols(request.protocols))

    @property
    def rebalance_timeout_ms(self) -> int:
        """Version 0 had none: there the session timeout serves for both."""
        return self.request.session_timeout_ms if self.version == 0 else max(self.request.rebalance_timeout_ms, 0)

    def refused(self, error: ErrorCode, member_id: str = "") -> Decision:
        return Decision(answers=[Answer(self.ticket, refused_join(error, member_id))])


class Joining:
    """Decides about JoinGroup."""

    def __init__(
        self,
        groups: dict[str, ClassicGroup],
        rebalances: Rebalances,
        config: GroupConfig,
        entropy: Entropy,
        max_record_bytes: Callable[[], int],
    ) -> None:
        self._groups = groups
        self._max_record_bytes = max_record_bytes
        self._rebalances = rebalances
        self._config = config
        self._entropy = entropy

    def join(self, join: Join, now_ms: int) -> Decision:
        """Answer, or park the request until the generation is taken."""
        request = join.request
        group = self._groups.get(request.group_id)
        if group is None:
            if request.member_id:
                return join.refused(ErrorCode.UNKNOWN_MEMBER_ID, request.member_id)
            return self._create(join, now_ms)
        if not self._has_room(group, request.member_id):
            return self._turn_away(join, group, now_ms)
        if not self._can_be_written(group, join):
            return join.refused(ErrorCode.GROUP_MAX_SIZE_REACHED)
        if not group.supports(request.protocol_type, (name for name, _ in join.protocols)):
            return join.refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, request.member_id)
        if request.member_id:
            return self._join_with_id(join, group, now_ms)
        if request.group_instance_id is not None:
            return self._join_static(join, group, now_ms)
        return self._join_new(join, group, now_ms)

    def _create(self, join: Join, now_ms: int) -> Decision:
        """A group nobody knows of: write that it exists, then take its first member in."""
        if not join.request.protocol_type or not join.protocols:
            return join.refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        record = records.new_group(join.request.group_id, now_ms)
        return Decision([record], then=lambda: self.join(join, now_ms))

    def _has_room(self, group: ClassicGroup, member_id: str) -> bool:
        """During a rebalance those who have joined count, so that a group above the limit sheds its last members."""
        if group.state is GroupState.EMPTY:
            return True
        member = group.members.get(member_id)
        if group.state is GroupState.PREPARING_REBALANCE:
            has_joined = member is not None and member.join_ticket is not None
            return has_joined or group.awaiting_join < self._config.max_size
        return member is not None or len(group.members) < self._config.max_size

    def _can_be_written(self, group: ClassicGroup, join: Join) -> bool:
        """Kafka lets anybody in, and when the record is too large every sync of the whole group fails."""
        request = join.request
        member = group.members.get(request.member_id or group.static_member(request.group_instance_id) or "")
        standing = 0 if member is None else largest(member.protocols)
        return group.metadata_bytes - standing + largest(join.protocols) <= self._max_record_bytes()

    def _turn_away(self, join: Join, group: ClassicGroup, now_ms: int) -> Decision:
        """There is no room: a member that was late is none any more, and need not be waited for."""
        answers = [Answer(join.ticket, refused_join(ErrorCode.GROUP_MAX_SIZE_REACHED, ""))]
        self._rebalances.drop(group, join.request.member_id, answers)
        return self._rebalances.complete_if_all_joined(group, now_ms, answers)

    # --- without a member id ---------------------------------------------------------------------------------------

    def _join_new(self, join: Join, group: ClassicGroup, now_ms: int) -> Decision:
        member_id = self._new_member_id(join.client.client_id)
        if join.version < FIRST_VERSION_WITH_MEMBER_IDS:
            return self._add(join, group, member_id, now_ms)
        if len(group.pending_joins) >= MAX_PENDING_JOINS:
            return join.refused(ErrorCode.GROUP_MAX_SIZE_REACHED)
        self._rebalances.await_pending(group, member_id, join.request.session_timeout_ms)
        return join.refused(ErrorCode.MEMBER_ID_REQUIRED, member_id)

    def _join_static(self, join: Join, group: ClassicGroup, now_ms: int) -> Decision:
        instance_id = join.request.group_instance_id
        assert instance_id is not None
        member_id = self._new_member_id(instance_id)
        known = group.static_members.get(instance_id)
        if known is None:
            return self._add(join, group, member_id, now_ms)
        if group.state is GroupState.STABLE:
            chosen = group.chosen_protocol({known: join.protocols})
            if chosen == group.protocol_name:
                return self._replace_quietly(join, group, known, member_id)
        return self._replace(join, group, known, member_id, now_ms)

    def _add(self, join: Join, group: ClassicGroup, member_id: str, now_ms: int) -> Decision:
        request = join.request
        member = Member(
            member_id,
            request.group_instance_id,
            join.client,
            rebalance_timeout_ms=join.rebalance_timeout_ms,
            session_timeout_ms=request.session_timeout_ms,
            protocols=join.protocols,
        )
        member.is_new = True
        if group.initial_rebalance_ms is not None:
            group.new_member_added = True
        if not group.members:
            group.protocol_type = request.protocol_type
        group.add(member, join.ticket)
        self._rebalances.hear_of(group, member, NEW_MEMBER_JOIN_TIMEOUT_MS)
        return self._rebalances.prepare_or_complete(group, now_ms, [], f"member {member_id} joins{_why(request)}")

    # --- static members that come back -----------------------------------------------------------------------------

    def _replace(self, join: Join, group: ClassicGroup, old_member_id: str, member_id: str, now_ms: int) -> Decision:
        """The member gets a new id; the old one is fenced, and the group rebalances."""
        answers: list[Answer] = []
        old = group.members[old_member_id]
        if old.join_ticket is not None:
            answers.append(Answer(old.join_ticket, refused_join(ErrorCode.FENCED_INSTANCE_ID, old_member_id)))
        if old.sync_ticket is not None:
            answers.append(Answer(old.sync_ticket, refused_sync(ErrorCode.FENCED_INSTANCE_ID)))
        self._rebalances.forget_session(group, old_member_id)
        member = group.rename_static(old_member_id, member_id)
        self._update(join, group, member)
        self._rebalances.hear_of(group, member)
        group.await_join(member, join.ticket)
        reason = f"static member {join.request.group_instance_id} comes back{_why(join.request)}"
        return self._rebalances.prepare_or_complete(group, now_ms, answers, reason)

    def _replace_quietly(self, join: Join, group: ClassicGroup, old_member_id: str, member_id: str) -> Decision:
        """The group is stable and chooses as before: the new id takes the old one's place without a rebalance."""
        old_leader = group.leader
        old = group.members[old_member_id]
        renamed = Member(
            member_id,
            old.instance_id,
            Client(old.client_id, old.client_host, join.client.connection_id),
            rebalance_timeout_ms=join.rebalance_timeout_ms,
            session_timeout_ms=join.request.session_timeout_ms,
            protocols=join.protocols,
            assignment=old.assignment,
        )
        members = [renamed if m is old else m for m in group.members.values()]
        record = records.stable_group(
            group,
            [(member, member.assignment) for member in members],
            leader=member_id if old_leader == old_member_id else old_leader,
            timestamp_ms=group.state_timestamp_ms,
        )

        def replaced() -> Decision:
            self._rebalances.forget_session(group, old_member_id)
            self._rebalances.has_synced(group, old_member_id)
            member = group.members[member_id]
            self._update(join, group, member)
            member.connection_id = join.client.connection_id
            self._rebalances.hear_of(group, member)
            leads = group.leader == member_id
            if join.version >= FIRST_VERSION_WITH_SKIP_ASSIGNMENT:
                response = joined(group, member_id, with_members=leads, skip_assignment=leads)
            else:
                response = joined(group, member_id, leader=old_leader)
            return Decision(answers=[Answer(join.ticket, response)])

        return Decision([record], then=replaced)

    # --- with a member id ------------------------------------------------------------------------------------------

    def _join_with_id(self, join: Join, group: ClassicGroup, now_ms: int) -> Decision:
        member_id = join.request.member_id
        if member_id in group.pending_joins:
            if join.request.group_instance_id is not None:
                return join.refused(ErrorCode.UNKNOWN_MEMBER_ID, member_id)
            return self._add(join, group, member_id, now_ms)
        refusal = group.refusal(member_id, join.request.group_instance_id)
        if refusal is not ErrorCode.NONE or group.state is GroupState.EMPTY:
            return join.refused(refusal or ErrorCode.UNKNOWN_MEMBER_ID, member_id)
        member = group.members[member_id]
        leads = group.leader == member_id
        is_unchanged = member.protocols == join.protocols
        if group.state is GroupState.COMPLETING_REBALANCE and is_unchanged:
            # It may not have received the answer to its join: give it again.
            return Decision(answers=[Answer(join.ticket, joined(group, member_id, with_members=leads))])
        if group.state is GroupState.STABLE and is_unchanged and not leads:
            return Decision(answers=[Answer(join.ticket, joined(group, member_id))])
        return self._rejoin(join, group, member, now_ms)

    def _rejoin(self, join: Join, group: ClassicGroup, member: Member, now_ms: int) -> Decision:
        """The member has something new to say, or it leads: a leader that joins again wants a rebalance."""
        answers: list[Answer] = []
        if member.join_ticket is not None:
            # Its earlier join was given up by the client; Kafka would leave it unanswered.
            answers.append(Answer(member.join_ticket, refused_join(ErrorCode.REBALANCE_IN_PROGRESS, member.member_id)))
        self._update(join, group, member)
        group.await_join(member, join.ticket)
        reason = f"member {member.member_id} joins again{_why(join.request)}"
        return self._rebalances.prepare_or_complete(group, now_ms, answers, reason)

    def _update(self, join: Join, group: ClassicGroup, member: Member) -> None:
        group.update(
            member,
            join.protocols,
            rebalance_timeout_ms=join.rebalance_timeout_ms,
            session_timeout_ms=join.request.session_timeout_ms,
        )
        member.connection_id = join.client.connection_id

    def _new_member_id(self, prefix: str) -> str:
        text = self._entropy.uuid().hex()
        prefix = prefix[:MEMBER_ID_PREFIX_CHARACTERS]
        return f"{prefix}-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _why(request: JoinGroupRequest) -> str:
    return f" ({request.reason[:255]!r})" if request.reason else ""
