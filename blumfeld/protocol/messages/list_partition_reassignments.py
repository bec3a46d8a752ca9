"""ListPartitionReassignments (key 46): what is being moved (KIP-455)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class ListPartitionReassignmentsRequest(Request, key=ApiKey.LIST_PARTITION_REASSIGNMENTS, versions="0", flexible="0+"):
    """Partitions; null topics ask for all."""

    timeout_ms: Int32 = 60000
    topics: Array[Topic] | None = None

    class Topic(Struct):
        name: String
        partition_indexes: Array[Int32]


class ListPartitionReassignmentsResponse(
    Response, key=ApiKey.LIST_PARTITION_REASSIGNMENTS, versions="0", flexible="0+"
):
    """Replicas now, those being added and those being removed."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    topics: Array[Topic]

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            replicas: Array[Int32]
            adding_replicas: Array[Int32]
            removing_replicas: Array[Int32]
