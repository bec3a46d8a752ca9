"""The runtime: answers wait for the high watermark, loading lets the loop go on, leadership comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from blumfeld.coordinator import runtime as runtime_module
from blumfeld.coordinator.decision import NOTHING, Answer, Decision, LogRecord, Ticket, Timers
from blumfeld.coordinator.runtime import CoordinatorRuntime
from blumfeld.env.clock import ManualClock
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.protocol.messages.heartbeat import HeartbeatResponse
from blumfeld.protocol.records import Record, build_batch, end_transaction_batch
from tests.coordinator.fake_log import FakeLog

WRITE_TIMEOUT_MS = 5_000


class Words:
    """A machine that keeps what it is told."""

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self.words: list[str] = []
        self.offsets: list[int] = []
        self.ended: list[tuple[int, bool]] = []
        self.expired: list[tuple[str, ...]] = []
        self.loaded_at = 0

    def say(self, *words: str, ticket: Ticket | None = None, atomic: bool = True) -> Decision:
        records = [LogRecord(w, w, w.encode(), w.encode()) for w in words]
        answers = [] if ticket is None else [Answer(ticket, answer())]
        return Decision(records, answers, atomic=atomic)

    def decode(self, key: bytes, value: bytes | None) -> LogRecord | None:
        if key == b"corrupt":
            raise ProtocolError("corrupt")
        return None if key == b"unknown" else LogRecord(key.decode(), value, key, value)

    def replay(self, record: LogRecord, offset: int, producer_id: int = -1) -> None:
        self.words.append(record.key if producer_id == -1 else f"{record.key}?{producer_id}")
        self.offsets.append(offset)

    def replay_end_transaction(self, producer_id: int, *, committed: bool) -> None:
        self.ended.append((producer_id, committed))

    def on_loaded(self, now_ms: int) -> Decision:
        self.loaded_at = now_ms
        return NOTHING

    def expire(self, key: tuple[str, ...], now_ms: int) -> Decision:
        self.expired.append(key)
        return self.say("late") if key == ("write",) else NOTHING


def answer(error: ErrorCode = ErrorCode.NONE) -> HeartbeatResponse:
    return HeartbeatResponse(error_code=error)


class Setup:
    """A runtime with one kind of request."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.runtime = CoordinatorRuntime(
            "__words", self.clock, lambda _log, timers: Words(timers), write_timeout_ms=WRITE_TIMEOUT_MS
        )

    def lead(self, log: FakeLog | None = None, index: int = 0) -> FakeLog:
        log = log or FakeLog()
        self.runtime.elected(index, log)
        return log

    def machine(self, index: int = 0) -> Words:
        (found,) = (m for m, shard in self.runtime.machines() if shard.index == index)
        return found

    def say(self, *words: str, index: int = 0, **options: Any) -> Any:
        return self.ask(lambda machine, ticket: machine.say(*words, ticket=ticket, **options), index)

    def ask(self, decide: Callable[[Words, Ticket], Decision], index: int = 0) -> Any:
        return self.runtime.request(index, lambda machine, ticket, _: decide(machine, ticket), answer)

    def refusal(self, index: int = 0) -> ErrorCode:
        return ErrorCode(self.say("x", index=index).error_code)

    def advance(self, ms: int) -> None:
        self.clock.advance(ms=ms)
        self.runtime.expire()


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    yield made
    await made.runtime.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


# --- requests --------------------------------------------------------------------------------------------------------


async def test_on_a_single_broker_the_answer_is_there_at_once(setup: Setup) -> None:
    log = setup.lead()
    assert setup.say("hello").error_code == ErrorCode.NONE
    assert [(r.key, r.value) for r in log.records()] == [(b"hello", b"hello")]
    assert setup.machine().words == ["hello"]


async def test_an_answer_waits_for_its_records(setup: Setup) -> None:
    log = setup.lead(FakeLog(commits_at_once=False))
    first, second = setup.say("one", "two"), setup.say("three")
    assert setup.machine().words == ["one", "two", "three"], "applied, but not yet told"
    log.commit(1)
    assert not first.done()
    log.commit(2)
    assert first.done()
    assert not second.done()
    log.commit(3)
    assert (await second).error_code == ErrorCode.NONE
    assert setup.machine().offsets == [0, 1, 2]


async def test_answers_without_records_do_not_wait_unless_they_show_what_was_written(setup: Setup) -> None:
    log = setup.lead(FakeLog(commits_at_once=False))
    writing = setup.say("one")
    assert setup.ask(lambda _, t: Decision(answers=[Answer(t, answer())])).error_code == 0
    settled = setup.ask(lambda _, t: Decision(answers=[Answer(t, answer())], settled=True))
    assert not settled.done()
    log.commit()
    assert settled.done()
    assert writing.done()
    assert setup.ask(lambda _, t: Decision(answers=[Answer(t, answer())], settled=True)).error_code == 0


async def test_what_goes_on_after_the_append_may_answer_others(setup: Setup) -> None:
    log = setup.lead(FakeLog(commits_at_once=False))
    parked: list[Ticket] = []

    def park(_: Words, ticket: Ticket) -> Decision:
        parked.append(ticket)
        return NOTHING

    waits = setup.ask(park)
    later = setup.ask(
        lambda machine, ticket: machine.say("go", ticket=ticket)._replace(
            then=lambda: Decision(answers=[Answer(parked[0], answer())])
        )
    )
    assert not waits.done()
    log.commit()
    assert waits.done()
    assert later.done()


async def test_a_failed_append_changes_nothing_and_refuses_those_concerned(setup: Setup) -> None:
    log = setup.lead()
    log.error = ErrorCode.NOT_ENOUGH_REPLICAS
    gone_on: list[int] = []

    def go_on() -> Decision:
        gone_on.append(1)
        return NOTHING

    def decide(machine: Words, ticket: Ticket) -> Decision:
        return machine.say("x", ticket=ticket)._replace(then=go_on)

    assert setup.ask(decide).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert (setup.machine().words, gone_on) == ([], [])
    silent = setup.ask(lambda machine, _: machine.say("x"))
    assert silent.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_COORDINATOR),
        (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_COORDINATOR),
        (ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.UNKNOWN_SERVER_ERROR),
        (ErrorCode.INVALID_RECORD, ErrorCode.INVALID_RECORD),
    ],
)
async def test_clients_are_told_what_they_understand(setup: Setup, failure: ErrorCode, told: ErrorCode) -> None:
    setup.lead().error = failure
    assert setup.refusal() is told


async def test_what_is_not_committed_in_time_is_refused_and_stays(setup: Setup) -> None:
    log = setup.lead(FakeLog(commits_at_once=False))
    early = setup.say("early")
    setup.advance(WRITE_TIMEOUT_MS - 1)
    late = setup.say("late")
    setup.advance(1)
    assert (await early).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert not late.done()
    log.commit()
    assert (await late).error_code == ErrorCode.NONE
    assert setup.machine().words == ["early", "late"]


async def test_a_long_list_of_records_goes_into_several_batches_where_it_may(setup: Setup) -> None:
    log = setup.lead()
    log.max_batch_bytes = 500
    words = [f"word-{n:03}" for n in range(100)]
    assert setup.say(*words).error_code == ErrorCode.UNKNOWN_SERVER_ERROR
    assert setup.say(*words, atomic=False).error_code == ErrorCode.NONE
    assert len(log.batches) > 5
    assert all(len(batch) <= 500 for batch in log.batches)
    assert setup.machine().words == words
    assert setup.machine().offsets == list(range(100))


async def test_what_was_written_before_a_part_that_failed_is_not_left_unsettled(setup: Setup) -> None:
    log = setup.lead()
    log.max_batch_bytes = 500
    assert setup.say("small", "x" * 500, atomic=False).error_code == ErrorCode.UNKNOWN_SERVER_ERROR
    assert setup.machine().words == ["small"]
    assert log.high_watermark == log.log_end_offset == 1


async def test_a_request_whose_connection_closed_is_no_trouble(setup: Setup) -> None:
    log = setup.lead(FakeLog(commits_at_once=False))
    waiting = setup.say("one")
    waiting.cancel()
    await asyncio.sleep(0)
    log.commit()
    assert waiting.cancelled()


async def test_nobody_waits_for_what_concerns_everybody(setup: Setup) -> None:
    for index in range(3):
        setup.lead(index=index)
    setup.runtime.tell_all(lambda machine, now_ms: machine.say(f"at {now_ms}"))
    assert {len(machine.words) for machine, _ in setup.runtime.machines()} == {1}


# --- leadership ------------------------------------------------------------------------------------------------------


async def test_a_partition_led_elsewhere_is_not_ours(setup: Setup) -> None:
    assert setup.refusal() is ErrorCode.NOT_COORDINATOR
    assert setup.runtime.look(0, lambda _: ErrorCode.NONE, lambda error: error) is ErrorCode.NOT_COORDINATOR


async def test_whoever_waits_is_refused_when_leadership_goes(setup: Setup) -> None:
    log = setup.lead(FakeLog(commits_at_once=False))
    writing = setup.say("one")
    parked = setup.ask(lambda _, __: NOTHING)
    setup.machine().timers.schedule(("write",), 10)
    setup.runtime.resigned(0)
    assert (await writing).error_code == (await parked).error_code == ErrorCode.NOT_COORDINATOR
    assert log.is_closed
    setup.advance(20)
    assert setup.refusal() is ErrorCode.NOT_COORDINATOR
    setup.runtime.resigned(0)


async def test_the_next_leader_goes_on(setup: Setup) -> None:
    log = setup.lead()
    setup.say("one", "two")
    other = Setup()
    other.lead(log.reopened())
    assert other.refusal() is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    await until(lambda: not other.runtime.is_loading)
    assert other.machine().words == ["one", "two"]
    assert other.machine().loaded_at == other.clock.time_ms()
    assert other.say("three").error_code == ErrorCode.NONE
    await other.runtime.stop()


async def test_a_new_epoch_of_the_same_leader_keeps_the_state(setup: Setup) -> None:
    log = setup.lead(FakeLog(commits_at_once=False))
    writing = setup.say("one")
    again = FakeLog()
    setup.runtime.elected(0, again)
    assert again.is_closed
    log.commit()
    assert (await writing).error_code == ErrorCode.NONE


async def test_after_the_stop_nothing_is_led(setup: Setup) -> None:
    setup.lead(FakeLog(commits_at_once=False))
    waiting = setup.say("one")
    await setup.runtime.stop()
    assert (await waiting).error_code == ErrorCode.NOT_COORDINATOR
    setup.lead(FakeLog(), index=1)
    assert setup.runtime.led == []


# --- loading ---------------------------------------------------------------------------------------------------------


def filled(count: int, records_per_batch: int = 10) -> FakeLog:
    log = FakeLog()
    for first in range(0, count, records_per_batch):
        words = [f"w{n}".encode() for n in range(first, min(first + records_per_batch, count))]
        log.append(build_batch([Record(n, 0, w, w) for n, w in enumerate(words)]), 0)
    log.commit()
    return log


async def test_an_empty_log_is_served_at_once(setup: Setup) -> None:
    setup.lead(FakeLog(start=17))
    assert setup.say("one").error_code == ErrorCode.NONE
    assert setup.machine().offsets == [17]


async def test_a_long_log_does_not_hold_up_the_loop(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(runtime_module, "_RECORDS_PER_LOOK", 1)
    setup.lead(filled(500))
    turns = 0
    while setup.runtime.is_loading:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 300
    assert setup.machine().words == [f"w{n}" for n in range(500)]


async def test_who_is_asked_for_is_loaded_first(setup: Setup) -> None:
    logs = [filled(3) for _ in range(4)]
    for log in logs:
        log.gate = asyncio.Event()
    for index, log in enumerate(logs):
        setup.lead(log, index)
    await asyncio.sleep(0)
    assert setup.refusal(3) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    for index in (0, 3):
        gate = logs[index].gate
        assert gate is not None
        gate.set()
    await until(lambda: any(shard.index == 3 for _, shard in setup.runtime.machines()))
    assert {shard.index for _, shard in setup.runtime.machines()} == {0, 3}


async def test_leadership_that_goes_while_loading_is_no_trouble(setup: Setup) -> None:
    log = filled(3)
    log.gate = asyncio.Event()
    setup.lead(log)
    await until(lambda: log.reads == 1)
    setup.runtime.resigned(0)
    log.gate.set()
    await until(lambda: not setup.runtime.is_loading)
    assert setup.refusal() is ErrorCode.NOT_COORDINATOR
    setup.lead(log.reopened())
    await until(lambda: not setup.runtime.is_loading)
    assert setup.machine().words == ["w0", "w1", "w2"]


async def test_a_log_that_cannot_be_read_is_not_served_and_others_are(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    broken = filled(3)
    broken.read_error = OSError("the disk is on fire")
    corrupt = FakeLog()
    corrupt.append(build_batch([Record(0, 0, b"corrupt", b"")]), 0)
    setup.lead(broken, 0)
    setup.lead(corrupt, 1)
    setup.lead(filled(3), 2)
    await until(lambda: not setup.runtime.is_loading)
    assert [setup.refusal(i) for i in range(3)] == [
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NONE,
    ]
    assert "on fire" in caplog.text
    setup.runtime.resigned(0)


async def test_a_defect_that_one_log_brings_to_light_does_not_keep_others_from_being_loaded(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    log = FakeLog()
    log.append(build_batch([Record(0, 0, b"\xff", b"")]), 0)
    setup.lead(log, 0)
    setup.lead(filled(3), 1)
    await until(lambda: not setup.runtime.is_loading)
    assert [setup.refusal(i) for i in range(2)] == [ErrorCode.NOT_COORDINATOR, ErrorCode.NONE]
    assert "UnicodeDecodeError" in caplog.text


async def test_a_defect_at_the_end_of_loading_leaves_no_deadlines(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(machine: Words, _: int) -> Decision:
        machine.timers.schedule(("write",), 1)
        raise ZeroDivisionError

    monkeypatch.setattr(Words, "on_loaded", fail)
    log = filled(3)
    setup.lead(log)
    await until(lambda: not setup.runtime.is_loading)
    setup.advance(1)
    assert len(log.batches) == 1
    assert setup.refusal() is ErrorCode.NOT_COORDINATOR


async def test_a_log_that_could_not_be_read_is_tried_again_in_the_next_epoch(setup: Setup) -> None:
    log = filled(3)
    log.read_error = OSError("too many open files")
    setup.lead(log)
    await until(lambda: not setup.runtime.is_loading)
    assert setup.refusal() is ErrorCode.NOT_COORDINATOR
    setup.lead(log.reopened())
    await until(lambda: not setup.runtime.is_loading)
    assert log.is_closed
    assert setup.refusal() is ErrorCode.NONE


async def test_transactions_and_strange_records_are_told_apart(setup: Setup) -> None:
    log = FakeLog()
    log.append(build_batch([Record(0, 0, b"a", b""), Record(1, 0, None, b"x"), Record(2, 0, b"unknown", b"")]), 0)
    log.append(
        build_batch([Record(0, 0, b"t", b"")], producer_id=9, producer_epoch=0, base_sequence=0, transactional=True), 0
    )
    for commit in (True, False):
        marker = end_transaction_batch(
            commit=commit,
            base_offset=0,
            timestamp=0,
            leader_epoch=1,
            producer_id=9,
            producer_epoch=0,
            coordinator_epoch=1,
        )
        log.append(marker, 0)
    log.commit()
    setup.lead(log)
    await until(lambda: not setup.runtime.is_loading)
    machine = setup.machine()
    assert machine.words == ["a", "t?9"]
    assert machine.ended == [(9, True), (9, False)]


async def test_answers_that_show_the_log_wait_for_what_the_last_leader_left_uncommitted(setup: Setup) -> None:
    log = filled(10)
    log.high_watermark = 4
    log.commits_at_once = False
    setup.lead(log)
    await until(lambda: not setup.runtime.is_loading)
    shown = setup.ask(lambda _, t: Decision(answers=[Answer(t, answer())], settled=True))
    log.commit(9)
    assert not shown.done()
    log.commit(10)
    assert shown.done()


# --- deadlines -------------------------------------------------------------------------------------------------------


async def test_deadlines_come_by_the_clock(setup: Setup) -> None:
    setup.lead()
    timers = setup.machine().timers
    timers.schedule(("a",), 10)
    timers.schedule(("write",), 20)
    timers.schedule(("never",), 15)
    timers.cancel(("never",))
    timers.cancel(("unknown",))
    setup.advance(10)
    assert setup.machine().expired == [("a",)]
    setup.advance(10)
    assert setup.machine().expired == [("a",), ("write",)]
    assert setup.machine().words == ["late"]


async def test_the_timer_runs_by_itself() -> None:
    from blumfeld.env.clock import SystemClock

    runtime = CoordinatorRuntime("__words", SystemClock(), lambda _log, timers: Words(timers))
    runtime.elected(0, FakeLog())
    ((machine, _),) = runtime.machines()
    machine.timers.schedule(("soon",), 20)
    machine.timers.schedule(("sooner",), 1)
    await until(lambda: len(machine.expired) == 2)
    assert machine.expired == [("sooner",), ("soon",)]
    await runtime.stop()


async def test_a_stalled_loop_reads_what_has_arrived_first(setup: Setup) -> None:
    """The process was stopped for a while: heartbeats lie in the socket's buffer."""
    setup.lead()
    setup.machine().timers.schedule(("session",), 1_000)
    setup.clock.advance(ms=60_000)
    setup.runtime._on_timer()
    assert setup.machine().expired == []
    setup.machine().timers.schedule(("session",), 1_000)
    setup.clock.advance(ms=200)
    setup.runtime._on_timer()
    assert setup.machine().expired == []
    setup.clock.advance(ms=800)
    setup.runtime.expire()
    assert setup.machine().expired == [("session",)]


async def test_what_falls_due_at_once_does_not_cut_that_reading_short(setup: Setup) -> None:
    setup.lead()
    setup.machine().timers.schedule(("session",), 1_000)
    setup.clock.advance(ms=60_000)
    setup.runtime._on_timer()
    setup.machine().timers.schedule(("join",), 0)
    for _ in range(3):
        await asyncio.sleep(0)
    assert setup.machine().expired == []
    setup.clock.advance(ms=100)
    setup.runtime._on_timer()
    assert setup.machine().expired == [("session",), ("join",)]


async def test_a_clock_that_is_moved_is_noticed(setup: Setup) -> None:
    setup.runtime.clock_moved()
    setup.lead()
    setup.machine().timers.schedule(("session",), 45_000)
    setup.clock.advance(ms=45_000)
    setup.runtime.clock_moved()
    await until(lambda: setup.machine().expired == [("session",)])


async def test_a_deadline_that_fails_does_not_hold_up_the_others(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.lead()
    machine = setup.machine()
    machine.timers.schedule(("broken",), 1)
    machine.timers.schedule(("sound",), 2)
    expire = machine.expire

    def fail_once(key: tuple[str, ...], now_ms: int) -> Decision:
        if key == ("broken",):
            raise ZeroDivisionError
        return expire(key, now_ms)

    monkeypatch.setattr(machine, "expire", fail_once)
    failures: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    setup.clock.advance(ms=2)
    await until(lambda: machine.expired == [("sound",)])
    assert [type(failure) for failure in failures] == [ZeroDivisionError]


async def test_thousands_that_are_due_do_not_hold_up_the_loop(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "_DEADLINES_PER_TURN", 10)
    setup.lead()
    for n in range(25):
        setup.machine().timers.schedule((str(n),), 5)
    setup.advance(5)
    assert len(setup.machine().expired) == 10
    await until(lambda: len(setup.machine().expired) == 25)
