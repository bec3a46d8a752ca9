"""ElectLeaders (key 43): elect leaders for partitions (KIP-183)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class ElectLeadersRequest(Request, key=ApiKey.ELECT_LEADERS, versions="0-2", flexible="2+"):
    """Partitions; null asks for all.

    Versions: 1 unclean elections too (KIP-460).
    """

    election_type: Int8 = field(versions="1+", default=0)  # 0 preferred, 1 unclean
    topic_partitions: Array[TopicPartitions] | None
    timeout_ms: Int32 = 60000

    class TopicPartitions(Struct):
        topic: String
        partitions: Array[Int32]


class ElectLeadersResponse(Response, key=ApiKey.ELECT_LEADERS, versions="0-2", flexible="2+"):
    """A result for each partition.

    Versions: 1 top-level error (KIP-460).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = field(versions="1+", default=0)
    replica_election_results: Array[ReplicaElectionResult]

    class ReplicaElectionResult(Struct):
        topic: String
        partition_result: Array[PartitionResult]

        class PartitionResult(Struct):
            partition_id: Int32
            error_code: Int16
            error_message: String | None
