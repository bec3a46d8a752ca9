"""JoinGroup (key 11): enter a classic group, or start its next generation."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Bytes, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class JoinGroupRequest(Request, key=ApiKey.JOIN_GROUP, versions="0-9", flexible="6+"):
    """A member with its subscription under each protocol it can do, in order of preference.

    Versions: 1 rebalance timeout (KIP-62); 4 a new member is first given an id and joins again with it
    (KIP-394); 5 static members (KIP-345); 8 reason (KIP-800).
    """

    group_id: String
    session_timeout_ms: Int32
    rebalance_timeout_ms: Int32 = field(versions="1+", default=-1, ignorable=True)
    member_id: String
    group_instance_id: String | None = field(versions="5+", default=None)
    protocol_type: String
    protocols: Array[Protocol]
    reason: String | None = field(versions="8+", default=None, ignorable=True)

    class Protocol(Struct):
        name: String
        metadata: Bytes


class JoinGroupResponse(Response, key=ApiKey.JOIN_GROUP, versions="0-9", flexible="6+"):
    """The generation, the protocol chosen and, for the leader alone, all members' subscriptions.

    Versions: 2 throttle time; 4 MEMBER_ID_REQUIRED (KIP-394); 5 static members (KIP-345); 7 protocol type,
    and a null protocol name (KIP-559); 9 the leader may be told to skip the assignment (KIP-814).
    """

    throttle_time_ms: Int32 = field(versions="2+", default=0, ignorable=True)
    error_code: Int16
    generation_id: Int32 = -1
    protocol_type: String | None = field(versions="7+", default=None, ignorable=True)
    protocol_name: String | None = field(nullable="7+")
    leader: String
    skip_assignment: Bool = field(versions="9+", default=False)
    member_id: String
    members: Array[Member]

    class Member(Struct):
        member_id: String
        group_instance_id: String | None = field(versions="5+", default=None, ignorable=True)
        metadata: Bytes
