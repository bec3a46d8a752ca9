"""OffsetCommit (key 8): store a group's positions."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Int16, Int32, Int64, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class OffsetCommitRequest(Request, key=ApiKey.OFFSET_COMMIT, versions="2-10", flexible="8+"):
    """Positions to commit for one group.

    A generation below 0 with an empty member id commits from outside the membership.

    Versions: 5 drops the retention time (KIP-211); 6 leader epoch of the last record read (KIP-320); 7
    static members (KIP-345); 9 member epochs of the consumer protocol (KIP-848); 10 topic ids (KIP-848).
    """

    group_id: String
    generation_id_or_member_epoch: Int32 = -1
    member_id: String
    group_instance_id: String | None = field(versions="7+", default=None)
    retention_time_ms: Int64 = field(versions="2-4", default=-1, ignorable=True)
    topics: Array[Topic]

    class Topic(Struct):
        name: String = field(versions="2-9", default="", ignorable=True)
        topic_id: Uuid = field(versions="10+", default=ZERO_UUID, ignorable=True)
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            committed_offset: Int64
            committed_leader_epoch: Int32 = field(versions="6+", default=-1, ignorable=True)
            committed_metadata: String | None


class OffsetCommitResponse(Response, key=ApiKey.OFFSET_COMMIT, versions="2-10", flexible="8+"):
    """An error code for each partition.

    Versions: 3 throttle time; 9 STALE_MEMBER_EPOCH and GROUP_ID_NOT_FOUND (KIP-848); 10 topic ids (KIP-848).
    """

    throttle_time_ms: Int32 = field(versions="3+", default=0, ignorable=True)
    topics: Array[Topic]

    class Topic(Struct):
        name: String = field(versions="2-9", default="", ignorable=True)
        topic_id: Uuid = field(versions="10+", default=ZERO_UUID, ignorable=True)
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
