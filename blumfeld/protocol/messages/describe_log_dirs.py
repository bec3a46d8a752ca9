"""DescribeLogDirs (key 35): sizes of the replicas in this broker's directories (KIP-113)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class DescribeLogDirsRequest(Request, key=ApiKey.DESCRIBE_LOG_DIRS, versions="1-5", flexible="2+"):
    """Replicas wanted; null topics ask for all."""

    topics: Array[Topic] | None

    class Topic(Struct):
        topic: String
        partitions: Array[Int32]


class DescribeLogDirsResponse(Response, key=ApiKey.DESCRIBE_LOG_DIRS, versions="1-5", flexible="2+"):
    """Directories with their replicas.

    Versions: 3 top-level error (KIP-784); 4 size of the volume and free bytes (KIP-827); 5 whether a
    directory takes no new replicas (KIP-1066).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = field(versions="3+", default=0, ignorable=True)
    results: Array[Result]

    class Result(Struct):
        error_code: Int16
        log_dir: String
        topics: Array[Topic]
        total_bytes: Int64 = field(versions="4+", default=-1, ignorable=True)
        usable_bytes: Int64 = field(versions="4+", default=-1, ignorable=True)
        is_cordoned: Bool = field(versions="5+", default=False, ignorable=True)

        class Topic(Struct):
            name: String
            partitions: Array[Partition]

            class Partition(Struct):
                partition_index: Int32
                partition_size: Int64
                offset_lag: Int64
                is_future_key: Bool
