"""EndQuorumEpoch (key 54): a resigning raft leader asks for a quick succession (KIP-595)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, String, UInt16, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class EndQuorumEpochRequest(Request, key=ApiKey.END_QUORUM_EPOCH, versions="0-1", flexible="1+"):
    """Names the preferred candidates, the most advanced first.

    Versions: 1 candidates with directory ids, and the leader's endpoints (KIP-853).
    """

    cluster_id: String | None = None
    topics: Array[Topic]
    leader_endpoints: Array[LeaderEndpoint] = field(versions="1+", default=[], ignorable=True)

    class Topic(Struct):
        topic_name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            leader_id: Int32
            leader_epoch: Int32
            preferred_successors: Array[Int32] = field(versions="0", default=[], ignorable=True)
            preferred_candidates: Array[PreferredCandidate] = field(versions="1+", default=[], ignorable=True)

            class PreferredCandidate(Struct):
                candidate_id: Int32
                candidate_directory_id: Uuid

    class LeaderEndpoint(Struct):
        name: String
        host: String
        port: UInt16


class EndQuorumEpochResponse(Response, key=ApiKey.END_QUORUM_EPOCH, versions="0-1", flexible="1+"):
    """The leader and epoch the voter knows.

    Versions: 1 node endpoints (KIP-853).
    """

    error_code: Int16
    topics: Array[Topic]
    node_endpoints: Array[NodeEndpoint] = field(versions="1+", tag=0, default=[])

    class Topic(Struct):
        topic_name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            leader_id: Int32
            leader_epoch: Int32

    class NodeEndpoint(Struct):
        node_id: Int32
        host: String
        port: UInt16
