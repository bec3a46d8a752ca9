"""DescribeTopicPartitions (key 75): topics page by page (KIP-966)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct


class DescribeTopicPartitionsRequest(Request, key=ApiKey.DESCRIBE_TOPIC_PARTITIONS, versions="0", flexible="0+"):
    """Topics from a cursor on."""

    topics: Array[Topic]
    response_partition_limit: Int32 = 2000
    cursor: Cursor | None = None

    class Topic(Struct):
        name: String

    class Cursor(Struct):
        topic_name: String
        partition_index: Int32


class DescribeTopicPartitionsResponse(Response, key=ApiKey.DESCRIBE_TOPIC_PARTITIONS, versions="0", flexible="0+"):
    """Partitions with eligible leader replicas, and the cursor of the next page."""

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]
    next_cursor: Cursor | None = None

    class Topic(Struct):
        error_code: Int16
        name: String | None
        topic_id: Uuid
        is_internal: Bool = False
        partitions: Array[Partition]
        topic_authorized_operations: Int32 = -(2**31)  # nobody asked

        class Partition(Struct):
            error_code: Int16
            partition_index: Int32
            leader_id: Int32
            leader_epoch: Int32 = -1
            replica_nodes: Array[Int32]
            isr_nodes: Array[Int32]
            eligible_leader_replicas: Array[Int32] | None = None
            last_known_elr: Array[Int32] | None = None
            offline_replicas: Array[Int32]

    class Cursor(Struct):
        topic_name: String
        partition_index: Int32
