"""ListConfigResources (key 74): which resources have a configuration (KIP-714, KIP-1142)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class ListConfigResourcesRequest(Request, key=ApiKey.LIST_CONFIG_RESOURCES, versions="0-1", flexible="0+"):
    """Version 0 lists client metrics alone.

    Versions: 1 resource types; none means all (KIP-1142).
    """

    resource_types: Array[Int8] = field(versions="1+", default=[])


class ListConfigResourcesResponse(Response, key=ApiKey.LIST_CONFIG_RESOURCES, versions="0-1", flexible="0+"):
    """Names, with types from version 1 on.

    Versions: 1 resource types (KIP-1142).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16
    config_resources: Array[ConfigResource]

    class ConfigResource(Struct):
        resource_name: String
        resource_type: Int8 = field(versions="1+", default=16, ignorable=True)
