"""DescribeConfigs (key 32): configuration of topics, brokers, groups and client metrics."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class DescribeConfigsRequest(Request, key=ApiKey.DESCRIBE_CONFIGS, versions="1-4", flexible="4+"):
    """Resources, and the keys wanted; null asks for all.

    Versions: 1 synonyms (KIP-226); 3 documentation (KIP-569).
    """

    resources: Array[Resource]
    include_synonyms: Bool = False
    include_documentation: Bool = field(versions="3+", default=False)

    class Resource(Struct):
        resource_type: Int8  # 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group
        resource_name: String
        configuration_keys: Array[String] | None


class DescribeConfigsResponse(Response, key=ApiKey.DESCRIBE_CONFIGS, versions="1-4", flexible="4+"):
    """Values with where they come from; sensitive ones are null.

    Versions: 1 source and synonyms (KIP-226); 3 types and documentation (KIP-569).
    """

    throttle_time_ms: Int32 = 0
    results: Array[Result]

    class Result(Struct):
        error_code: Int16
        error_message: String | None
        resource_type: Int8
        resource_name: String
        configs: Array[Config]

        class Config(Struct):
            name: String
            value: String | None
            read_only: Bool
            config_source: Int8 = (
                -1
            )  # 1 topic, 2 broker, 3 all brokers, 4 static, 5 default, 6 logger, 7 client metrics, 8 group
            is_sensitive: Bool
            synonyms: Array[Synonym]
            config_type: Int8 = field(
                versions="3+", default=0, ignorable=True
            )  # 1 bool, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password
            documentation: String | None = field(versions="3+", default="", ignorable=True)

            class Synonym(Struct):
                name: String
                value: String | None
                source: Int8
