"""FindCoordinator (key 10): which broker coordinates a group, a transactional id or a share partition."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class FindCoordinatorRequest(Request, key=ApiKey.FIND_COORDINATOR, versions="0-6", flexible="3+"):
    """One key up to version 3, several from version 4 on.

    Key types: 0 group, 1 transaction, 2 share ("group:topicId:partition").

    Versions: 1 key type; 4 several keys (KIP-699); 5 TRANSACTION_ABORTABLE (KIP-890); 6 share groups
    (KIP-932).
    """

    key: String = field(versions="0-3", default="")
    key_type: Int8 = field(versions="1+", default=0)
    coordinator_keys: Array[String] = field(versions="4+", default=[])


class FindCoordinatorResponse(Response, key=ApiKey.FIND_COORDINATOR, versions="0-6", flexible="3+"):
    """The coordinator's address for each key.

    Versions: 1 error message and throttle time; 4 several keys (KIP-699).
    """

    throttle_time_ms: Int32 = field(versions="1+", default=0, ignorable=True)
    error_code: Int16 = field(versions="0-3", default=0)
    error_message: String | None = field(versions="1-3", default="", ignorable=True)
    node_id: Int32 = field(versions="0-3", default=0)
    host: String = field(versions="0-3", default="")
    port: Int32 = field(versions="0-3", default=0)
    coordinators: Array[Coordinator] = field(versions="4+", default=[])

    class Coordinator(Struct):
        key: String
        node_id: Int32
        host: String
        port: Int32
        error_code: Int16
        error_message: String | None
