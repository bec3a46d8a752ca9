"""One partition of an internal topic that this broker leads: a machine, its log, and the answers that wait for it.

Owns the order of things: decide, append, replay, go on, answer once committed (`decision.py`). Must never know how
a partition is found, nor what a request means.

    LOADING ──log replayed──▶ ACTIVE        LOADING ──log unreadable──▶ FAILED        any ──leadership lost──▶
    (closed)

Invariants
- Records reach the machine only from the log: after an append that succeeded, or while loading.
- Answers leave in the order in which they began to wait; each ticket is answered once, by the machine or by a
  refusal.
- After `close` nothing is appended and everybody has been refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from blumfeld.coordinator.decision import Answer, Decision, LogRecord, Machine, Ticket
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.records import Record, build_batch

if TYPE_CHECKING:
    from blumfeld.coordinator.shard_log import ShardLog
    from blumfeld.env.clock import Clock

R = TypeVar("R")
M = TypeVar("M", bound=Machine)

COMMIT_KEY = ("commit",)
"""The deadline of the oldest answer that waits for the high watermark."""

_RECORD_OVERHEAD_BYTES = 32
_BATCH_OVERHEAD_BYTES = 61


class State(IntEnum):
    """Whether requests are taken."""

    LOADING = 0
    ACTIVE = 1
    FAILED = 2


class RequestTicket(Ticket, Generic[R]):
    """One request: its answer, or the future of it."""

    __slots__ = ("_answered", "_future", "_refuse", "_response")

    def __init__(self, refuse: Callable[[ErrorCode], R]) -> None:
        self._refuse = refuse
        self._response: R | None = None
        self._answered = False
        self._future: asyncio.Future[R] | None = None

    def answer(self, response: R) -> None:
        """Answer the request, unless its connection is gone."""
        assert not self._answered, "a request is answered twice"
        self._answered = True
        if self._future is None:
            self._response = response
        elif not self._future.done():
            self._future.set_result(response)

    def refuse(self, error: ErrorCode) -> None:
        """Answer with an error code, unless there is an answer already."""
        if not self._answered:
            self.answer(self._refuse(client_error(error)))

    def reply(self) -> R | asyncio.Future[R]:
        """The response if there is one by now, else a future of it."""
        if self._answered:
            assert self._response is not None
            return self._response
        self._future = asyncio.get_running_loop().create_future()
        return self._future


def client_error(error: ErrorCode) -> ErrorCode:
    """What a client of the coordinator is told of a failed write: never an error it would not retry well."""
    return _CLIENT_ERRORS.get(error, error)


_CLIENT_ERRORS = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.FENCED_LEADER_EPOCH: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.MESSAGE_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.RECORD_LIST_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.INVALID_FETCH_SIZE: ErrorCode.UNKNOWN_SERVER_ERROR,
}


class ShardTimers:
    """A machine's deadlines in the runtime's queue."""

    __slots__ = ("_cancel", "_schedule", "keys")

    def __init__(
        self,
        schedule: Callable[[tuple[str, ...], int], None],
        cancel: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._schedule = schedule
        self._cancel = cancel
        self.keys: set[tuple[str, ...]] = set()

    def schedule(self, key: tuple[str, ...], delay_ms: int) -> None:
        self.keys.add(key)
        self._schedule(key, max(delay_ms, 0))

    def cancel(self, key: tuple[str, ...]) -> None:
        if key in self.keys:
            self.keys.remove(key)
            self._cancel(key)

    def cancel_all(self) -> None:
        for key in self.keys:
            self._cancel(key)
        self.keys.clear()


class _Waiting(NamedTuple):
    end_offset: int
    deadline: float
    answers: Sequence[Answer]


class Shard(Generic[M]):
    """A machine on its log.

    Args:
        index: the partition.
        log: where the records go.
        machine: what decides.
        timers: the machine's deadlines, and the one of the answers that wait.
        write_timeout_ms: how long an answer waits for its records to be committed.
        codec: how batches are compressed.
    """

    def __init__(
        self,
        index: int,
        log: ShardLog,
        machine: M,
        timers: ShardTimers,
        clock: Clock,
        *,
        write_timeout_ms: int,
        codec: int,
    ) -> None:
        self.index = index
        self.log = log
        self.machine = machine
        self.state = State.LOADING
        self._timers = timers
        self._clock = clock
        self._write_timeout_ms = write_timeout_ms
        self._codec = codec
        self._written = 0
        self._waiting: deque[_Waiting] = deque()
        self._tickets: set[RequestTicket[Any]] = set()

    def activate(self) -> None:
        """Everything in the log was replayed: take requests from now on."""
        self.state = State.ACTIVE
        self._written = self.log.log_end_offset
        self.log.watch(self.release)
        self.carry_out(self.machine.on_loaded(self._clock.time_ms()))

    def fail(self) -> None:
        """What is in the log could not be replayed: take no requests."""
        self.state = State.FAILED
        self._timers.cancel_all()

    def request(
        self, decide: Callable[[M, RequestTicket[R], int], Decision], refuse: Callable[[ErrorCode], R]
    ) -> R | asyncio.Future[R]:
        """Let the machine decide about a request and carry that out."""
        assert self.state is State.ACTIVE
        ticket = RequestTicket(refuse)
        self.carry_out(decide(self.machine, ticket, self._clock.time_ms()), ticket)
        reply = ticket.reply()
        if isinstance(reply, asyncio.Future):
            self._tickets.add(ticket)
            reply.add_done_callback(lambda _: self._tickets.discard(ticket))
        return reply

    def expire(self, key: tuple[str, ...]) -> None:
        """A deadline of this shard is due."""
        self._timers.keys.discard(key)
        if key == COMMIT_KEY:
            self._give_up_waiting()
        else:
            self.carry_out(self.machine.expire(key, self._clock.time_ms()))

    def carry_out(self, decision: Decision, ticket: RequestTicket[Any] | None = None) -> None:
        """Append, replay, go on, and answer now or when committed. A failed append refuses all concerned."""
        records, answers, settled, atomic, then = decision
        if not records:
            assert then is None
            if settled and answers:
                self._answer_when_committed(answers)
            else:
                _deliver(answers)
            return
        error = self._append(records, atomic=atomic)
        if error is not ErrorCode.NONE:
            for answer in answers:
                _ticket_of(answer).refuse(error)
            if ticket is not None:
                ticket.refuse(error)
            self.log.settle()  # an earlier part may have been written
            return
        if then is not None:
            further = then()
            assert not further.records
            assert further.then is None
            answers = [*answers, *further.answers]
        if answers:
            self._wait(answers)
        self.log.settle()
        self.release()

    def release(self) -> None:
        """Answer those whose records are committed by now."""
        waiting = self._waiting
        if not waiting:
            return
        high_watermark = self.log.high_watermark
        while waiting and waiting[0].end_offset <= high_watermark:
            _deliver(waiting.popleft().answers)
        if not waiting:
            self._timers.cancel(COMMIT_KEY)

    def close(self, error: ErrorCode = ErrorCode.NOT_COORDINATOR) -> None:
        """Leadership is lost, or the broker stops: refuse everybody, forget everything."""
        self.log.close()
        self._timers.cancel_all()
        waiting, self._waiting = self._waiting, deque()
        for entry in waiting:
            for answer in entry.answers:
                _ticket_of(answer).refuse(error)
        for ticket in list(self._tickets):
            ticket.refuse(error)
        self._tickets.clear()

    def _append(self, records: Sequence[LogRecord], *, atomic: bool) -> ErrorCode:
        now_ms = self._clock.time_ms()
        for part in (records,) if atomic else _in_parts(records, self.log.max_batch_bytes):
            batch = build_batch(
                [Record(n, now_ms, record.key_bytes, record.value_bytes) for n, record in enumerate(part)],
                codec=self._codec,
            )
            appended = self.log.append(batch, now_ms)
            if appended.error is not ErrorCode.NONE:
                return appended.error
            self._written = appended.base_offset + len(part)
            for offset, record in enumerate(part, appended.base_offset):
                self.machine.replay(record, offset)
        return ErrorCode.NONE

    def _answer_when_committed(self, answers: Sequence[Answer]) -> None:
        if self._written <= self.log.high_watermark:
            _deliver(answers)
        else:
            self._wait(answers)

    def _wait(self, answers: Sequence[Answer]) -> None:
        deadline = self._clock.monotonic() + self._write_timeout_ms / 1000
        if not self._waiting:
            self._timers.schedule(COMMIT_KEY, self._write_timeout_ms)
        self._waiting.append(_Waiting(self._written, deadline, answers))

    def _give_up_waiting(self) -> None:
        now = self._clock.monotonic()
        while self._waiting and self._waiting[0].deadline <= now:
            for answer in self._waiting.popleft().answers:
                _ticket_of(answer).refuse(ErrorCode.REQUEST_TIMED_OUT)
        if self._waiting:
            self._timers.schedule(COMMIT_KEY, int((self._waiting[0].deadline - now) * 1000) + 1)


def _ticket_of(answer: Answer) -> RequestTicket[Any]:
    assert isinstance(answer.ticket, RequestTicket)
    return answer.ticket


def _deliver(answers: Sequence[Answer]) -> None:
    for answer in answers:
        _ticket_of(answer).answer(answer.response)


def _in_parts(records: Sequence[LogRecord], max_bytes: int) -> Iterator[Sequence[LogRecord]]:
    """As many runs of records as it takes for each to fit into one batch."""
    first, size = 0, _BATCH_OVERHEAD_BYTES
    for index, record in enumerate(records):
        record_size = len(record.key_bytes) + len(record.value_bytes or b"") + _RECORD_OVERHEAD_BYTES
        if size + record_size > max_bytes and index > first:
            yield records[first:index]
            first, size = index, _BATCH_OVERHEAD_BYTES
        size += record_size
    yield records[first:]
