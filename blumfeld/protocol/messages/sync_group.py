"""SyncGroup (key 14): the leader hands in the assignments, every member gets its own."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bytes, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class SyncGroupRequest(Request, key=ApiKey.SYNC_GROUP, versions="0-5", flexible="4+"):
    """Assignments come from the leader alone; the others send none.

    Versions: 3 static members (KIP-345); 5 protocol type and name are checked (KIP-559).
    """

    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: String | None = field(versions="3+", default=None)
    protocol_type: String | None = field(versions="5+", default=None, ignorable=True)
    protocol_name: String | None = field(versions="5+", default=None, ignorable=True)
    assignments: Array[Assignment]

    class Assignment(Struct):
        member_id: String
        assignment: Bytes


class SyncGroupResponse(Response, key=ApiKey.SYNC_GROUP, versions="0-5", flexible="4+"):
    """The member's assignment, opaque to the broker.

    Versions: 1 throttle time; 5 protocol type and name (KIP-559).
    """

    throttle_time_ms: Int32 = field(versions="1+", default=0, ignorable=True)
    error_code: Int16
    protocol_type: String | None = field(versions="5+", default=None, ignorable=True)
    protocol_name: String | None = field(versions="5+", default=None, ignorable=True)
    assignment: Bytes
