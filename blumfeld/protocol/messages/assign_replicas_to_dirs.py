"""AssignReplicasToDirs (key 73): a broker tells in which directory its replicas lie (KIP-858)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, Int64, Uuid
from blumfeld.protocol.schema import Request, Response, Struct


class AssignReplicasToDirsRequest(Request, key=ApiKey.ASSIGN_REPLICAS_TO_DIRS, versions="0", flexible="0+"):
    """Directory ids with partitions."""

    broker_id: Int32
    broker_epoch: Int64 = -1
    directories: Array[Directory]

    class Directory(Struct):
        id: Uuid
        topics: Array[Topic]

        class Topic(Struct):
            topic_id: Uuid
            partitions: Array[Partition]

            class Partition(Struct):
                partition_index: Int32


class AssignReplicasToDirsResponse(Response, key=ApiKey.ASSIGN_REPLICAS_TO_DIRS, versions="0", flexible="0+"):
    """A result for each partition."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    directories: Array[Directory]

    class Directory(Struct):
        id: Uuid
        topics: Array[Topic]

        class Topic(Struct):
            topic_id: Uuid
            partitions: Array[Partition]

            class Partition(Struct):
                partition_index: Int32
                error_code: Int16
