"""ConsumerGroupHeartbeat (key 68): the one call of a member of a consumer group (KIP-848)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class ConsumerGroupHeartbeatRequest(Request, key=ApiKey.CONSUMER_GROUP_HEARTBEAT, versions="0-1", flexible="0+"):
    """Epoch 0 joins, -1 leaves, -2 leaves for a while as a static member.

    Null means unchanged since the last heartbeat.

    Versions: 1 subscription by regular expression; the member makes its own id (KIP-1082).
    """

    group_id: String
    member_id: String
    member_epoch: Int32
    instance_id: String | None = None
    rack_id: String | None = None
    rebalance_timeout_ms: Int32 = -1
    subscribed_topic_names: Array[String] | None = None
    subscribed_topic_regex: String | None = field(versions="1+", default=None)
    server_assignor: String | None = None
    topic_partitions: Array[TopicPartitions] | None = None

    class TopicPartitions(Struct):
        topic_id: Uuid
        partitions: Array[Int32]


class ConsumerGroupHeartbeatResponse(Response, key=ApiKey.CONSUMER_GROUP_HEARTBEAT, versions="0-1", flexible="0+"):
    """The member's epoch and its assignment; null means unchanged."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None = None
    member_id: String | None = None
    member_epoch: Int32
    heartbeat_interval_ms: Int32
    assignment: Assignment | None = None

    class Assignment(Struct):
        topic_partitions: Array[TopicPartitions]

        class TopicPartitions(Struct):
            topic_id: Uuid
            partitions: Array[Int32]
