"""DescribeGroups (key 15): state and members of classic groups."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Bytes, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class DescribeGroupsRequest(Request, key=ApiKey.DESCRIBE_GROUPS, versions="0-6", flexible="5+"):
    """Groups to describe.

    Versions: 3 authorized operations (KIP-430).
    """

    groups: Array[String]
    include_authorized_operations: Bool = field(versions="3+", default=False)


class DescribeGroupsResponse(Response, key=ApiKey.DESCRIBE_GROUPS, versions="0-6", flexible="5+"):
    """Each group with its members.

    An unknown group is Dead up to version 5 and GROUP_ID_NOT_FOUND from version 6 on.

    Versions: 1 throttle time; 3 authorized operations (KIP-430); 4 static members (KIP-345); 6 error message
    (KIP-1043).
    """

    throttle_time_ms: Int32 = field(versions="1+", default=0, ignorable=True)
    groups: Array[Group]

    class Group(Struct):
        error_code: Int16
        error_message: String | None = field(versions="6+", default=None)
        group_id: String
        group_state: String
        protocol_type: String
        protocol_data: String
        members: Array[Member]
        authorized_operations: Int32 = field(versions="3+", default=-(2**31))  # nobody asked

        class Member(Struct):
            member_id: String
            group_instance_id: String | None = field(versions="4+", default=None, ignorable=True)
            client_id: String
            client_host: String
            member_metadata: Bytes
            member_assignment: Bytes
