"""BeginQuorumEpoch (key 53): a new raft leader tells the voters of itself (KIP-595)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Int16, Int32, String, UInt16, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class BeginQuorumEpochRequest(Request, key=ApiKey.BEGIN_QUORUM_EPOCH, versions="0-1", flexible="1+"):
    """Sent until each voter has acknowledged.

    Versions: 1 voter key and the leader's endpoints (KIP-853).
    """

    cluster_id: String | None = None
    voter_id: Int32 = field(versions="1+", default=-1, ignorable=True)
    topics: Array[Topic]
    leader_endpoints: Array[LeaderEndpoint] = field(versions="1+", default=[], ignorable=True)

    class Topic(Struct):
        topic_name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            voter_directory_id: Uuid = field(versions="1+", default=ZERO_UUID, ignorable=True)
            leader_id: Int32
            leader_epoch: Int32

    class LeaderEndpoint(Struct):
        name: String
        host: String
        port: UInt16


class BeginQuorumEpochResponse(Response, key=ApiKey.BEGIN_QUORUM_EPOCH, versions="0-1", flexible="1+"):
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
