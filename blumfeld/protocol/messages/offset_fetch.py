"""OffsetFetch (key 9): read a group's committed positions."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Bool, Int16, Int32, Int64, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class OffsetFetchRequest(Request, key=ApiKey.OFFSET_FETCH, versions="1-10", flexible="6+"):
    """Positions wanted: of one group up to version 7, of several from version 8 on.

    Null topics ask for all that are committed.

    Versions: 2 all topics; 7 refuse while transactional commits are pending (KIP-447); 8 several groups
    (KIP-709); 9 member id and epoch (KIP-848); 10 topic ids (KIP-848).
    """

    group_id: String = field(versions="1-7", default="")
    topics: Array[Topic] | None = field(versions="1-7", nullable="2-7", default=[])
    groups: Array[Group] = field(versions="8+", default=[])
    require_stable: Bool = field(versions="7+", default=False)

    class Topic(Struct):
        name: String
        partition_indexes: Array[Int32]

    class Group(Struct):
        group_id: String
        member_id: String | None = field(versions="9+", default=None, ignorable=True)
        member_epoch: Int32 = field(versions="9+", default=-1, ignorable=True)
        topics: Array[Topic] | None

        class Topic(Struct):
            name: String = field(versions="8-9", default="", ignorable=True)
            topic_id: Uuid = field(versions="10+", default=ZERO_UUID, ignorable=True)
            partition_indexes: Array[Int32]


class OffsetFetchResponse(Response, key=ApiKey.OFFSET_FETCH, versions="1-10", flexible="6+"):
    """Committed offsets; -1 where nothing is committed.

    Versions: 2 top-level error; 3 throttle time; 5 leader epochs (KIP-320); 7 UNSTABLE_OFFSET_COMMIT
    (KIP-447); 8 several groups (KIP-709); 9 STALE_MEMBER_EPOCH (KIP-848); 10 topic ids (KIP-848).
    """

    throttle_time_ms: Int32 = field(versions="3+", default=0, ignorable=True)
    topics: Array[Topic] = field(versions="1-7", default=[])
    error_code: Int16 = field(versions="2-7", default=0, ignorable=True)
    groups: Array[Group] = field(versions="8+", default=[])

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            committed_offset: Int64
            committed_leader_epoch: Int32 = field(versions="5-7", default=-1, ignorable=True)
            metadata: String | None
            error_code: Int16

    class Group(Struct):
        group_id: String
        topics: Array[Topic]
        error_code: Int16 = 0

        class Topic(Struct):
            name: String = field(versions="8-9", default="", ignorable=True)
            topic_id: Uuid = field(versions="10+", default=ZERO_UUID, ignorable=True)
            partitions: Array[Partition]

            class Partition(Struct):
                partition_index: Int32
                committed_offset: Int64
                committed_leader_epoch: Int32 = -1
                metadata: String | None
                error_code: Int16
