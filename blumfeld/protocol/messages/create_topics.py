"""CreateTopics (key 19): create topics."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Bool, Int8, Int16, Int32, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class CreateTopicsRequest(Request, key=ApiKey.CREATE_TOPICS, versions="2-7", flexible="5+"):
    """Topics with a partition count and replication factor, or with an assignment and -1 for both.

    Otherwise -1 takes the cluster's defaults from version 4 on.

    Versions: 4 counts may be left to the broker (KIP-464); 6 THROTTLING_QUOTA_EXCEEDED (KIP-599).
    """

    topics: Array[Topic]
    timeout_ms: Int32 = 60000
    validate_only: Bool = False

    class Topic(Struct):
        name: String
        num_partitions: Int32
        replication_factor: Int16
        assignments: Array[Assignment]
        configs: Array[Config]

        class Assignment(Struct):
            partition_index: Int32
            broker_ids: Array[Int32]

        class Config(Struct):
            name: String
            value: String | None


class CreateTopicsResponse(Response, key=ApiKey.CREATE_TOPICS, versions="2-7", flexible="5+"):
    """A result for each topic.

    Versions: 5 the topic's size and configuration (KIP-525); 7 topic id (KIP-516).
    """

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]

    class Topic(Struct):
        name: String
        topic_id: Uuid = field(versions="7+", default=ZERO_UUID, ignorable=True)
        error_code: Int16
        error_message: String | None
        topic_config_error_code: Int16 = field(versions="5+", tag=0, default=0, ignorable=True)
        num_partitions: Int32 = field(versions="5+", default=-1, ignorable=True)
        replication_factor: Int16 = field(versions="5+", default=-1, ignorable=True)
        configs: Array[Config] | None = field(versions="5+", default=[], ignorable=True)

        class Config(Struct):
            name: String
            value: String | None
            read_only: Bool
            config_source: Int8 = -1  # as in DescribeConfigs
            is_sensitive: Bool
