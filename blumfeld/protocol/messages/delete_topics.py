"""DeleteTopics (key 20): delete topics."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Int16, Int32, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class DeleteTopicsRequest(Request, key=ApiKey.DELETE_TOPICS, versions="1-6", flexible="4+"):
    """Topics by name; by name or id from version 6 on.

    Versions: 5 THROTTLING_QUOTA_EXCEEDED (KIP-599); 6 topic ids (KIP-516).
    """

    topics: Array[Topic] = field(versions="6+", default=[])
    topic_names: Array[String] = field(versions="1-5", default=[], ignorable=True)
    timeout_ms: Int32

    class Topic(Struct):
        name: String | None = None
        topic_id: Uuid


class DeleteTopicsResponse(Response, key=ApiKey.DELETE_TOPICS, versions="1-6", flexible="4+"):
    """A result for each topic.

    Versions: 3 TOPIC_DELETION_DISABLED (KIP-322); 5 error message (KIP-599); 6 topic ids (KIP-516).
    """

    throttle_time_ms: Int32 = 0
    responses: Array[Topic]

    class Topic(Struct):
        name: String | None = field(nullable="6+")
        topic_id: Uuid = field(versions="6+", default=ZERO_UUID, ignorable=True)
        error_code: Int16
        error_message: String | None = field(versions="5+", default=None, ignorable=True)
