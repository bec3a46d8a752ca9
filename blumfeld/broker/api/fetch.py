"""Fetch (key 1), versions 4–18: record batches as they lie in the log, for consumers and followers.

KIP-98 isolation (4), KIP-227 sessions (7), KIP-320 epochs (9), KIP-392 reading from followers (11), KIP-595
divergence (12), KIP-516 topic ids (13), KIP-903 broker epochs of followers (15), KIP-951 leader hints (16). The
metadata log is fetched from controllers, not here.

A fetch with enough to tell is answered by plain return. Otherwise one waiter goes into the purgatory: under its
session, which its partitions wake, or under each of its partitions. Records that are not in memory are read in a
thread.

Differences to Apache Kafka: of a session only partitions that moved are looked at (see `sessions.py`); a fetch that is
overtaken by the next one of its session is answered at once, with the same error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Hashable
from typing import TYPE_CHECKING, Final

from blumfeld.broker.hints import leader_of, node_endpoints
from blumfeld.cluster.reading import refused
from blumfeld.cluster.waiting import EXPIRED
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.fetch import FetchRequest, FetchResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context
    from blumfeld.broker.sessions import Entry, FetchSession, Plan
    from blumfeld.cluster.partition import Partition
    from blumfeld.cluster.reading import Reading

_Answer = FetchResponse.Topic.Partition

FOLLOWER_READS_VERSION: Final = 11
TOPIC_ID_VERSION: Final = 13
REPLICA_STATE_VERSION: Final = 15
HINTS_VERSION: Final = 16
READ_COMMITTED: Final = 1
SENT_ELSEWHERE: Final = frozenset({ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH})


def fetch(broker: Broker, context: Context, request: FetchRequest) -> FetchResponse | Awaitable[FetchResponse]:
    """Answer at once when there is enough, an error, or no time to wait; otherwise when there is."""
    work = _Fetch(broker, context, request)
    if work.plan.error is not ErrorCode.NONE:
        return FetchResponse(error_code=work.plan.error, responses=[])
    work.read(now=broker.env.clock.monotonic())
    if work.cold:
        return _read_cold(work)
    if work.is_due or request.max_wait_ms <= 0 or work.has_nothing_to_wait_for:
        return work.respond()
    return broker.purgatory.wait(work.keys(), request.max_wait_ms, work.attempt)


async def _read_cold(work: _Fetch) -> FetchResponse:
    """Read what is not in memory, in threads, then answer."""
    loop = asyncio.get_running_loop()
    for entry, reading in work.cold:
        cold = reading.cold
        assert cold is not None
        result = await loop.run_in_executor(None, cold)
        reading.cold = None
        reading.records, reading.next_offset = result.records, result.next_offset
        if result.error is not ErrorCode.NONE:
            work.readings[entry] = refused(result.error)
    return work.respond()


class _Fetch:
    """One request on its way: its plan, and what was read for it last."""

    __slots__ = (
        "_broker",
        "_broker_epoch",
        "_by_id",
        "_context",
        "_missing_bytes",
        "_replica_id",
        "_request",
        "bytes",
        "cold",
        "is_due",
        "plan",
        "readings",
    )

    def __init__(self, broker: Broker, context: Context, request: FetchRequest) -> None:
        self._broker = broker
        self._context = context
        self._request = request
        version = context.api_version
        self._by_id = version >= TOPIC_ID_VERSION
        if version >= REPLICA_STATE_VERSION:
            self._replica_id = request.replica_state.replica_id
            self._broker_epoch = request.replica_state.replica_epoch
        else:
            self._replica_id, self._broker_epoch = request.replica_id, -1
        self.plan: Plan = broker.fetch_sessions.begin(
            request,
            version,
            is_follower=self._replica_id >= 0,
            replicas=broker.replicas,
            entropy=broker.env.entropy,
            now=broker.env.clock.monotonic(),
        )
        self.readings: dict[Entry, Reading] = {}
        self.cold: list[tuple[Entry, Reading]] = []
        self.bytes = 0
        self.is_due = False
        self._missing_bytes = 0

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, now: float | None) -> None:
        """Read every partition that may have something. `now` is None when the fetch has waited before."""
        replicas = self._broker.replicas
        if now is not None and self._replica_id in replicas.membership.cluster.brokers:  # who asks may say anything
            replicas.membership.last_fetch[self._replica_id] = now
        remaining = max(min(self._request.max_bytes, self._broker.config.int("fetch.max.bytes")), 0)
        self.readings = {}
        self.cold = []
        self.bytes = 0
        self.is_due = False
        session = self.plan.session
        for entry in list(self.plan.entries):
            if session is not None:
                session.ready.pop(entry, None)  # what moves from here on makes it ready again
            partition = entry.locate(replicas, by_id=self._by_id)
            if partition is None:
                reading = refused(self._why_missing(entry))
            else:
                reading = self._read_one(entry, partition, min(entry.max_bytes, remaining), now)
                if now is not None and self._replica_id >= 0:
                    replicas.settle(partition)
            self.readings[entry] = reading
            if session is not None and (_is_news(entry, reading) or self._has_more(entry)):
                session.ready[entry] = None
            size = len(reading.records)
            if reading.cold is not None:
                self.cold.append((entry, reading))
                size = min(entry.max_bytes, remaining)
            self.bytes += size
            remaining = max(remaining - size, 0)
            if reading.error is not ErrorCode.NONE or reading.diverging is not None:
                self.is_due = True
        if self.bytes >= self._request.min_bytes:
            self.is_due = True

    def _read_one(self, entry: Entry, partition: Partition, max_bytes: int, now: float | None) -> Reading:
        if self._replica_id >= 0:
            return partition.read_as_follower(
                self._replica_id,
                self._broker_epoch,
                entry.offset,
                max_bytes,
                current_leader_epoch=entry.current_leader_epoch,
                last_fetched_epoch=entry.last_fetched_epoch,
                log_start_offset=entry.log_start_offset,
                at_least_one=not self.bytes,
                now=now,
            )
        return partition.read_as_consumer(
            entry.offset,
            max_bytes,
            current_leader_epoch=entry.current_leader_epoch,
            last_fetched_epoch=entry.last_fetched_epoch,
            committed_only=self._request.isolation_level == READ_COMMITTED,
            must_lead=self._context.api_version < FOLLOWER_READS_VERSION,
            at_least_one=not self.bytes,
        )

    def _why_missing(self, entry: Entry) -> ErrorCode:
        replicas = self._broker.replicas
        if not self._by_id:
            return replicas.why_missing(entry.topic, entry.index)
        known = replicas.image.topics.get_by_id(entry.topic_id)
        return ErrorCode.UNKNOWN_TOPIC_ID if known is None else replicas.why_missing(known.name, entry.index)

    # --- waiting -----------------------------------------------------------------------------------------------

    @property
    def has_nothing_to_wait_for(self) -> bool:
        """No partitions at all are asked for."""
        session = self.plan.session
        return not (session.entries if session is not None else self.readings)

    def keys(self) -> list[Hashable]:
        """What may move this fetch on."""
        self._missing_bytes = self._request.min_bytes - self.bytes
        session = self.plan.session
        if session is not None:
            return [session.signal]
        keys: list[Hashable] = []
        for entry in self.readings:
            partition = entry.partition
            if partition is not None:
                entry.seen_bytes = partition.log.size
                keys.append(partition.appended if self._replica_id >= 0 else partition.committed)
        return keys

    def attempt(self, key: Hashable) -> FetchResponse | None:
        """The purgatory's attempt: read again, and answer when that is enough."""
        if key is not EXPIRED and self._request.min_bytes > 1 and not self._overtaken and not self._may_be_enough(key):
            return None
        if not self._overtaken:
            self.read(now=None)
            if key is not EXPIRED and not self.is_due:
                return None
        return self.respond()

    @property
    def _overtaken(self) -> bool:
        """The session went on, or was closed, while this fetch waited."""
        session = self.plan.session
        return session is not None and session.epoch != self.plan.epoch

    def _may_be_enough(self, key: Hashable) -> bool:
        """Whether the logs have grown by what was missing; spares reading all partitions at each append."""
        for entry in self.readings:
            partition = entry.partition
            if partition is not None and key in (partition.appended, partition.committed):
                self._missing_bytes -= max(partition.log.size - entry.seen_bytes, 0)
                entry.seen_bytes = partition.log.size
                return self._missing_bytes <= 0 or not partition.is_leader
        return True

    # --- answering ---------------------------------------------------------------------------------------------

    def respond(self) -> FetchResponse:
        """What was read; in a session that goes on, only what is news."""
        if self._overtaken:
            return FetchResponse(error_code=ErrorCode.INVALID_FETCH_SESSION_EPOCH, responses=[])
        session = self.plan.session
        topics: dict[str | bytes, FetchResponse.Topic] = {}
        sent_elsewhere: list[tuple[Entry, _Answer]] = []
        for entry, reading in self.readings.items():
            if self.plan.incremental and not _is_news(entry, reading):
                continue
            answer = self._answer(entry, reading)
            key = entry.topic_id if self._by_id else entry.topic
            topic = topics.get(key)
            if topic is None:
                topic = topics[key] = FetchResponse.Topic(topic=entry.topic, topic_id=entry.topic_id, partitions=[])
            topic.partitions.append(answer)
            if reading.error in SENT_ELSEWHERE:
                sent_elsewhere.append((entry, answer))
            if session is not None:
                self._note_told(session, entry, reading)
        response = FetchResponse(session_id=0 if session is None else session.id, responses=list(topics.values()))
        if sent_elsewhere and self._context.api_version >= HINTS_VERSION:
            self._add_hints(response, sent_elsewhere)
        return response

    def _note_told(self, session: FetchSession, entry: Entry, reading: Reading) -> None:
        """Remember what a reader of a session has heard.

        What has more to tell stays ready; after records, behind others.
        """
        failed = reading.error is not ErrorCode.NONE
        entry.told_high_watermark = -1 if failed else reading.high_watermark
        entry.told_log_start = -1 if failed else reading.log_start_offset
        more = failed or reading.diverging is not None or self._has_more(entry)
        if not more or len(reading.records):
            session.ready.pop(entry, None)
        if more:
            session.ready[entry] = None

    def _has_more(self, entry: Entry) -> bool:
        """Whether there are records at the reader's offset, or a high watermark that it was not told."""
        partition = entry.partition
        if partition is None:
            return False
        if self._replica_id >= 0:
            end = partition.log_end_offset
        elif self._request.isolation_level == READ_COMMITTED:
            end = partition.last_stable_offset
        else:
            end = partition.high_watermark
        return end > entry.offset or partition.high_watermark != entry.told_high_watermark

    def _answer(self, entry: Entry, reading: Reading) -> _Answer:
        answer = _Answer(
            partition_index=entry.index,
            error_code=reading.error,
            high_watermark=reading.high_watermark,
            last_stable_offset=reading.last_stable_offset,
            log_start_offset=reading.log_start_offset,
            aborted_transactions=[] if entry.partition is None else None,
            records=reading.records if reading.cold is None else b"",
        )
        if reading.diverging is not None:
            epoch, end = reading.diverging
            answer.diverging_epoch = _Answer.EpochEndOffset(epoch=epoch, end_offset=end)
        if self._request.isolation_level == READ_COMMITTED and self._replica_id < 0 and not reading.error:
            try:
                answer.aborted_transactions = self._aborted(entry, reading)
            except OSError as error:
                assert entry.partition is not None
                log = entry.partition.log
                log.home.fail(error, f"reading the aborted transactions of {log.topic_partition}")
                return self._answer(entry, refused(ErrorCode.KAFKA_STORAGE_ERROR))
        return answer

    def _aborted(self, entry: Entry, reading: Reading) -> list[_Answer.AbortedTransaction]:
        if not len(reading.records) or entry.partition is None:
            return []
        return [
            _Answer.AbortedTransaction(producer_id=aborted.producer_id, first_offset=aborted.first_offset)
            for aborted in entry.partition.log.aborted_transactions(entry.offset, reading.next_offset)
        ]

    def _add_hints(self, response: FetchResponse, sent_elsewhere: list[tuple[Entry, _Answer]]) -> None:
        leaders = set()
        for entry, answer in sent_elsewhere:
            leader, epoch = leader_of(self._broker, entry.topic, entry.topic_id, entry.index)
            answer.current_leader = _Answer.LeaderIdAndEpoch(leader_id=leader, leader_epoch=epoch)
            leaders.add(leader)
        response.node_endpoints = [
            FetchResponse.NodeEndpoint(node_id=n.node_id, host=n.host, port=n.port, rack=n.rack)
            for n in node_endpoints(self._broker, self._context, leaders)
        ]


def _is_news(entry: Entry, reading: Reading) -> bool:
    """Whether a reader of a session must hear of it."""
    return (
        bool(len(reading.records))
        or reading.cold is not None
        or reading.error is not ErrorCode.NONE
        or reading.diverging is not None
        or reading.high_watermark != entry.told_high_watermark
        or reading.log_start_offset != entry.told_log_start
    )
