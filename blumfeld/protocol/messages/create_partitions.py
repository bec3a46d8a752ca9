"""CreatePartitions (key 37): add partitions to topics (KIP-195)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class CreatePartitionsRequest(Request, key=ApiKey.CREATE_PARTITIONS, versions="0-3", flexible="2+"):
    """New partition counts, with replicas for the new partitions if the client chooses them.

    Versions: 3 THROTTLING_QUOTA_EXCEEDED (KIP-599).
    """

    topics: Array[Topic]
    timeout_ms: Int32
    validate_only: Bool

    class Topic(Struct):
        name: String
        count: Int32
        assignments: Array[Assignment] | None

        class Assignment(Struct):
            broker_ids: Array[Int32]


class CreatePartitionsResponse(Response, key=ApiKey.CREATE_PARTITIONS, versions="0-3", flexible="2+"):
    """A result for each topic.

    Versions: 3 THROTTLING_QUOTA_EXCEEDED (KIP-599).
    """

    throttle_time_ms: Int32 = 0
    results: Array[Result]

    class Result(Struct):
        name: String
        error_code: Int16
        error_message: String | None = None
