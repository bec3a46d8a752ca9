"""DescribeProducers (key 61): producers that a partition's log knows (KIP-664)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct


class DescribeProducersRequest(Request, key=ApiKey.DESCRIBE_PRODUCERS, versions="0", flexible="0+"):
    """Partitions led by this broker."""

    topics: Array[Topic]

    class Topic(Struct):
        name: String
        partition_indexes: Array[Int32]


class DescribeProducersResponse(Response, key=ApiKey.DESCRIBE_PRODUCERS, versions="0", flexible="0+"):
    """Each partition's producer state."""

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            error_message: String | None = None
            active_producers: Array[ActiveProducer]

            class ActiveProducer(Struct):
                producer_id: Int64
                producer_epoch: Int32
                last_sequence: Int32 = -1
                last_timestamp: Int64 = -1
                coordinator_epoch: Int32
                current_txn_start_offset: Int64 = -1
