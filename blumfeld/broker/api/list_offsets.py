"""ListOffsets (key 2), versions 1–11: which offset belongs to a timestamp.

KIP-98 isolation (2), KIP-207 OFFSET_NOT_AVAILABLE (5), KIP-320 leader epochs (4), KIP-734 largest timestamp (7),
KIP-405 and KIP-1005 tiered storage (8, 9), KIP-1023 (11). Nothing is tiered here: the earliest local offset is the
earliest one, and the last tiered and the earliest pending one are unknown.

A look-up by time that would stop the event loop, as its batches or indexes are not in memory or have to be unpacked, is
done in a thread, one partition after the other; everything else is answered by plain return. A partition that has
moved, gone or been truncated meanwhile is answered as it is then, or with an error that clients ask again after.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from blumfeld.storage.results import LookUpResult

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


def list_offsets(
    broker: Broker, context: Context, request: ListOffsetsRequest
) -> ListOffsetsResponse | Awaitable[ListOffsetsResponse]:
    """Look every partition up; at once where nothing has to be waited for."""
    work = _ListOffsets(broker, context, request)
    response = work.look_up()
    return work.look_up_cold(response) if work.cold else response


@dataclass(slots=True)
class _Cold:
    """A look-up that waits for a thread: what was asked of whom, and where in its topic the answer belongs."""

    answers: ListOffsetsResponse.Topic
    place: int
    data: _Asked
    partition: Partition
    leader_epoch: int
    work: Callable[[], LookUpResult]


class _ListOffsets:
    """One request on its way. `cold`: what is left for threads."""

    __slots__ = ("_broker", "_request", "_version", "cold")

    def __init__(self, broker: Broker, context: Context, request: ListOffsetsRequest) -> None:
        self._broker = broker
        self._request = request
        self._version = context.api_version
        self.cold: list[_Cold] = []

    def look_up(self) -> ListOffsetsResponse:
        """What can be answered at once; the rest is in `cold`."""
        request = self._request
        asked = Counter((topic.name, data.partition_index) for topic in request.topics for data in topic.partitions)
        response = ListOffsetsResponse(topics=[])
        for topic in request.topics:
            answers = ListOffsetsResponse.Topic(name=topic.name, partitions=[])
            response.topics.append(answers)
            for data in topic.partitions:
                if asked[topic.name, data.partition_index] > 1:
                    answer = _refused(data, ErrorCode.INVALID_REQUEST)
                else:
                    answer = self._answer(answers, data)
                answers.partitions.append(answer)
        return response

    async def look_up_cold(self, response: ListOffsetsResponse) -> ListOffsetsResponse:
        """Do the rest, in threads."""
        loop = asyncio.get_running_loop()
        for cold in self.cold:
            result = await loop.run_in_executor(None, cold.work)
            cold.answers.partitions[cold.place] = self._answer(cold.answers, cold.data, cold, result)
        return response

    def _answer(
        self,
        answers: ListOffsetsResponse.Topic,
        data: _Asked,
        cold: _Cold | None = None,
        result: LookUpResult | None = None,
    ) -> _Answer:
        """The answer for one partition as it is now; `result`: what a thread has found for `cold`."""
        replicas, index = self._broker.replicas, data.partition_index
        partition = replicas.partitions_of(answers.name).get(index)
        if partition is None:
            return _refused(data, replicas.why_missing(answers.name, index))
        answer = self._special(partition, data)
        if answer is None:
            if cold is None or result is None:
                result = self._by_time(answers, partition, data)
            elif partition is not cold.partition or partition.leader_epoch != cold.leader_epoch:
                result = LookUpResult(error=ErrorCode.OFFSET_NOT_AVAILABLE)  # the log may be another one
            answer = self._seen(partition, data, result)
        if self._version < LEADER_EPOCH_VERSION:
            answer.leader_epoch = -1
        return answer

    def _special(self, partition: Partition, data: _Asked) -> _Answer | None:
        """A refusal, or the answer where no record has to be found; None for a look-up by time."""
        request, timestamp = self._request, data.timestamp
        if timestamp < 0 and self._version < SINCE_VERSION.get(timestamp, 1 << 15):
            return _refused(data, ErrorCode.UNSUPPORTED_VERSION)
        if data.current_leader_epoch < NO_EPOCH:
            return _refused(data, ErrorCode.FENCED_LEADER_EPOCH)
        error = partition.check_epoch(data.current_leader_epoch, must_lead=request.replica_id != DEBUGGING_CONSUMER)
        if error is not ErrorCode.NONE:
            return _refused(data, error)
        if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
            return _Answer(partition_index=data.partition_index, error_code=ErrorCode.NONE)
        if timestamp in (EARLIEST, EARLIEST_LOCAL):
            return _found(data, partition.log.earliest())
        if timestamp != LATEST:
            return None
        if _is_behind_its_epoch(partition, request):
            return _refused(data, _not_available(self._version))
        return _Answer(
            partition_index=data.partition_index,
            error_code=ErrorCode.NONE,
            offset=_readable_end(partition, request),
            leader_epoch=partition.leader_epoch,
        )

    def _by_time(self, answers: ListOffsetsResponse.Topic, partition: Partition, data: _Asked) -> LookUpResult:
        """What the log finds; what it would have to wait for is noted."""
        log, timestamp = partition.log, data.timestamp
        largest = timestamp == MAX_TIMESTAMP
        result = log.offset_of_max_timestamp() if largest else log.offset_for_timestamp(timestamp)
        if result.cold is not None:
            place = len(answers.partitions)
            self.cold.append(_Cold(answers, place, data, partition, partition.leader_epoch, result.cold))
        return result

    def _seen(self, partition: Partition, data: _Asked, result: LookUpResult) -> _Answer:
        """What was found, as far as whoever asks may see it."""
        if result.error is ErrorCode.OFFSET_NOT_AVAILABLE:
            return _refused(data, _not_available(self._version))
        if result.error is not ErrorCode.NONE:
            return _refused(data, result.error)
        if result.found is not None and result.found.offset < _readable_end(partition, self._request):
            return _found(data, result.found)
        if _is_behind_its_epoch(partition, self._request):
            return _refused(data, _not_available(self._version))
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
