"""DescribeCluster (key 60): cluster id, controller and nodes (KIP-700)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class DescribeClusterRequest(Request, key=ApiKey.DESCRIBE_CLUSTER, versions="0-2", flexible="0+"):
    """What to include.

    Versions: 1 endpoint type: 1 brokers, 2 controllers (KIP-919); 2 fenced brokers too (KIP-1073).
    """

    include_cluster_authorized_operations: Bool
    endpoint_type: Int8 = field(versions="1+", default=1)
    include_fenced_brokers: Bool = field(versions="2+", default=False)


class DescribeClusterResponse(Response, key=ApiKey.DESCRIBE_CLUSTER, versions="0-2", flexible="0+"):
    """The nodes of the endpoint type asked for.

    Versions: 1 endpoint type (KIP-919); 2 which brokers are fenced (KIP-1073).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None = None
    endpoint_type: Int8 = field(versions="1+", default=1)
    cluster_id: String
    controller_id: Int32 = -1
    brokers: Array[Broker]
    cluster_authorized_operations: Int32 = -(2**31)  # nobody asked

    class Broker(Struct):
        broker_id: Int32
        host: String
        port: Int32
        rack: String | None = None
        is_fenced: Bool = field(versions="2+", default=False)
