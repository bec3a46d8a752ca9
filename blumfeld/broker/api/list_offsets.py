"""ListOffsets (key 2), versions 1–11: which offset belongs to a timestamp.

KIP-98 isolation (2), KIP-207 OFFSET_NOT_AVAILABLE (5), KIP-320 leader epochs (4), KIP-734 largest timestamp (7),
KIP-405 and KIP-1005 tiered storage (8, 9), KIP-1023 (11). Nothing is tiered here: the earliest local offset is the
earliest one, and the last tiered and the earliest pending one are unknown.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context
    from blumfeld.cluster.partition import Partition
    from blumfeld.storage.results import TimestampOffset

_Answer = ListOffsetsResponse.Topic.Partition
_Asked = ListOffsetsRequest.Topic.Partition

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
LATEST_TIERED: Final = -5
EARLIEST_PENDING_UPLOAD: Final = -6
SINCE_VERSION: Final = {
    LATEST: 1,
    EARLIEST: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
CONSUMER: Final = -1
DEBUGGING_CONSUMER: Final = -2
READ_COMMITTED: Final = 1
NO_EPOCH: Final = -1
LEADER_EPOCH_VERSION: Final = 4
OFFSET_NOT_AVAILABLE_VERSION: Final = 5


def list_offsets(broker: Broker, context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse:
    """Look every partition up; nothing waits."""
    asked = Counter((topic.name, data.partition_index) for topic in request.topics for data in topic.partitions)
    topics = []
    for topic in request.topics:
        here = broker.replicas.partitions_of(topic.name)
        answers = []
        for data in topic.partitions:
            partition = here.get(data.partition_index)
            if asked[topic.name, data.partition_index] > 1:
                answer = _refused(data, ErrorCode.INVALID_REQUEST)
            elif partition is None:
                answer = _refused(data, broker.replicas.why_missing(topic.name, data.partition_index))
            else:
                answer = _look_up(partition, request, data, context.api_version)
                if context.api_version < LEADER_EPOCH_VERSION:
                    answer.leader_epoch = -1
            answers.append(answer)
        topics.append(ListOffsetsResponse.Topic(name=topic.name, partitions=answers))
    return ListOffsetsResponse(topics=topics)


def _look_up(partition: Partition, request: ListOffsetsRequest, data: _Asked, version: int) -> _Answer:
    timestamp = data.timestamp
    if timestamp < 0 and version < SINCE_VERSION.get(timestamp, 1 << 15):
        return _refused(data, ErrorCode.UNSUPPORTED_VERSION)
    if data.current_leader_epoch < NO_EPOCH:
        return _refused(data, ErrorCode.FENCED_LEADER_EPOCH)
    error = partition.check_epoch(data.current_leader_epoch, must_lead=request.replica_id != DEBUGGING_CONSUMER)
    if error is not ErrorCode.NONE:
        return _refused(data, error)
    log = partition.log
    if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        return _Answer(partition_index=data.partition_index, error_code=ErrorCode.NONE)
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        return _found(data, log.earliest())
    end = _readable_end(partition, request)
    if timestamp == LATEST:
        if _is_behind_its_epoch(partition, request):
            return _refused(data, _not_available(version))
        return _Answer(
            partition_index=data.partition_index,
            error_code=ErrorCode.NONE,
            offset=end,
            leader_epoch=partition.leader_epoch,
        )
    found = log.offset_of_max_timestamp() if timestamp == MAX_TIMESTAMP else log.offset_for_timestamp(timestamp)
    if found is not None and found.offset < end:
        return _found(data, found)
    if _is_behind_its_epoch(partition, request):
        return _refused(data, _not_available(version))
    return _Answer(partition_index=data.partition_index, error_code=ErrorCode.NONE)


def _readable_end(partition: Partition, request: ListOffsetsRequest) -> int:
    """What "latest" means to whoever asks: a follower sees the log's end."""
    if request.replica_id != CONSUMER:
        return partition.log_end_offset
    return partition.last_stable_offset if request.isolation_level == READ_COMMITTED else partition.high_watermark


def _is_behind_its_epoch(partition: Partition, request: ListOffsetsRequest) -> bool:
    """A new leader does not know yet how far its predecessor had committed (KIP-207)."""
    return request.replica_id == CONSUMER and partition.high_watermark < partition.leadership.epoch_start


def _not_available(version: int) -> ErrorCode:
    new = version >= OFFSET_NOT_AVAILABLE_VERSION
    return ErrorCode.OFFSET_NOT_AVAILABLE if new else ErrorCode.LEADER_NOT_AVAILABLE


def _found(data: _Asked, found: TimestampOffset) -> _Answer:
    return _Answer(
        partition_index=data.partition_index,
        error_code=ErrorCode.NONE,
        timestamp=found.timestamp,
        offset=found.offset,
        leader_epoch=found.leader_epoch,
    )


def _refused(data: _Asked, error: ErrorCode) -> _Answer:
    return _Answer(partition_index=data.partition_index, error_code=error)
