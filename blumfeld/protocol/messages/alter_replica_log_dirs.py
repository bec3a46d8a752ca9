"""AlterReplicaLogDirs (key 34): move replicas between the directories of one broker (KIP-113)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class AlterReplicaLogDirsRequest(Request, key=ApiKey.ALTER_REPLICA_LOG_DIRS, versions="1-2", flexible="2+"):
    """For each directory the replicas that shall live there."""

    dirs: Array[Dir]

    class Dir(Struct):
        path: String
        topics: Array[Topic]

        class Topic(Struct):
            name: String
            partitions: Array[Int32]


class AlterReplicaLogDirsResponse(Response, key=ApiKey.ALTER_REPLICA_LOG_DIRS, versions="1-2", flexible="2+"):
    """A result for each replica."""

    throttle_time_ms: Int32 = 0
    results: Array[Result]

    class Result(Struct):
        topic_name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
