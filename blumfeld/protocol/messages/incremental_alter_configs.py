"""IncrementalAlterConfigs (key 44): set, delete, append to or subtract from single properties (KIP-339)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class IncrementalAlterConfigsRequest(Request, key=ApiKey.INCREMENTAL_ALTER_CONFIGS, versions="0-1", flexible="1+"):
    """Operations: 0 set, 1 delete, 2 append, 3 subtract."""

    resources: Array[Resource]
    validate_only: Bool

    class Resource(Struct):
        resource_type: Int8  # 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group
        resource_name: String
        configs: Array[Config]

        class Config(Struct):
            name: String
            config_operation: Int8
            value: String | None


class IncrementalAlterConfigsResponse(Response, key=ApiKey.INCREMENTAL_ALTER_CONFIGS, versions="0-1", flexible="1+"):
    """A result for each resource."""

    throttle_time_ms: Int32 = 0
    responses: Array[Resource]

    class Resource(Struct):
        error_code: Int16
        error_message: String | None
        resource_type: Int8
        resource_name: String
