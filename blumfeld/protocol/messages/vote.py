"""Vote (key 52): a replica asks the voters to elect it (KIP-595)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Bool, Int16, Int32, Int64, String, UInt16, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class VoteRequest(Request, key=ApiKey.VOTE, versions="0-2", flexible="0+"):
    """A candidate's epoch, and how far its log reaches.

    Versions: 1 directory ids of both sides (KIP-853); 2 pre-votes, which persist nothing (KIP-996).
    """

    cluster_id: String | None = None
    voter_id: Int32 = field(versions="1+", default=-1, ignorable=True)
    topics: Array[Topic]

    class Topic(Struct):
        topic_name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            replica_epoch: Int32
            replica_id: Int32
            replica_directory_id: Uuid = field(versions="1+", default=ZERO_UUID, ignorable=True)
            voter_directory_id: Uuid = field(versions="1+", default=ZERO_UUID, ignorable=True)
            last_offset_epoch: Int32
            last_offset: Int64
            pre_vote: Bool = field(versions="2+", default=False)


class VoteResponse(Response, key=ApiKey.VOTE, versions="0-2", flexible="0+"):
    """Whether the vote is granted, and the leader known.

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
            vote_granted: Bool

    class NodeEndpoint(Struct):
        node_id: Int32
        host: String
        port: UInt16
