"""DescribeGroups, ListGroups, DeleteGroups: what administrators ask.

Owns these decisions; they show groups as they are now, rebalances in progress included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.coordinator.decision import Answer, Decision, LogRecord, Ticket
from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.state import DEAD, GroupState
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.delete_groups import DeleteGroupsResponse
from blumfeld.protocol.messages.describe_groups import DescribeGroupsResponse
from blumfeld.protocol.messages.list_groups import ListGroupsResponse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from blumfeld.coordinator.group.classic import ClassicGroup
    from blumfeld.coordinator.group.member import Member
    from blumfeld.coordinator.group.offset_store import OffsetStore

CLASSIC_TYPE = "classic"
FIRST_VERSION_WITH_GROUP_ID_NOT_FOUND = 6


def undescribed(group_id: str, error: ErrorCode, message: str | None = None) -> DescribeGroupsResponse.Group:
    """What is said of a group that cannot be described."""
    return DescribeGroupsResponse.Group(
        error_code=error,
        error_message=message,
        group_id=group_id,
        group_state="",
        protocol_type="",
        protocol_data="",
        members=[],
    )


class Overview:
    """Shows groups, and deletes those that are empty."""

    def __init__(self, groups: dict[str, ClassicGroup], store: OffsetStore, foreign: Collection[str]) -> None:
        self._groups = groups
        self._store = store
        self._foreign = foreign

    def describe(self, group_id: str, version: int) -> DescribeGroupsResponse.Group:
        """One group with its members; their subscriptions and protocol only while it is stable, as in Kafka."""
        group = self._groups.get(group_id)
        if group is None:
            unknown = undescribed(group_id, ErrorCode.NONE)
            unknown.group_state = DEAD
            if version >= FIRST_VERSION_WITH_GROUP_ID_NOT_FOUND:
                unknown.error_code = ErrorCode.GROUP_ID_NOT_FOUND
                unknown.error_message = f"Group {group_id} not found."
            return unknown
        is_stable = group.state is GroupState.STABLE
        protocol = group.protocol_name if is_stable else None
        return DescribeGroupsResponse.Group(
            error_code=ErrorCode.NONE,
            group_id=group_id,
            group_state=group.state.value,
            protocol_type=group.protocol_type or "",
            protocol_data=protocol or "",
            members=[_described(member, protocol) for member in group.members.values()],
        )

    def list(self, states: Collection[str], types: Collection[str]) -> Iterator[ListGroupsResponse.Group]:
        """The groups in these states and of these types, case aside; empty filters let all pass (KIP-518)."""
        wanted_states = {state.strip().lower() for state in states}
        if types and CLASSIC_TYPE not in {name.lower() for name in types}:
            return
        for group in self._groups.values():
            if not wanted_states or group.state.value.lower() in wanted_states:
                yield ListGroupsResponse.Group(
                    group_id=group.group_id,
                    protocol_type=group.protocol_type or "",
                    group_state=group.state.value,
                    group_type=CLASSIC_TYPE,
                )

    def delete(self, group_ids: Collection[str], ticket: Ticket) -> Decision:
        """Delete groups without members, with their offsets (KIP-229)."""
        response = DeleteGroupsResponse(results=[])
        to_write: list[LogRecord] = []
        for group_id in group_ids:
            error = self._why_not_deletable(group_id)
            if error is ErrorCode.NONE:
                to_write.extend(self.tombstones(group_id))
            response.results.append(DeleteGroupsResponse.Result(group_id=group_id, error_code=error))
        return Decision(to_write, [Answer(ticket, response)], settled=True, atomic=False)

    def tombstones(self, group_id: str) -> Iterator[LogRecord]:
        """What makes a group and its offsets be forgotten."""
        offsets = self._store.of_group(group_id)
        for topic, partitions in offsets.items():
            for partition in partitions:
                yield records.offset_tombstone(group_id, topic, partition)
        for topic, partition in self._store.unstable_partitions(group_id):
            if self._store.get(group_id, topic, partition) is None:
                yield records.offset_tombstone(group_id, topic, partition)
        yield records.group_tombstone(group_id)

    def _why_not_deletable(self, group_id: str) -> ErrorCode:
        if group_id in self._foreign:
            return ErrorCode.NON_EMPTY_GROUP
        group = self._groups.get(group_id)
        if group is None:
            return ErrorCode.GROUP_ID_NOT_FOUND
        return ErrorCode.NONE if group.state is GroupState.EMPTY else ErrorCode.NON_EMPTY_GROUP


def _described(member: Member, protocol: str | None) -> DescribeGroupsResponse.Group.Member:
    return DescribeGroupsResponse.Group.Member(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        member_metadata=(member.metadata(protocol) or b"") if protocol is not None else b"",
        member_assignment=member.assignment,
    )
