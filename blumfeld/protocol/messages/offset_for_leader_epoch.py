"""OffsetForLeaderEpoch (key 23): where a leader epoch ended in this log."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class OffsetForLeaderEpochRequest(Request, key=ApiKey.OFFSET_FOR_LEADER_EPOCH, versions="2-4", flexible="4+"):
    """Epochs to look up, to find where one log departs from another (KIP-101, KIP-320).

    Versions: 2 fencing by the current leader epoch (KIP-320); 3 who asks: -2 is a client that may see beyond
    the high watermark.
    """

    replica_id: Int32 = field(versions="3+", default=-2, ignorable=True)
    topics: Array[Topic]

    class Topic(Struct):
        topic: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition: Int32
            current_leader_epoch: Int32 = -1
            leader_epoch: Int32


class OffsetForLeaderEpochResponse(Response, key=ApiKey.OFFSET_FOR_LEADER_EPOCH, versions="2-4", flexible="4+"):
    """For each partition the largest epoch not above the one asked, and the offset where it ended."""

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]

    class Topic(Struct):
        topic: String
        partitions: Array[Partition]

        class Partition(Struct):
            error_code: Int16
            partition: Int32
            leader_epoch: Int32 = -1
            end_offset: Int64 = -1
