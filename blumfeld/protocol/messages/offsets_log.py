"""Records of `__consumer_offsets`: committed offsets, classic groups and consumer groups.

Owns their declarations, in the order of their key types, and what types there are. `coordinator_log.py`
frames them. The types of share groups (10 to 15) and streams groups (17 to 23) are not declared.
"""

from __future__ import annotations

from blumfeld.protocol.messages.coordinator_log import RecordTypes
from blumfeld.protocol.primitives import ZERO_UUID, Array, Bytes, Int8, Int32, Int64, String, Uuid
from blumfeld.protocol.schema import Record, Struct, field


class LegacyOffsetCommitKey(Record, key=0, versions="0"):
    """Key type 0: a committed offset, as very old brokers wrote it."""

    group: String
    topic: String
    partition: Int32


class LegacyOffsetCommitValue(Record, key=0, versions="0"):
    """A committed offset, as very old brokers wrote it."""

    offset: Int64
    metadata: String
    commit_timestamp: Int64


class OffsetCommitKey(Record, key=1, versions="0"):
    """Key type 1: a committed offset."""

    group: String
    topic: String
    partition: Int32


class OffsetCommitValue(Record, key=1, versions="0-4", flexible="4+"):
    """A committed offset.

    Versions: 1 expiry, used with it alone; 2 without it again (KIP-211); 3 leader epoch (KIP-320); 4
    flexible, topic id as a tagged field (KIP-915, KIP-848).
    """

    offset: Int64
    leader_epoch: Int32 = field(versions="3+", default=-1, ignorable=True)
    metadata: String
    commit_timestamp: Int64
    expire_timestamp: Int64 = field(versions="1", default=-1, ignorable=True)
    topic_id: Uuid = field(versions="4+", tag=0, default=ZERO_UUID, ignorable=True)


class GroupMetadataKey(Record, key=2, versions="0"):
    """Key type 2: a classic group."""

    group: String


class GroupMetadataValue(Record, key=2, versions="0-4", flexible="4+"):
    """A stable generation of a classic group: what is needed to go on after a restart.

    Versions: 1 rebalance timeout (KIP-62); 2 when the state changed (KIP-211); 3 static members (KIP-345); 4
    flexible (KIP-915).
    """

    protocol_type: String
    generation: Int32
    protocol: String | None
    leader: String | None
    current_state_timestamp: Int64 = field(versions="2+", default=-1, ignorable=True)
    members: Array[Member]

    class Member(Struct):
        member_id: String
        group_instance_id: String | None = field(versions="3+", default=None, ignorable=True)
        client_id: String
        client_host: String
        rebalance_timeout: Int32 = field(versions="1+", default=-1, ignorable=True)
        session_timeout: Int32
        subscription: Bytes
        assignment: Bytes


class ConsumerGroupMetadataKey(Record, key=3, versions="0"):
    """Key type 3: a consumer group's epoch (KIP-848)."""

    group_id: String


class ConsumerGroupMetadataValue(Record, key=3, versions="0", flexible="0+"):
    """A consumer group's epoch."""

    epoch: Int32
    metadata_hash: Int64 = field(tag=0, default=0)


class ConsumerGroupPartitionMetadataKey(Record, key=4, versions="0"):
    """Key type 4: the topics a group subscribes to; now the group's metadata hash does it (KIP-1101)."""

    group_id: String


class ConsumerGroupPartitionMetadataValue(Record, key=4, versions="0", flexible="0+"):
    """The topics a group subscribes to, with their sizes and racks."""

    topics: Array[Topic]

    class Topic(Struct):
        topic_id: Uuid
        topic_name: String
        num_partitions: Int32
        partition_metadata: Array[PartitionMetadata]

        class PartitionMetadata(Struct):
            partition: Int32
            racks: Array[String]


class ConsumerGroupMemberMetadataKey(Record, key=5, versions="0"):
    """Key type 5: a member (KIP-848)."""

    group_id: String
    member_id: String


class ConsumerGroupMemberMetadataValue(Record, key=5, versions="0", flexible="0+"):
    """A member with its subscription; classic ones too while a group is upgraded.

    That a member is none of those has to be said: `classic_member_metadata=None` is not the default.
    """

    class ClassicMemberMetadata(Struct):
        session_timeout_ms: Int32 = 0
        supported_protocols: Array[SupportedProtocol] = field(default=[])

        class SupportedProtocol(Struct):
            name: String
            metadata: Bytes

    instance_id: String | None
    rack_id: String | None
    client_id: String
    client_host: String
    subscribed_topic_names: Array[String]
    subscribed_topic_regex: String | None
    rebalance_timeout_ms: Int32 = -1
    server_assignor: String | None
    classic_member_metadata: ClassicMemberMetadata | None = field(tag=0, default_factory=ClassicMemberMetadata)


class ConsumerGroupTargetAssignmentMetadataKey(Record, key=6, versions="0"):
    """Key type 6: the epoch of the target assignment (KIP-848)."""

    group_id: String


class ConsumerGroupTargetAssignmentMetadataValue(Record, key=6, versions="0", flexible="0+"):
    """The epoch of the target assignment."""

    assignment_epoch: Int32
    assignment_timestamp: Int64 = field(tag=0, default=0)


class ConsumerGroupTargetAssignmentMemberKey(Record, key=7, versions="0"):
    """Key type 7: a member's target assignment (KIP-848)."""

    group_id: String
    member_id: String


class ConsumerGroupTargetAssignmentMemberValue(Record, key=7, versions="0", flexible="0+"):
    """A member's target assignment."""

    topic_partitions: Array[TopicPartition]

    class TopicPartition(Struct):
        topic_id: Uuid
        partitions: Array[Int32]


class ConsumerGroupCurrentMemberAssignmentKey(Record, key=8, versions="0"):
    """Key type 8: what a member owns now (KIP-848)."""

    group_id: String
    member_id: String


class ConsumerGroupCurrentMemberAssignmentValue(Record, key=8, versions="0", flexible="0+"):
    """What a member owns, has to give up first, and in which epochs.

    There is one assignment epoch for each partition; older releases wrote none.
    """

    member_epoch: Int32
    previous_member_epoch: Int32
    state: Int8  # 0 stable, 1 has to revoke, 2 waits for others to release
    assigned_partitions: Array[TopicPartitions]
    partitions_pending_revocation: Array[TopicPartitions]

    class TopicPartitions(Struct):
        topic_id: Uuid
        partitions: Array[Int32]
        assignment_epochs: Array[Int32] | None = field(tag=0, default=[])


class ConsumerGroupRegularExpressionKey(Record, key=16, versions="0"):
    """Key type 16: a regular expression that members subscribe to (KIP-848)."""

    group_id: String
    regular_expression: String


class ConsumerGroupRegularExpressionValue(Record, key=16, versions="0", flexible="0+"):
    """The topics a regular expression stood for when it was resolved."""

    topics: Array[String]
    version: Int64
    timestamp: Int64


RECORD_TYPES = RecordTypes(
    {
        0: (LegacyOffsetCommitKey, LegacyOffsetCommitValue),
        1: (OffsetCommitKey, OffsetCommitValue),
        2: (GroupMetadataKey, GroupMetadataValue),
        3: (ConsumerGroupMetadataKey, ConsumerGroupMetadataValue),
        4: (ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue),
        5: (ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue),
        6: (ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue),
        7: (ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue),
        8: (ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue),
        16: (ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue),
    }
)
"""How keys and values are told apart: `RECORD_TYPES.decode_key(…)`, `.decode_value(…)`."""
