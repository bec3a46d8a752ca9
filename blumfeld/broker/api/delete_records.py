"""DeleteRecords (key 21), versions 0–2: move the start of partitions forward (KIP-107).

The leader raises its log's start at once; the answer waits until every live replica has followed, each replica's start
being part of its fetches.
"""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from typing import TYPE_CHECKING, Final

from blumfeld.broker.api.produce import INTERNAL_TOPICS
from blumfeld.cluster.waiting import EXPIRED
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.delete_records import DeleteRecordsRequest, DeleteRecordsResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context
    from blumfeld.cluster.partition import Partition

_Answer = DeleteRecordsResponse.Topic.Partition
_Response = DeleteRecordsResponse

UNKNOWN: Final = -1


def delete_records(
    broker: Broker, context: Context, request: DeleteRecordsRequest
) -> DeleteRecordsResponse | Awaitable[DeleteRecordsResponse]:
    """Raise the starts, then wait for the replicas where there are any."""
    response = DeleteRecordsResponse(topics=[])
    waiting: list[tuple[Partition, int, _Answer]] = []
    for topic in request.topics:
        answers = []
        for data in topic.partitions:
            answer = _Answer(partition_index=data.partition_index, low_watermark=UNKNOWN, error_code=ErrorCode.NONE)
            answers.append(answer)
            partition = broker.replicas.find_by_name(topic.name, data.partition_index)
            if topic.name in INTERNAL_TOPICS:
                answer.error_code = ErrorCode.INVALID_TOPIC_EXCEPTION
            elif partition is None:
                answer.error_code = broker.replicas.why_missing(topic.name, data.partition_index)
            else:
                _delete(broker, partition, data.offset, answer, waiting)
        response.topics.append(DeleteRecordsResponse.Topic(name=topic.name, partitions=answers))
    if not waiting:
        return response
    return _wait(broker, request.timeout_ms, response, waiting)


def _delete(
    broker: Broker, partition: Partition, offset: int, answer: _Answer, waiting: list[tuple[Partition, int, _Answer]]
) -> None:
    answer.error_code, wanted = partition.delete_records(offset)
    if answer.error_code != ErrorCode.NONE:
        return
    broker.replicas.settle(partition)
    answer.low_watermark = partition.leadership.low_watermark
    if answer.low_watermark < wanted:
        waiting.append((partition, wanted, answer))


def _wait(
    broker: Broker, timeout_ms: int, response: _Response, waiting: list[tuple[Partition, int, _Answer]]
) -> Awaitable[_Response]:
    def attempt(key: Hashable) -> _Response | None:
        for entry in waiting[:]:
            partition, wanted, answer = entry
            answer.low_watermark = partition.leadership.low_watermark
            if not partition.is_leader:
                answer.error_code, answer.low_watermark = ErrorCode.NOT_LEADER_OR_FOLLOWER, UNKNOWN
            elif answer.low_watermark < wanted:
                if key is not EXPIRED:
                    continue
                answer.error_code = ErrorCode.REQUEST_TIMED_OUT
            waiting.remove(entry)
        return None if waiting else response

    return broker.purgatory.wait([partition.committed for partition, _, _ in waiting], timeout_ms, attempt)
