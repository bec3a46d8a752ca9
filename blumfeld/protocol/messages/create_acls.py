"""CreateAcls (key 30): create ACLs."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class CreateAclsRequest(Request, key=ApiKey.CREATE_ACLS, versions="1-3", flexible="2+"):
    """ACLs to create.

    Versions: 1 pattern types (KIP-290); 3 user resources (KIP-373).
    """

    creations: Array[Creation]

    class Creation(Struct):
        resource_type: Int8  # 2 topic, 3 group, 4 cluster, 5 transactional id, 6 token, 7 user
        resource_name: String
        resource_pattern_type: Int8 = 3  # 3 literal, 4 prefixed
        principal: String
        host: String
        operation: Int8
        permission_type: Int8  # 2 deny, 3 allow


class CreateAclsResponse(Response, key=ApiKey.CREATE_ACLS, versions="1-3", flexible="2+"):
    """A result for each, in the order asked."""

    throttle_time_ms: Int32 = 0
    results: Array[Result]

    class Result(Struct):
        error_code: Int16
        error_message: String | None
