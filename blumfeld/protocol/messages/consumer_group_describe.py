"""ConsumerGroupDescribe (key 69): state and members of consumer groups (KIP-848)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int8, Int16, Int32, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class ConsumerGroupDescribeRequest(Request, key=ApiKey.CONSUMER_GROUP_DESCRIBE, versions="0-1", flexible="0+"):
    """Groups to describe."""

    group_ids: Array[String]
    include_authorized_operations: Bool


class ConsumerGroupDescribeResponse(Response, key=ApiKey.CONSUMER_GROUP_DESCRIBE, versions="0-1", flexible="0+"):
    """Groups with current and target assignments.

    Versions: 1 type of each member (KIP-1099).
    """

    throttle_time_ms: Int32 = 0
    groups: Array[Group]

    class Group(Struct):
        error_code: Int16
        error_message: String | None = None
        group_id: String
        group_state: String
        group_epoch: Int32
        assignment_epoch: Int32
        assignor_name: String
        members: Array[Member]
        authorized_operations: Int32 = -(2**31)  # nobody asked

        class Member(Struct):
            member_id: String
            instance_id: String | None = None
            rack_id: String | None = None
            member_epoch: Int32
            client_id: String
            client_host: String
            subscribed_topic_names: Array[String]
            subscribed_topic_regex: String | None = None
            assignment: Assignment
            target_assignment: Assignment
            member_type: Int8 = field(versions="1+", default=-1, ignorable=True)  # 0 classic, 1 consumer

            class Assignment(Struct):
                topic_partitions: Array[TopicPartitions]

                class TopicPartitions(Struct):
                    topic_id: Uuid
                    topic_name: String
                    partitions: Array[Int32]
