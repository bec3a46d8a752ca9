"""The machine of one partition of `__consumer_offsets`: every group request and deadline, and replay.

Owns the groups and offsets of the partition; the decisions are its parts' (`join.py`, `sync.py`, `offsets.py`, …).
Pure: see `decision.py`.

Records of types that are not served (3 to 8 and 16: consumer groups, KIP-848, which an Apache Kafka broker may have
written) are kept out: they are decoded and skipped. Of type 3, a group's epoch, its existence is remembered in
`foreign`: such a group is not ours to join, delete or expire, and its offsets stay. Its tombstone ends that.

Law: loading a machine's log gives its `durable_state()` again, as far as that tells of groups that are at rest, and
all its offsets; groups in a rebalance go back to the generation before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.coordinator.decision import NOTHING, Answer, Decision, LogRecord, Ticket, Timers
from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.classic import ClassicGroup
from blumfeld.coordinator.group.expiry import SWEEP_KEY, Expiry
from blumfeld.coordinator.group.join import Join, Joining
from blumfeld.coordinator.group.offset_store import OffsetStore
from blumfeld.coordinator.group.offsets import Offsets, refused_commit
from blumfeld.coordinator.group.overview import Overview
from blumfeld.coordinator.group.rebalance import Rebalances
from blumfeld.coordinator.group.records import CommittedOffset
from blumfeld.coordinator.group.state import GroupState
from blumfeld.coordinator.group.sync import Syncing
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.offset_delete import OffsetDeleteResponse
from blumfeld.protocol.messages.offsets_log import (
    ConsumerGroupMetadataKey,
    GroupMetadataKey,
    LegacyOffsetCommitKey,
    LegacyOffsetCommitValue,
    OffsetCommitKey,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from blumfeld.coordinator.group.config import GroupConfig
    from blumfeld.coordinator.group.member import Client, Member
    from blumfeld.env.entropy import Entropy
    from blumfeld.protocol.messages.describe_groups import DescribeGroupsResponse
    from blumfeld.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
    from blumfeld.protocol.messages.join_group import JoinGroupRequest
    from blumfeld.protocol.messages.leave_group import LeaveGroupRequest
    from blumfeld.protocol.messages.list_groups import ListGroupsResponse
    from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest
    from blumfeld.protocol.messages.offset_delete import OffsetDeleteRequest
    from blumfeld.protocol.messages.offset_fetch import OffsetFetchRequest
    from blumfeld.protocol.messages.sync_group import SyncGroupRequest


class GroupMachine:
    """All groups of one partition.

    Args:
        timers: its deadlines.
        config: the options that groups obey.
        entropy: where member ids come from.
        max_record_bytes: how large a batch of the log may be, now.
    """

    def __init__(
        self, timers: Timers, config: GroupConfig, entropy: Entropy, max_record_bytes: Callable[[], int]
    ) -> None:
        self.groups: dict[str, ClassicGroup] = {}
        self.offsets = OffsetStore()
        self.foreign: set[str] = set()
        self._config = config
        self._rebalances = Rebalances(timers, config)
        self._joining = Joining(self.groups, self._rebalances, config, entropy, max_record_bytes)
        self._syncing = Syncing(self.groups, self._rebalances)
        self._offsets = Offsets(self.groups, self.offsets, self._rebalances, config, max_record_bytes)
        self._overview = Overview(self.groups, self.offsets, self.foreign)
        self._expiry = Expiry(self.groups, self.offsets, self.foreign, timers, config)

    # --- requests --------------------------------------------------------------------------------------------------

    def join(self, request: JoinGroupRequest, version: int, client: Client, ticket: Ticket, now_ms: int) -> Decision:
        """JoinGroup."""
        join = Join.of(request, version, client, ticket)
        if request.group_id in self.foreign:
            return join.refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        return self._joining.join(join, now_ms)

    def sync(self, request: SyncGroupRequest, ticket: Ticket, now_ms: int) -> Decision:
        """SyncGroup."""
        return self._syncing.sync(request, ticket, now_ms)

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        """Heartbeat."""
        return self._syncing.heartbeat(request)

    def leave(self, request: LeaveGroupRequest, ticket: Ticket, now_ms: int) -> Decision:
        """LeaveGroup."""
        return self._syncing.leave(request, ticket, now_ms)

    def commit(self, request: OffsetCommitRequest, version: int, ticket: Ticket, now_ms: int) -> Decision:
        """OffsetCommit."""
        if request.group_id in self.foreign:
            return Decision(answers=[Answer(ticket, refused_commit(request, ErrorCode.UNKNOWN_MEMBER_ID))])
        return self._offsets.commit(request, version, ticket, now_ms)

    def fetch(self, request: OffsetFetchRequest.Group, ticket: Ticket, *, require_stable: bool) -> Decision:
        """OffsetFetch of one group."""
        return self._offsets.fetch(request, ticket, require_stable=require_stable)

    def delete_offsets(self, request: OffsetDeleteRequest, ticket: Ticket) -> Decision:
        """OffsetDelete."""
        if request.group_id in self.foreign:
            refused = OffsetDeleteResponse(error_code=ErrorCode.NON_EMPTY_GROUP, topics=[])
            return Decision(answers=[Answer(ticket, refused)])
        return self._offsets.delete(request, ticket)

    def describe(self, group_id: str, version: int) -> DescribeGroupsResponse.Group:
        """DescribeGroups of one group."""
        return self._overview.describe(group_id, version)

    def list(self, states: Collection[str], types: Collection[str]) -> Iterator[ListGroupsResponse.Group]:
        """ListGroups of this partition."""
        return self._overview.list(states, types)

    def delete(self, group_ids: Collection[str], ticket: Ticket) -> Decision:
        """DeleteGroups of this partition."""
        return self._overview.delete(group_ids, ticket)

    def forget_topics(self, deleted: Collection[tuple[str, bytes]]) -> Decision:
        """Topics, given by name and id, were deleted."""
        return self._expiry.forget_topics(deleted)

    def hurry(self, group_id: str, member_id: str, timeout_ms: int) -> None:
        """The member's connection is gone: unless it is heard of again soon, it is gone too. Static ones may return."""
        group = self.groups.get(group_id)
        member = None if group is None else group.members.get(member_id)
        if group is not None and member is not None and not member.is_static:
            self._rebalances.hear_of(group, member, min(timeout_ms, member.session_timeout_ms))

    # --- deadlines -------------------------------------------------------------------------------------------------

    def on_loaded(self, now_ms: int) -> Decision:
        """Every member in the log has a full session to be heard of; groups that are too large shed members."""
        for group in self.groups.values():
            for member in group.members.values():
                self._rebalances.hear_of(group, member)
            if len(group.members) > self._config.max_size:
                decision = self._rebalances.prepare(group, now_ms, [], "it is larger than group.max.size")
                assert not decision.records
                assert not decision.answers
        self._expiry.start()
        return NOTHING

    def expire(self, key: tuple[str, ...], now_ms: int) -> Decision:
        """A deadline is due: ("session", group, member), ("join", group), ("sync", group) or ("sweep",)."""
        if key == SWEEP_KEY:
            return self._expiry.sweep(now_ms)
        group = self.groups.get(key[1])
        if group is None:
            return NOTHING
        if key[0] == "session":
            return self._rebalances.expire_session(group, key[2], now_ms)
        if key[0] == "join":
            return self._rebalances.expire_join(group, now_ms)
        assert key[0] == "sync"
        return self._rebalances.expire_sync(group, now_ms)

    # --- replay ----------------------------------------------------------------------------------------------------

    def decode(self, key: bytes, value: bytes | None) -> LogRecord | None:
        """A record of the log; None for a type that is not known."""
        return records.decode(key, value)

    def replay(self, record: LogRecord, offset: int, producer_id: int = -1) -> None:
        """Let a record take effect, live or from the log."""
        key, value = record.key, record.value
        if isinstance(key, OffsetCommitKey | LegacyOffsetCommitKey):
            if value is None:
                self.offsets.remove(key.group, key.topic, key.partition)
                return
            if isinstance(value, LegacyOffsetCommitValue):
                committed = CommittedOffset(
                    value.offset, -1, value.metadata, value.commit_timestamp, record_offset=offset
                )
            else:
                committed = CommittedOffset.of_record(value, offset)
            self.offsets.put(key.group, key.topic, key.partition, committed, producer_id)
            self._ensure_group(key.group)
        elif isinstance(key, GroupMetadataKey):
            if value is None:
                self._forget(key.group)
            else:
                group = self.groups.setdefault(key.group, ClassicGroup(key.group))
                for member in group.replay(value):
                    self._rebalances.forget_session(group, member.member_id)
        elif isinstance(key, ConsumerGroupMetadataKey):
            self._replay_foreign(key.group_id, exists=value is not None)

    def replay_end_transaction(self, producer_id: int, *, committed: bool) -> None:
        """A transaction that committed offsets has ended."""
        self.offsets.end_transaction(producer_id, committed=committed)

    def durable_state(self) -> tuple[dict[str, object], object, set[str]]:
        """What the log determines, in a form that compares: groups at rest, offsets, groups that are not ours."""
        groups: dict[str, object] = {
            group_id: (
                group.state,
                group.generation,
                group.protocol_type,
                group.protocol_name,
                group.leader,
                group.state_timestamp_ms,
                {member.member_id: _durable(member, group.protocol_name) for member in group.members.values()},
            )
            for group_id, group in self.groups.items()
            if group.state in (GroupState.EMPTY, GroupState.STABLE)
        }
        return groups, self.offsets.snapshot(), self.foreign

    def _ensure_group(self, group_id: str) -> None:
        """Offsets alone make a group, too: Empty, without a protocol type."""
        if group_id not in self.foreign:
            self.groups.setdefault(group_id, ClassicGroup(group_id))

    def _forget(self, group_id: str) -> None:
        group = self.groups.pop(group_id, None)
        if group is not None:
            for member_id in [*group.members, *group.pending_joins]:
                self._rebalances.forget_session(group, member_id)

    def _replay_foreign(self, group_id: str, *, exists: bool) -> None:
        if exists:
            self.foreign.add(group_id)
            self._forget(group_id)
        elif group_id in self.foreign:
            self.foreign.remove(group_id)
            if self.offsets.of_group(group_id):
                self._ensure_group(group_id)


def _durable(member: Member, protocol: str | None) -> tuple[object, ...]:
    return (
        member.instance_id,
        member.client_id,
        member.client_host,
        member.session_timeout_ms,
        member.rebalance_timeout_ms,
        member.metadata(protocol),
        member.assignment,
    )
