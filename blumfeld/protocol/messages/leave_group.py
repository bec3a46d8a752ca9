"""LeaveGroup (key 13): members leave a classic group."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class LeaveGroupRequest(Request, key=ApiKey.LEAVE_GROUP, versions="0-5", flexible="4+"):
    """One member up to version 2, a batch from version 3 on.

    Versions: 3 several members, static ones too (KIP-345); 5 reason (KIP-800).
    """

    group_id: String
    member_id: String = field(versions="0-2", default="")
    members: Array[Member] = field(versions="3+", default=[])

    class Member(Struct):
        member_id: String
        group_instance_id: String | None = None
        reason: String | None = field(versions="5+", default=None, ignorable=True)


class LeaveGroupResponse(Response, key=ApiKey.LEAVE_GROUP, versions="0-5", flexible="4+"):
    """One result for each member that was to leave.

    Versions: 1 throttle time; 3 results per member (KIP-345).
    """

    throttle_time_ms: Int32 = field(versions="1+", default=0, ignorable=True)
    error_code: Int16
    members: Array[Member] = field(versions="3+", default=[])

    class Member(Struct):
        member_id: String
        group_instance_id: String | None
        error_code: Int16
