"""ListOffsets (key 2): which offset belongs to a timestamp."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class ListOffsetsRequest(Request, key=ApiKey.LIST_OFFSETS, versions="1-11", flexible="6+"):
    """Timestamps to look up, per partition.

    Negative ones are special: -1 latest, -2 earliest, -3 that of the largest timestamp (v7, KIP-734), -4
    earliest local (v8, KIP-405), -5 last tiered (v9, KIP-1005), -6 earliest not yet uploaded (v11,
    KIP-1023).

    Versions: 2 isolation level (KIP-98); 4 fencing by leader epoch (KIP-320); 10 a timeout for remote
    lookups (KIP-1075).
    """

    replica_id: Int32  # -1: a consumer
    isolation_level: Int8 = field(versions="2+", default=0)  # 0 read uncommitted, 1 read committed
    topics: Array[Topic]
    timeout_ms: Int32 = field(versions="10+", default=0, ignorable=True)

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            current_leader_epoch: Int32 = field(versions="4+", default=-1, ignorable=True)
            timestamp: Int64


class ListOffsetsResponse(Response, key=ApiKey.LIST_OFFSETS, versions="1-11", flexible="6+"):
    """The first offset whose timestamp is not earlier, and its timestamp; -1 for both where there is none.

    Versions: 2 throttle time; 4 leader epoch of the offset (KIP-320); 5 OFFSET_NOT_AVAILABLE (KIP-207).
    """

    throttle_time_ms: Int32 = field(versions="2+", default=0, ignorable=True)
    topics: Array[Topic]

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            timestamp: Int64 = -1
            offset: Int64 = -1
            leader_epoch: Int32 = field(versions="4+", default=-1)
