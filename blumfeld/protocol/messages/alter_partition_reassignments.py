"""AlterPartitionReassignments (key 45): move partitions to other brokers (KIP-455)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class AlterPartitionReassignmentsRequest(
    Request, key=ApiKey.ALTER_PARTITION_REASSIGNMENTS, versions="0-1", flexible="0+"
):
    """New replicas for each partition; null cancels what is under way.

    Versions: 1 whether the replication factor may change (KIP-860).
    """

    timeout_ms: Int32 = 60000
    allow_replication_factor_change: Bool = field(versions="1+", default=True)
    topics: Array[Topic]

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            replicas: Array[Int32] | None = None


class AlterPartitionReassignmentsResponse(
    Response, key=ApiKey.ALTER_PARTITION_REASSIGNMENTS, versions="0-1", flexible="0+"
):
    """A result for each partition.

    Versions: 1 the choice made about the replication factor (KIP-860).
    """

    throttle_time_ms: Int32 = 0
    allow_replication_factor_change: Bool = field(versions="1+", default=True, ignorable=True)
    error_code: Int16
    error_message: String | None
    responses: Array[Topic]

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            error_message: String | None
