"""OffsetDelete (key 47): forget committed offsets of topics a group no longer reads (KIP-496)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class OffsetDeleteRequest(Request, key=ApiKey.OFFSET_DELETE, versions="0"):
    """Partitions of one group."""

    group_id: String
    topics: Array[Topic]

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32


class OffsetDeleteResponse(Response, key=ApiKey.OFFSET_DELETE, versions="0"):
    """A result for each partition."""

    error_code: Int16
    throttle_time_ms: Int32 = 0
    topics: Array[Topic]

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
