"""DeleteGroups (key 42): delete empty groups with their offsets (KIP-229)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class DeleteGroupsRequest(Request, key=ApiKey.DELETE_GROUPS, versions="0-3", flexible="2+"):
    """Groups to delete."""

    groups_names: Array[String]


class DeleteGroupsResponse(Response, key=ApiKey.DELETE_GROUPS, versions="0-3", flexible="2+"):
    """A result for each group.

    Versions: 3 error message.
    """

    throttle_time_ms: Int32 = 0
    results: Array[Result]

    class Result(Struct):
        group_id: String
        error_code: Int16
        error_message: String | None = field(versions="3+", default=None, ignorable=True)
