"""AlterConfigs (key 33): replace the dynamic configuration of resources."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class AlterConfigsRequest(Request, key=ApiKey.ALTER_CONFIGS, versions="0-2", flexible="2+"):
    """All dynamic properties of each resource.

    What is not named is reset. IncrementalAlterConfigs is the better choice.
    """

    resources: Array[Resource]
    validate_only: Bool

    class Resource(Struct):
        resource_type: Int8  # 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group
        resource_name: String
        configs: Array[Config]

        class Config(Struct):
            name: String
            value: String | None


class AlterConfigsResponse(Response, key=ApiKey.ALTER_CONFIGS, versions="0-2", flexible="2+"):
    """A result for each resource."""

    throttle_time_ms: Int32 = 0
    responses: Array[Resource]

    class Resource(Struct):
        error_code: Int16
        error_message: String | None
        resource_type: Int8
        resource_name: String
