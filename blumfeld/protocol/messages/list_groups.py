"""ListGroups (key 16): the groups this broker coordinates."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class ListGroupsRequest(Request, key=ApiKey.LIST_GROUPS, versions="0-5", flexible="3+"):
    """Which groups to list; empty filters mean all.

    Versions: 4 filter by state (KIP-518); 5 filter by type (KIP-848).
    """

    states_filter: Array[String] = field(versions="4+", default=[])
    types_filter: Array[String] = field(versions="5+", default=[])


class ListGroupsResponse(Response, key=ApiKey.LIST_GROUPS, versions="0-5", flexible="3+"):
    """Names with protocol type, state and type.

    Versions: 1 throttle time; 4 state (KIP-518); 5 type (KIP-848).
    """

    throttle_time_ms: Int32 = field(versions="1+", default=0, ignorable=True)
    error_code: Int16
    groups: Array[Group]

    class Group(Struct):
        group_id: String
        protocol_type: String
        group_state: String = field(versions="4+", default="", ignorable=True)
        group_type: String = field(versions="5+", default="", ignorable=True)
