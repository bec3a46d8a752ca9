"""Produce (key 0), versions 3–13: append record batches to partitions led here.

KIP-98 (3), KIP-110 zstd (7), KIP-467 record errors (8), KIP-951 leader hints (10), KIP-890 (11, 12), KIP-516 topic ids
(13). acks 0 and 1 are answered by plain return, without a task or a future; acks=all puts one waiter for the whole
request into the purgatory.

Differences to Apache Kafka: there are no transactions yet, so transactional batches are answered
INVALID_PRODUCER_ID_MAPPING: no transaction coordinator has given that id out. Records are not opened, so those that are
not what the batch's header says are taken. A partition that is named twice is appended to twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Hashable, Mapping
from typing import TYPE_CHECKING, Final

from blumfeld.broker.hints import leader_of, node_endpoints
from blumfeld.cluster.waiting import EXPIRED
from blumfeld.protocol.batch import is_torn
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.protocol.messages.produce import ProduceRequest, ProduceResponse

if TYPE_CHECKING:
    from concurrent.futures import Future

    from blumfeld.broker.context import Broker, Context
    from blumfeld.cluster.partition import Partition
    from blumfeld.protocol.primitives import Records
    from blumfeld.storage.results import AppendResult

_Answer = ProduceResponse.Topic.Partition
_NONE = ErrorCode.NONE

NO_ACKS: Final = 0
ALL_ACKS: Final = -1
TOPIC_ID_VERSION: Final = 13
HINTS_VERSION: Final = 10
ZSTD_VERSION: Final = 7
ADMIN_CLIENT: Final = "__admin_client"
INTERNAL_TOPICS: Final = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})

WITHOUT_LOG_START: Final = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.RECORD_LIST_TOO_LARGE,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.KAFKA_STORAGE_ERROR,
    }
)
"""Refusals that do not say where the log starts; the others do."""

SMALLEST_BATCH: Final = 61
SMALLEST_MESSAGE: Final = 14
UP_TO_MAGIC: Final = 17
LENGTH: Final = slice(8, 12)
AFTER_LENGTH: Final = 12
MAGIC: Final = 16
NEWEST_MAGIC: Final = 2
ATTRIBUTES: Final = 22
"""The low byte of the attributes: codec in bits 0–2, transactional in bit 4."""
ZSTD: Final = 4
TRANSACTIONAL: Final = 0x10


class _Produce:
    """One request on its way: what was appended, and what is still to be waited for."""

    __slots__ = ("appended", "flushes", "hints", "response", "uncommitted")

    def __init__(self, response: ProduceResponse) -> None:
        self.response = response
        self.appended: list[Partition] = []
        self.uncommitted: list[tuple[Partition, int, _Answer]] = []
        self.flushes: list[tuple[Future[int], _Answer]] = []
        self.hints = False

    def try_commit(self, key: Hashable) -> ProduceResponse | None:
        """The purgatory's attempt: the answer, once every append is committed, refused, or out of time."""
        waiting = []
        for partition, end, answer in self.uncommitted:
            state = partition.commit_state(end)
            if state is None and key is EXPIRED:
                state = ErrorCode.REQUEST_TIMED_OUT
            if state is None:
                waiting.append((partition, end, answer))
            elif state is not _NONE:
                _refuse(answer, state)
        self.uncommitted = waiting
        return None if waiting else self.response


def produce(
    broker: Broker, context: Context, request: ProduceRequest
) -> ProduceResponse | Awaitable[ProduceResponse] | None:
    """Append; answer at once, when all in-sync replicas have it (acks=all), or not at all (acks=0)."""
    work = _Produce(ProduceResponse(responses=[]))
    by_id = context.api_version >= TOPIC_ID_VERSION
    refusal = _refusal_of_all(request)
    for topic in request.topic_data:
        here = broker.replicas.partitions_of_id(topic.topic_id) if by_id else broker.replicas.partitions_of(topic.name)
        answers = _append_topic(broker, context, request, topic, here, refusal, work)
        work.response.responses.append(
            ProduceResponse.Topic(name=topic.name, topic_id=topic.topic_id, partition_responses=answers)
        )
    settle = broker.replicas.settle
    for partition in work.appended:
        settle(partition)
    if request.acks == NO_ACKS:
        _say_nothing(work.response)
        return None
    if work.hints and context.api_version >= HINTS_VERSION:
        _add_hints(broker, context, work.response)
    if not work.uncommitted and not work.flushes:
        return work.response
    return _wait(broker, request, work)


def _append_topic(
    broker: Broker,
    context: Context,
    request: ProduceRequest,
    topic: ProduceRequest.Topic,
    here: Mapping[int, Partition],
    refusal: ErrorCode,
    work: _Produce,
) -> list[_Answer]:
    clock = broker.env.clock
    now, now_ms, acks = clock.monotonic(), clock.time_ms(), request.acks
    answers = []
    for data in topic.partition_data:
        partition = here.get(data.index)
        records = data.records
        if partition is None:
            error = refusal or _why_missing(broker, topic, data.index, by_id=context.api_version >= TOPIC_ID_VERSION)
        elif refusal or records is None:
            error = refusal or ErrorCode.INVALID_RECORD
        else:
            error, records = _check(records, partition, context, request)
        if error or partition is None or records is None:
            work.hints |= error is ErrorCode.NOT_LEADER_OR_FOLLOWER
            answers.append(_Answer(index=data.index, error_code=error, base_offset=-1))
            continue
        result = partition.append_as_leader(records, acks=acks, now=now, now_ms=now_ms)
        answer = _Answer(index=data.index, error_code=result.error, base_offset=result.base_offset)
        answers.append(answer)
        if result.error is _NONE:
            answer.log_append_time_ms = result.log_append_time
            answer.log_start_offset = result.log_start_offset
            _note(broker, partition, result, answer, acks, work)
        else:
            work.hints |= result.error is ErrorCode.NOT_LEADER_OR_FOLLOWER
            if result.error not in WITHOUT_LOG_START:
                answer.log_start_offset = result.log_start_offset
            _explain(answer, result)
    return answers


def _note(
    broker: Broker, partition: Partition, result: AppendResult, answer: _Answer, acks: int, work: _Produce
) -> None:
    """What has to happen before this append may be acknowledged."""
    if not result.duplicate:
        work.appended.append(partition)
    end = result.last_offset + 1
    if result.must_flush:
        flush = broker.replicas.logs.flushed(partition.log, end)
        if acks != NO_ACKS:
            work.flushes.append((flush, answer))
    if acks == ALL_ACKS:
        state = partition.commit_state(end)
        if state is None:
            work.uncommitted.append((partition, end, answer))
        elif state is not _NONE:
            _refuse(answer, state)


def _refusal_of_all(request: ProduceRequest) -> ErrorCode:
    if request.acks not in (ALL_ACKS, NO_ACKS, 1):
        return ErrorCode.INVALID_REQUIRED_ACKS
    return _NONE


def _check(
    records: Records, partition: Partition, context: Context, request: ProduceRequest
) -> tuple[ErrorCode, Records]:
    """What the request's version allows in a partition: exactly one batch, of format 2; the log checks the rest.

    A second batch that is cut off is left out."""
    size = len(records)
    if size < SMALLEST_BATCH or int.from_bytes(records[LENGTH], "big", signed=True) + AFTER_LENGTH != size:
        error, records = _first_batch(records)
        if error:
            return error, records
    attributes = records[ATTRIBUTES]
    error = _NONE
    if records[MAGIC] != NEWEST_MAGIC:
        error = ErrorCode.INVALID_RECORD if records[MAGIC] < NEWEST_MAGIC else ErrorCode.CORRUPT_MESSAGE
    elif attributes & TRANSACTIONAL:
        is_known = request.transactional_id is not None
        error = ErrorCode.INVALID_PRODUCER_ID_MAPPING if is_known else ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    elif attributes & 7 == ZSTD and context.api_version < ZSTD_VERSION:
        error = ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    elif partition.topic in INTERNAL_TOPICS and context.client_id != ADMIN_CLIENT:
        error = ErrorCode.INVALID_TOPIC_EXCEPTION
    return error, records


def _first_batch(records: Records) -> tuple[ErrorCode, Records]:
    """The only whole batch of records that are not exactly one, or why there is none."""
    if len(records) < UP_TO_MAGIC:
        return ErrorCode.INVALID_RECORD, records
    size = int.from_bytes(records[LENGTH], "big", signed=True)
    if size < SMALLEST_MESSAGE or records[MAGIC] > NEWEST_MAGIC:
        return ErrorCode.CORRUPT_MESSAGE, records
    end = size + AFTER_LENGTH
    if end > len(records) or not is_torn(records, end):
        return ErrorCode.INVALID_RECORD, records
    if end < SMALLEST_BATCH:
        return ErrorCode.INVALID_RECORD if records[MAGIC] < NEWEST_MAGIC else ErrorCode.CORRUPT_MESSAGE, records
    return _NONE, records[:end]


def _why_missing(broker: Broker, topic: ProduceRequest.Topic, index: int, *, by_id: bool) -> ErrorCode:
    if not by_id:
        return broker.replicas.why_missing(topic.name, index)
    known = broker.replicas.image.topics.get_by_id(topic.topic_id)
    return ErrorCode.UNKNOWN_TOPIC_ID if known is None else broker.replicas.why_missing(known.name, index)


def _refuse(answer: _Answer, error: ErrorCode) -> None:
    answer.error_code = error
    answer.base_offset = answer.log_append_time_ms = answer.log_start_offset = -1


def _explain(answer: _Answer, result: AppendResult) -> None:
    answer.error_message = result.message or result.error.text
    answer.record_errors = [
        _Answer.RecordError(batch_index=index, batch_index_error_message=text) for index, text in result.record_errors
    ]


def _say_nothing(response: ProduceResponse) -> None:
    """acks=0: no reply. An error can be told only by closing the connection: the client then asks for new metadata."""
    for topic in response.responses:
        for answer in topic.partition_responses:
            if answer.error_code != _NONE:
                raise ProtocolError(f"produce with acks=0 failed: {ErrorCode(answer.error_code).name}")


def _add_hints(broker: Broker, context: Context, response: ProduceResponse) -> None:
    """Name the leader, and where it listens, for partitions that are led elsewhere (KIP-951)."""
    leaders = set()
    for topic in response.responses:
        for answer in topic.partition_responses:
            if answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER:
                leader, epoch = leader_of(broker, topic.name, topic.topic_id, answer.index)
                answer.current_leader = _Answer.LeaderIdAndEpoch(leader_id=leader, leader_epoch=epoch)
                leaders.add(leader)
    response.node_endpoints = [
        ProduceResponse.NodeEndpoint(node_id=n.node_id, host=n.host, port=n.port, rack=n.rack)
        for n in node_endpoints(broker, context, leaders)
    ]


def _wait(broker: Broker, request: ProduceRequest, work: _Produce) -> Awaitable[ProduceResponse]:
    if work.flushes:
        return _wait_for_disk(broker, request, work)
    return _wait_for_replicas(broker, request, work)


def _wait_for_replicas(broker: Broker, request: ProduceRequest, work: _Produce) -> Awaitable[ProduceResponse]:
    keys = [partition.committed for partition, _, _ in work.uncommitted]
    return broker.purgatory.wait(keys, request.timeout_ms, work.try_commit)


async def _wait_for_disk(broker: Broker, request: ProduceRequest, work: _Produce) -> ProduceResponse:
    """A flush policy wants the records on the device before they are acknowledged."""
    import asyncio

    replicated = asyncio.ensure_future(_wait_for_replicas(broker, request, work)) if work.uncommitted else None
    try:
        flushes = [asyncio.wrap_future(flush) for flush, _ in work.flushes]
        outcomes = await asyncio.gather(*flushes, return_exceptions=True)
        response = work.response if replicated is None else await replicated
    finally:
        if replicated is not None:
            replicated.cancel()
    for (_, answer), outcome in zip(work.flushes, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            _refuse(answer, ErrorCode.KAFKA_STORAGE_ERROR)
            answer.error_message = f"the records could not be made durable: {outcome}"
    return response
