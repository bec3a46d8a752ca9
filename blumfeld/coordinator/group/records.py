"""The records of `__consumer_offsets`, built and decoded exactly as Apache Kafka 4.3 writes them.

Owns which version of each is written: offsets as version 4 (1 where a client asked for an expiry), groups as
version 3. Apache Kafka 4.x reads and writes the same, so a partition may move between its brokers and ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blumfeld.coordinator.decision import LogRecord
from blumfeld.protocol.messages.coordinator_log import encode_key, encode_value
from blumfeld.protocol.messages.offsets_log import (
    RECORD_TYPES,
    GroupMetadataKey,
    GroupMetadataValue,
    OffsetCommitKey,
    OffsetCommitValue,
)
from blumfeld.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blumfeld.coordinator.group.classic import ClassicGroup
    from blumfeld.coordinator.group.member import Member
    from blumfeld.protocol.schema import Record

OFFSET_VERSION = 4
EXPIRING_OFFSET_VERSION = 1
GROUP_VERSION = 3


class CommittedOffset(NamedTuple):
    """A position that a group has committed."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int = -1
    """When it expires by the client's wish (OffsetCommit up to version 4); -1: by the broker's retention."""
    topic_id: bytes = ZERO_UUID
    record_offset: int = -1
    """Where its record lies: of two commits, the later record holds (KIP-447)."""

    @classmethod
    def of_record(cls, value: OffsetCommitValue, record_offset: int) -> CommittedOffset:
        return cls(
            value.offset,
            value.leader_epoch,
            value.metadata,
            value.commit_timestamp,
            value.expire_timestamp,
            value.topic_id,
            record_offset,
        )


def decode(key: bytes, value: bytes | None) -> LogRecord | None:
    """The record, None for a type that is not known. Raises ProtocolError."""
    decoded_key = RECORD_TYPES.decode_key(key)
    if decoded_key is None:
        return None
    decoded_value = None if value is None else RECORD_TYPES.decode_value(decoded_key, value)
    return LogRecord(decoded_key, decoded_value, key, value)


def offset_commit(group_id: str, topic: str, partition: int, committed: CommittedOffset) -> LogRecord:
    """A committed offset.

    One that a client has given a time to live has neither leader epoch nor topic id: version 1 cannot hold them.
    """
    value = OffsetCommitValue(
        offset=committed.offset,
        metadata=committed.metadata,
        commit_timestamp=committed.commit_timestamp_ms,
        expire_timestamp=committed.expire_timestamp_ms,
    )
    version = EXPIRING_OFFSET_VERSION
    if committed.expire_timestamp_ms == -1:
        version = OFFSET_VERSION
        value.leader_epoch = committed.leader_epoch
        value.topic_id = committed.topic_id
    return _record(OffsetCommitKey(group=group_id, topic=topic, partition=partition), value, version)


def offset_tombstone(group_id: str, topic: str, partition: int) -> LogRecord:
    """The offset is forgotten."""
    return _tombstone(OffsetCommitKey(group=group_id, topic=topic, partition=partition))


def new_group(group_id: str, now_ms: int) -> LogRecord:
    """A group that exists and has nothing yet."""
    value = GroupMetadataValue(
        protocol_type="", generation=0, protocol=None, leader=None, current_state_timestamp=now_ms, members=[]
    )
    return _record(GroupMetadataKey(group=group_id), value, GROUP_VERSION)


def emptied_group(group: ClassicGroup, now_ms: int) -> LogRecord:
    """The next generation of a group that has no members left."""
    value = GroupMetadataValue(
        protocol_type=group.protocol_type or "",
        generation=group.generation + 1,
        protocol=None,
        leader=None,
        current_state_timestamp=now_ms,
        members=[],
    )
    return _record(GroupMetadataKey(group=group.group_id), value, GROUP_VERSION)


def stable_group(
    group: ClassicGroup, members: Iterable[tuple[Member, bytes]], *, leader: str | None, timestamp_ms: int
) -> LogRecord:
    """A generation with the assignment of each member."""
    value = GroupMetadataValue(
        protocol_type=group.protocol_type or "",
        generation=group.generation,
        protocol=group.protocol_name,
        leader=leader,
        current_state_timestamp=timestamp_ms,
        members=[
            GroupMetadataValue.Member(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.session_timeout_ms,
                subscription=member.metadata(group.protocol_name) or b"",
                assignment=assignment,
            )
            for member, assignment in members
        ],
    )
    return _record(GroupMetadataKey(group=group.group_id), value, GROUP_VERSION)


def group_tombstone(group_id: str) -> LogRecord:
    """The group is forgotten."""
    return _tombstone(GroupMetadataKey(group=group_id))


def _record(key: Record, value: Record, version: int) -> LogRecord:
    return LogRecord(key, value, encode_key(key), encode_value(value, version))


def _tombstone(key: Record) -> LogRecord:
    return LogRecord(key, None, encode_key(key), None)
