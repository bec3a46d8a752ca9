"""DescribeQuorum (key 55): the raft quorum as its leader sees it (KIP-595)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Int16, Int32, Int64, String, UInt16, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class DescribeQuorumRequest(Request, key=ApiKey.DESCRIBE_QUORUM, versions="0-2", flexible="0+"):
    """Partitions of raft topics: `__cluster_metadata`, 0."""

    topics: Array[Topic]

    class Topic(Struct):
        topic_name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32


class DescribeQuorumResponse(Response, key=ApiKey.DESCRIBE_QUORUM, versions="0-2", flexible="0+"):
    """Leader, voters and observers with their log end offsets.

    Versions: 1 when replicas last fetched and last were caught up (KIP-836); 2 directory ids, nodes with
    listeners, error messages (KIP-853).
    """

    error_code: Int16
    error_message: String | None = field(versions="2+", default="", ignorable=True)
    topics: Array[Topic]
    nodes: Array[Node] = field(versions="2+", default=[])

    class Topic(Struct):
        topic_name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            error_message: String | None = field(versions="2+", default="", ignorable=True)
            leader_id: Int32
            leader_epoch: Int32
            high_watermark: Int64
            current_voters: Array[ReplicaState]
            observers: Array[ReplicaState]

            class ReplicaState(Struct):
                replica_id: Int32
                replica_directory_id: Uuid = field(versions="2+", default=ZERO_UUID)
                log_end_offset: Int64
                last_fetch_timestamp: Int64 = field(versions="1+", default=-1, ignorable=True)
                last_caught_up_timestamp: Int64 = field(versions="1+", default=-1, ignorable=True)

    class Node(Struct):
        node_id: Int32
        listeners: Array[Listener]

        class Listener(Struct):
            name: String
            host: String
            port: UInt16
