"""DeleteRecords (key 21): move the start of partitions forward (KIP-107)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct


class DeleteRecordsRequest(Request, key=ApiKey.DELETE_RECORDS, versions="0-2", flexible="2+"):
    """The new first offset of each partition; -1 means the high watermark."""

    topics: Array[Topic]
    timeout_ms: Int32

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            offset: Int64


class DeleteRecordsResponse(Response, key=ApiKey.DELETE_RECORDS, versions="0-2", flexible="2+"):
    """The low watermark of each partition after the deletion."""

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            low_watermark: Int64  # of all replicas
            error_code: Int16
