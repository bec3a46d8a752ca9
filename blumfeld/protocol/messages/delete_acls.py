"""DeleteAcls (key 31): delete the ACLs that match filters."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class DeleteAclsRequest(Request, key=ApiKey.DELETE_ACLS, versions="1-3", flexible="2+"):
    """Filters; all that matches is deleted.

    Versions: 1 pattern types (KIP-290); 3 user resources (KIP-373).
    """

    filters: Array[Filter]

    class Filter(Struct):
        resource_type_filter: Int8  # 1 any, 2 topic, 3 group, 4 cluster, 5 transactional id, 6 token, 7 user
        resource_name_filter: String | None
        pattern_type_filter: Int8 = 3  # 1 any, 2 match, 3 literal, 4 prefixed
        principal_filter: String | None
        host_filter: String | None
        operation: Int8
        permission_type: Int8


class DeleteAclsResponse(Response, key=ApiKey.DELETE_ACLS, versions="1-3", flexible="2+"):
    """What each filter matched.

    Versions: 1 pattern types (KIP-290); 3 user resources (KIP-373).
    """

    throttle_time_ms: Int32 = 0
    filter_results: Array[FilterResult]

    class FilterResult(Struct):
        error_code: Int16
        error_message: String | None
        matching_acls: Array[MatchingAcl]

        class MatchingAcl(Struct):
            error_code: Int16
            error_message: String | None
            resource_type: Int8
            resource_name: String
            pattern_type: Int8 = 3
            principal: String
            host: String
            operation: Int8
            permission_type: Int8
