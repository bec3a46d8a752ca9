"""DescribeLogDirs (key 35), versions 1–5: sizes and lags of the replicas in this broker's directories (KIP-113).

KIP-784 top-level error (3), KIP-827 volume sizes (4), KIP-1066 cordoned directories (5; none is here).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blumfeld.broker.context import Broker, Context
    from blumfeld.storage.log import Log
    from blumfeld.storage.log_directory import LogDirectory

_Result = DescribeLogDirsResponse.Result


def describe_log_dirs(broker: Broker, context: Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
    """One result per directory; with topics given, only those of their replicas that are here."""
    logs = [log for log in broker.replicas.logs.logs() if _is_wanted(request, log)]
    results = []
    for directory in broker.replicas.logs.directories:
        if directory.offline:
            results.append(_Result(error_code=ErrorCode.KAFKA_STORAGE_ERROR, log_dir=directory.path, topics=[]))
        else:
            results.append(_describe(broker, directory, [log for log in logs if log.home is directory]))
    return DescribeLogDirsResponse(results=results)


def _is_wanted(request: DescribeLogDirsRequest, log: Log) -> bool:
    if request.topics is None:
        return True
    return any(topic.topic == log.topic and log.partition in topic.partitions for topic in request.topics)


def _describe(broker: Broker, directory: LogDirectory, logs: list[Log]) -> DescribeLogDirsResponse.Result:
    used = sum(log.size for log in broker.replicas.logs.logs() if log.home is directory)
    free = directory.disk.free_bytes(directory.path)
    return _Result(
        error_code=ErrorCode.NONE,
        log_dir=directory.path,
        topics=list(_topics(broker, logs)),
        total_bytes=used + free,
        usable_bytes=free,
    )


def _topics(broker: Broker, logs: list[Log]) -> Iterator[DescribeLogDirsResponse.Result.Topic]:
    by_topic: dict[str, list[_Result.Topic.Partition]] = {}
    for log in logs:
        by_topic.setdefault(log.topic, []).append(
            _Result.Topic.Partition(
                partition_index=log.partition,
                partition_size=log.size,
                offset_lag=_lag(broker, log),
                is_future_key=False,
            )
        )
    for name, partitions in by_topic.items():
        yield _Result.Topic(name=name, partitions=partitions)


def _lag(broker: Broker, log: Log) -> int:
    """How far the log's end is behind the high watermark this broker knows."""
    partition = broker.replicas.find_by_name(log.topic, log.partition)
    return max((partition.high_watermark if partition is not None else 0) - log.log_end_offset, 0)
