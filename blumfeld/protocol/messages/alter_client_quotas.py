"""AlterClientQuotas (key 49): set or remove quotas (KIP-546)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Float64, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class AlterClientQuotasRequest(Request, key=ApiKey.ALTER_CLIENT_QUOTAS, versions="0-1", flexible="1+"):
    """Entities, each with its changes. A null entity name is the default of its type."""

    entries: Array[Entry]
    validate_only: Bool

    class Entry(Struct):
        entity: Array[Entity]
        ops: Array[Op]

        class Entity(Struct):
            entity_type: String
            entity_name: String | None

        class Op(Struct):
            key: String
            value: Float64
            remove: Bool


class AlterClientQuotasResponse(Response, key=ApiKey.ALTER_CLIENT_QUOTAS, versions="0-1", flexible="1+"):
    """A result for each entity."""

    throttle_time_ms: Int32 = 0
    entries: Array[Entry]

    class Entry(Struct):
        error_code: Int16
        error_message: String | None
        entity: Array[Entity]

        class Entity(Struct):
            entity_type: String
            entity_name: String | None
