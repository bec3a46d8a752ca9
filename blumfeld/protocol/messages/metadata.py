"""Metadata (key 3): brokers, topics and who leads what."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Bool, Int16, Int32, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class MetadataRequest(Request, key=ApiKey.METADATA, versions="0-13", flexible="9+"):
    """Topics to describe; null asks for all (in version 0 the empty list does).

    Versions: 4 automatic topic creation is a choice; 8 authorized operations (KIP-430); 10 topic ids beside
    names (KIP-516); 11 drops the cluster's authorized operations (KIP-700); 12 lookup by topic id (KIP-516).
    """

    topics: Array[Topic] | None = field(nullable="1+")
    allow_auto_topic_creation: Bool = field(versions="4+", default=True)
    include_cluster_authorized_operations: Bool = field(versions="8-10", default=False)
    include_topic_authorized_operations: Bool = field(versions="8+", default=False)

    class Topic(Struct):
        topic_id: Uuid = field(versions="10+", default=ZERO_UUID, ignorable=True)
        name: String | None = field(nullable="10+")


class MetadataResponse(Response, key=ApiKey.METADATA, versions="0-13", flexible="9+"):
    """The cluster as this broker's copy of the metadata has it.

    Versions: 1 rack, controller, internal flag; 2 cluster id (KIP-78); 3 throttle time; 5 offline replicas
    (KIP-112); 7 leader epochs (KIP-320); 8 authorized operations (KIP-430); 10 topic ids (KIP-516); 11 drops
    the cluster's authorized operations (KIP-700); 13 top-level error (KIP-1102).
    """

    throttle_time_ms: Int32 = field(versions="3+", default=0, ignorable=True)
    brokers: Array[Broker]
    cluster_id: String | None = field(versions="2+", default=None, ignorable=True)
    controller_id: Int32 = field(versions="1+", default=-1, ignorable=True)
    topics: Array[Topic]
    cluster_authorized_operations: Int32 = field(versions="8-10", default=-(2**31))
    error_code: Int16 = field(versions="13+", default=0, ignorable=True)

    class Broker(Struct):
        node_id: Int32
        host: String
        port: Int32
        rack: String | None = field(versions="1+", default=None, ignorable=True)

    class Topic(Struct):
        error_code: Int16
        name: String | None = field(nullable="12+")
        topic_id: Uuid = field(versions="10+", default=ZERO_UUID, ignorable=True)
        is_internal: Bool = field(versions="1+", default=False, ignorable=True)
        partitions: Array[Partition]
        topic_authorized_operations: Int32 = field(versions="8+", default=-(2**31))  # nobody asked

        class Partition(Struct):
            error_code: Int16
            partition_index: Int32
            leader_id: Int32
            leader_epoch: Int32 = field(versions="7+", default=-1, ignorable=True)
            replica_nodes: Array[Int32]
            isr_nodes: Array[Int32]
            offline_replicas: Array[Int32] = field(versions="5+", default=[], ignorable=True)
