"""DescribeClientQuotas (key 48): quotas that match a filter (KIP-546)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Float64, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class DescribeClientQuotasRequest(Request, key=ApiKey.DESCRIBE_CLIENT_QUOTAS, versions="0-1", flexible="1+"):
    """Components to match: 0 exactly the name, 1 the default entity, 2 any name."""

    components: Array[Component]
    strict: Bool

    class Component(Struct):
        entity_type: String
        match_type: Int8
        match: String | None


class DescribeClientQuotasResponse(Response, key=ApiKey.DESCRIBE_CLIENT_QUOTAS, versions="0-1", flexible="1+"):
    """Matching entities with their quotas; null entries go with an error."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    entries: Array[Entry] | None

    class Entry(Struct):
        entity: Array[Entity]
        values: Array[Value]

        class Entity(Struct):
            entity_type: String
            entity_name: String | None

        class Value(Struct):
            key: String
            value: Float64
