"""DescribeAcls (key 29): the ACLs that match a filter."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class DescribeAclsRequest(Request, key=ApiKey.DESCRIBE_ACLS, versions="1-3", flexible="2+"):
    """One filter over resource and entry.

    Versions: 1 pattern types (KIP-290); 3 user resources (KIP-373).
    """

    resource_type_filter: Int8  # 1 any, 2 topic, 3 group, 4 cluster, 5 transactional id, 6 token, 7 user
    resource_name_filter: String | None
    pattern_type_filter: Int8 = 3  # 1 any, 2 match, 3 literal, 4 prefixed
    principal_filter: String | None
    host_filter: String | None
    operation: Int8
    permission_type: Int8  # 1 any, 2 deny, 3 allow


class DescribeAclsResponse(Response, key=ApiKey.DESCRIBE_ACLS, versions="1-3", flexible="2+"):
    """Matching ACLs, by resource.

    Versions: 1 pattern types (KIP-290); 3 user resources (KIP-373).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    resources: Array[Resource]

    class Resource(Struct):
        resource_type: Int8
        resource_name: String
        pattern_type: Int8 = 3
        acls: Array[Acl]

        class Acl(Struct):
            principal: String
            host: String
            operation: Int8
            permission_type: Int8
