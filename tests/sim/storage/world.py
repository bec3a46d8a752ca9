"""One simulated universe: a log on a disk that forgets, what happens to it, and what must hold.

Owns the choice of actions by the seed. `World(seed).run()` takes every step, checks the invariants after each, and
counts what happened; a failure names the seed and the command that replays it.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Callable, Generator
from random import Random

from blumfeld.env.clock import ManualClock
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.faulty_disk import FaultyDisk, PowerCut
from blumfeld.protocol.batch import iterate_batches, set_append_time, set_offset_and_epoch
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.records import Record, build_batch, end_transaction_batch
from blumfeld.storage import checkpoint, retention
from blumfeld.storage.compaction import Interrupted, Limits, Result, Round, Step, assess
from blumfeld.storage.data_directory import DataDirectory
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig
from blumfeld.storage.results import LookUpResult, ReadResult
from blumfeld.storage.validate import Origin
from tests.sim.storage import checks
from tests.sim.storage.checks import Violation, require
from tests.sim.storage.model import Entry, Line, Model

DIRECTORY = "/logs"
NAME = "topic-0"
KEY = ("topic", 0)
STEPS = 1_000
_MAX_OPEN_FILES = 4

WEIGHTS = {
    "append": 480,
    "append_as_follower": 120,
    "end_transaction": 40,
    "read": 130,
    "look_up_time": 12,
    "flush": 30,
    "write_checkpoints": 20,
    "roll": 12,
    "truncate": 12,
    "compact": 40,
    "retain": 6,
    "delete_records": 5,
    "empty_trash": 6,
    "wait": 40,
    "look_closely": 12,
    "crash": 5,
    "crash_within": 5,
    "kill": 3,
    "close": 3,
    "disk_error": 2,
}
"""How often, in a thousand steps, each action is taken."""


_CODECS = [0] * 20 + [1, 2, 3, 4]
_MAY_RAISE = {"roll", "truncate", "write_checkpoints", "close", "compact"}
"""Actions whose caller takes the directory offline when they raise OSError."""


class SimulationFailure(AssertionError):
    """An invariant was violated."""


class World:
    """One seed's universe. `counts`: how often each thing happened."""

    def __init__(self, seed: int, steps: int = STEPS) -> None:
        self.seed = seed
        self.steps = steps
        self.step = 0
        self.random = Random(seed)
        self.look_up_random = Random(seed)
        self.clock = ManualClock()
        self.disk = FaultyDisk(seed, cold=0.1, clock=self.clock)
        self.config = self._draw_config()
        self.model = Model()
        self.counts: Counter[str] = Counter()
        self.epoch = 0
        self.sequences: dict[int, int] = {}
        self.producer_epochs: dict[int, int] = {}
        self.in_transaction: set[int] = set()
        self.round: Generator[Step, None, Result] | None = None
        self.forgetful = False
        """Whether producers whose data are gone may have been forgotten, by a recovery or a truncation."""
        self.cold: list[tuple[Callable[[], ReadResult], int, Line]] = []
        self.cold_look_ups: list[tuple[Callable[[], LookUpResult], str, set[int | None]]] = []
        self.home: DataDirectory
        self.log: Log

    def _draw_config(self) -> LogConfig:
        random = self.random
        policy = random.choice([("delete",), ("delete",), ("compact",), ("compact", "delete")])
        return LogConfig(
            cleanup_policy=policy,
            segment_bytes=random.randrange(1_500, 5_000),
            index_interval_bytes=random.randrange(0, 500),
            segment_index_bytes=random.choice([36, 60, 120, 2_400]),
            retention_bytes=random.choice([-1, 20_000]),
            retention_ms=random.choice([-1, 400_000]),
            delete_retention_ms=1_000,
            min_compaction_lag_ms=random.choice([0, 0, 2_000]),
            file_delete_delay_ms=1_000,
            preallocate=random.random() < 0.2,
            message_timestamp_type=random.choice(["CreateTime", "CreateTime", "CreateTime", "LogAppendTime"]),
        )

    # The universe as a whole.
    def run(self) -> World:
        """All steps; raises `SimulationFailure`."""
        logging.disable(logging.CRITICAL)
        actions = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=self.steps)
        action = "open"
        try:
            self.open()
            for self.step, action in enumerate(actions, 1):
                self._take(action)
            self._take("close")
        except SimulationFailure:
            raise
        except Exception as error:
            raise SimulationFailure(
                f"seed {self.seed}, step {self.step} ({action}): {type(error).__name__}: {error}\n"
                f"replay: python -m tests.sim.storage --seed {self.seed}"
            ) from error
        finally:
            logging.disable(logging.NOTSET)
        return self

    def _take(self, action: str) -> None:
        try:
            getattr(self, action)()
        except PowerCut:
            self.counts["power cut within " + action] += 1
            self._lose_power()
        except OSError as error:
            if self.log.home.error is None:
                require(action in _MAY_RAISE, f"{action} raises {error}")
                self.log.home.fail(error, action)
        if self.log.home.error is not None:
            self.counts["offline"] += 1
            self.disk.recover()
            self._restart(self.random.choice([self.disk.kill, self.disk.crash]))
        checks.after_every_step(self.log, self.model)
        bound = _MAX_OPEN_FILES + len(self.cold) + 1
        require(len(self.disk.handles) <= bound, f"too many open files: {self.disk.open_handles()}")

    # Opening and the ends of the process.
    def open(self) -> None:
        """Start the broker's storage, as the log manager does."""
        self.home = DataDirectory(DIRECTORY, self.disk, self.clock, max_open_files=_MAX_OPEN_FILES, max_index_bytes=400)
        self.home.take("cluster", 1, SeededEntropy(self.seed))
        self.log = Log.open(
            f"{DIRECTORY}/{NAME}",
            self.config,
            self.disk,
            self.clock,
            clean=self.home.clean_epoch is not None,
            recovery_point=self.home.written[checkpoint.RECOVERY_POINTS].get(KEY, 0),
            log_start_offset=self.home.written[checkpoint.LOG_START_OFFSETS].get(KEY, 0),
            high_watermark=self.home.written[checkpoint.HIGH_WATERMARKS].get(KEY, 0),
            home=self.home,
        )

    def _lose_power(self) -> None:
        self._restart(self.disk.crash)

    def _restart(self, end: Callable[[], None]) -> None:
        """The process ends by `end`, and the log is opened again, however often the power goes meanwhile."""
        if self.round is not None:
            self.log.deleted = True  # to the dead process nothing matters any more
            self._end_round()
        self.cold.clear()
        self.cold_look_ups.clear()
        crashed = end == self.disk.crash
        lossless = not crashed and self.log.home.error is None
        while True:
            end()
            try:
                self.open()
            except PowerCut:
                self.counts["power cut within recovery"] += 1
                end, crashed, lossless = self.disk.crash, True, False
                continue
            except OSError:
                self.counts["disk error within recovery"] += 1
                self.disk.recover()
                end, lossless = self.disk.kill, False
                continue
            break
        self._settle(lossless=lossless, crashed=crashed)

    def _settle(self, *, lossless: bool, crashed: bool) -> None:
        """The log that was found must be one of those it may be."""
        log, model = self.log, self.model
        end = log.log_end_offset
        require(end >= model.flushed, f"the log ends at {end}, but everything below {model.flushed} had been flushed")
        if lossless:
            require(end == model.end, f"the process ended, and {end} is where the log ends, not {model.end}")
        candidates = [model.line, *(line for line, _ in reversed(model.older))]
        reasons = []
        for line in candidates:
            try:
                with self.disk.calm():
                    checks.contents(log, model, line)
            except Violation as violation:
                reasons.append(str(violation))
            else:
                break
        else:
            raise Violation(f"the log is none that it may be: {reasons}")
        first = log.log_start_offset
        for entry in model.line.between(first, model.flushed):
            require(line.at(entry.base) is entry, f"flushed batch {entry.batch} is not in the log")
        highest = max(model.start, model.trimmed)
        require(first <= highest or first == end, f"the log starts at {first}, beyond {highest}")
        model.settle(line, end, first, durable=crashed)
        if line.emptied:
            with self.disk.calm():
                batches = [bytes(data) for segment in log.segments for _, _, data in segment.batches()]
            model.take_what_is_left([Entry(data) for data in batches], log.segments[0].base_offset)
        log.update_high_watermark(model.high_watermark)
        model.high_watermark = log.high_watermark
        self.forgetful = self.forgetful or not lossless or log.segments[0].base_offset > 0
        self._forget_producers()
        self._look_at_all()

    def _forget_producers(self) -> None:
        """Clients go on from what the log knows."""
        known = self.model.line.states.by_id
        for producer_id in list(self.sequences):
            producer = known.get(producer_id)
            mine = self.log.producers.by_id.get(producer_id)
            if producer is None or mine is None or mine.as_tuple() != producer.as_tuple():
                self.producer_epochs[producer_id] = self.producer_epochs.get(producer_id, 0) + 1
                self.sequences[producer_id] = 0
            else:
                self.sequences[producer_id] = producer.last_sequence + 1
                self.producer_epochs[producer_id] = producer.epoch
        self.in_transaction = {
            producer.producer_id for producer in self.log.producers.by_id.values() if producer.txn_first_offset >= 0
        }

    def crash(self) -> None:
        """The power goes between two actions."""
        self.counts["crash"] += 1
        self._lose_power()

    def crash_within(self) -> None:
        """The power goes within one of the next actions."""
        self.counts["crash"] += 1
        self.disk.cut_power_after(self.random.randrange(40))

    def kill(self) -> None:
        """The process ends; what was written stays."""
        self.counts["kill"] += 1
        self._restart(self.disk.kill)

    def close(self) -> None:
        """A clean stop and start; no handle is left open."""
        self.counts["close"] += 1
        self._end_round()
        for thunk, *_ in self.cold:
            thunk()
        self.cold.clear()
        while self.cold_look_ups:
            self._finish_look_up()
        if self.log.home.error is not None:
            return
        self.log.close()
        self.model.flushed = self.model.end
        for name, offsets in (
            *self.home.checkpoint_recovery([self.log]),
            *self.home.checkpoint_high_watermarks([self.log]),
        ):
            self.home.write_checkpoint(name, offsets)
        self.home.mark_clean(1)
        require(not self.disk.open_handles(), f"left open: {self.disk.open_handles()}")
        self.home.leave()
        crashed = self.random.random() < 0.5
        if crashed:
            self.disk.crash()
        self.open()
        self._settle(lossless=True, crashed=crashed)

    def disk_error(self) -> None:
        """One of the next calls fails."""
        self.counts["disk error"] += 1
        operation = self.random.choice(["append", "write_at", "sync", "rename", "open", "sync_directory"])
        self.disk.inject(self.random.choice([errno.ENOSPC, errno.EIO]), operation, after=self.random.randrange(5))

    # Appends.
    def _records(self) -> list[Record]:
        random, now_ms = self.random, self.clock.time_ms()
        size = random.choice([5, 20, 20, 60, 150])
        return [
            Record(
                index,
                now_ms - random.randrange(50),
                b"k%d" % random.randrange(25),
                None if random.random() < 0.1 else random.randbytes(random.randrange(size)),
            )
            for index in range(random.choice([1, 1, 1, 2, 5]))
        ]

    def _data_batch(self) -> tuple[bytes, int, int]:
        """A client's batch, its producer (−1: none) and how many records it has."""
        random = self.random
        producer_id = random.choice([-1, -1, 1, 2, 3, 11, 12])
        records = self._records()
        data = build_batch(
            records,
            codec=random.choice(_CODECS),
            producer_id=producer_id,
            producer_epoch=self.producer_epochs.get(producer_id, 0) if producer_id >= 0 else -1,
            base_sequence=self.sequences.get(producer_id, 0) if producer_id >= 0 else -1,
            transactional=producer_id > 10,
        )
        return data, producer_id, len(records)

    def append(self) -> None:
        """A client's batch reaches the leader."""
        data, producer_id, count = self._data_batch()
        self._write_as_leader(data, "client")
        if producer_id >= 0:
            self.sequences[producer_id] = self.sequences.get(producer_id, 0) + count
            if producer_id > 10:
                self.in_transaction.add(producer_id)

    def end_transaction(self) -> None:
        """The coordinator ends a transaction."""
        if not self.in_transaction:
            return
        producer_id = self.random.choice(sorted(self.in_transaction))
        if self.random.random() < 0.2:
            self.producer_epochs[producer_id] = self.producer_epochs.get(producer_id, 0) + 1
            self.sequences[producer_id] = 0
        commit = self.random.random() < 0.5
        self.counts["commit" if commit else "abort"] += 1
        marker = end_transaction_batch(
            commit=commit,
            base_offset=0,
            timestamp=self.clock.time_ms(),
            leader_epoch=-1,
            producer_id=producer_id,
            producer_epoch=self.producer_epochs.get(producer_id, 0),
            coordinator_epoch=0,
        )
        self._write_as_leader(marker, "coordinator")
        self.in_transaction.discard(producer_id)

    def _write_as_leader(self, data: bytes, origin: Origin) -> None:
        written, now_ms = bytearray(data), self.clock.time_ms()
        set_offset_and_epoch(written, self.model.end, self.epoch)
        if self.config.log_append_time:
            set_append_time(written, now_ms)
        segments, base = len(self.log.segments), self.model.end
        self.model.append([Entry(bytes(written))])  # it may be there, should the call fail
        buffer = bytearray(data) if self.random.random() < 0.5 else data
        result = self.log.append_as_leader(buffer, self.epoch, now_ms=now_ms, origin=origin)
        if result.error is ErrorCode.KAFKA_STORAGE_ERROR:
            return
        require(result.error is ErrorCode.NONE, f"refused: {result}")
        require(result.base_offset == base, f"appended at {result.base_offset}, not at {base}")
        self._appended(segments)

    def append_as_follower(self) -> None:
        """Batches fetched from the leader, with its offsets and its epoch."""
        random = self.random
        offset = self.model.end + random.choice([0, 0, 0, 0, 0, 3])
        entries = []
        for _ in range(random.choice([1, 1, 2, 4])):
            buffer = bytearray(build_batch(self._records()))
            set_offset_and_epoch(buffer, offset, self.epoch)
            entries.append(Entry(bytes(buffer)))
            offset = entries[-1].last + 1
        segments = len(self.log.segments)
        self.model.append(entries)
        result = self.log.append_as_follower(b"".join([entry.data for entry in entries]))
        if result.error is not ErrorCode.KAFKA_STORAGE_ERROR:
            require(result.error is ErrorCode.NONE, f"refused: {result}")
            self._appended(segments)

    def _appended(self, segments: int) -> None:
        if len(self.log.segments) > segments:
            self.counts["roll"] += 1
        if self.random.random() < 0.7:
            model = self.model
            model.high_watermark = self.random.randrange(model.high_watermark, model.end + 1)
            self.log.update_high_watermark(model.high_watermark)

    # Reads.
    def read(self) -> None:
        """A fetch from anywhere, now or, where the disk would have to be waited for, a little later."""
        random, model = self.random, self.model
        offset = random.randrange(model.start, model.end + 1)
        upper = random.choice([None, model.high_watermark])
        max_bytes = random.choice([1, 300, 2_000, 100_000])
        result = self.log.read(offset, max_bytes, upper=upper)
        if result.error is ErrorCode.KAFKA_STORAGE_ERROR:
            return
        if result.cold is not None:
            self.counts["cold read"] += 1
            self.cold.append((result.cold, offset, model.line))
        else:
            self._check_read(result, offset, model.line)
            if not len(result.records):
                entry = model.line.at(offset)
                bound = model.end if upper is None else upper
                empty = entry is None or entry.last >= bound or offset < model.cleaned
                require(empty, f"a read at {offset} up to {bound} brings nothing")
        if self.cold and random.random() < 0.5:
            thunk, offset, line = self.cold.pop(random.randrange(len(self.cold)))
            self._check_read(thunk(), offset, line)

    def _check_read(self, result: ReadResult, offset: int, line: Line) -> None:
        if result.error is ErrorCode.KAFKA_STORAGE_ERROR:
            return
        require(result.error is ErrorCode.NONE, f"a read at {offset} fails: {result}")
        data = bytes(result.records)
        if not data:
            return
        if offset < self.model.cleaned:
            bases = [batch.base_offset for batch in iterate_batches(data)]
            require(bases == sorted(set(bases)), f"a read at {offset} brings {bases}")
            return
        entry = line.at(offset)
        at = 0
        while at < len(data):
            require(
                entry is not None and data.startswith(entry.data, at), f"a read at {offset} brings what is not there"
            )
            assert entry is not None
            at += len(entry.data)
            after = entry.last + 1
            entry = line.at(after)
        require(result.next_offset in (after, entry.base if entry else after), f"next is {result.next_offset}")

    def look_up_time(self) -> None:
        """The first record not older than another one, or the one with the largest timestamp; now or a little later."""
        if self.cold_look_ups and self.look_up_random.random() < 0.5:
            self._finish_look_up()
        model = self.model
        entries = list(model.line.between(model.start, model.end))
        if model.cleaned or not entries:
            return
        entries = [*filter(None, [model.line.at(model.start)]), *entries]
        records = [record for entry in entries for record in entry.records if record.offset >= model.start]
        largest = self.look_up_random.random() < 0.2
        if largest:
            timestamp = max(record.timestamp for record in records)
            result = self.log.offset_of_max_timestamp()
        else:
            timestamp = self.look_up_random.choice(records).timestamp
            result = self.log.offset_for_timestamp(timestamp)
        expected: set[int | None] = {next(record.offset for record in records if record.timestamp >= timestamp)}
        if largest and model.start > self.log.segments[0].base_offset:
            expected.add(None)  # the largest one was deleted, its segment not yet
        what = "the largest time" if largest else f"time {timestamp}"
        if result.cold is not None:
            self.counts["cold look-up"] += 1
            self.cold_look_ups.append((result.cold, what, expected))
        else:
            self._check_look_up(result, what, expected, overtaken=False)

    def _finish_look_up(self) -> None:
        thunk, what, expected = self.cold_look_ups.pop(self.look_up_random.randrange(len(self.cold_look_ups)))
        self._check_look_up(thunk(), what, expected, overtaken=True)

    def _check_look_up(self, result: LookUpResult, what: str, expected: set[int | None], *, overtaken: bool) -> None:
        if result.error is ErrorCode.KAFKA_STORAGE_ERROR:
            require(self.log.home.error is not None, "a look-up fails for no reason")
            return
        if overtaken and result.error is ErrorCode.OFFSET_NOT_AVAILABLE:
            self.counts["overtaken look-up"] += 1
            return
        require(result.error is ErrorCode.NONE and result.cold is None, f"the look-up of {what} fails: {result}")
        offset = None if result.found is None else result.found.offset
        require(offset in expected, f"{what} is first at one of {expected}, not at {offset}")

    # What changes files.
    def flush(self) -> None:
        point = self.log.flush()
        require(point == self.model.end, f"flushed up to {point}, not to {self.model.end}")
        self.model.flush(point)

    def write_checkpoints(self) -> None:
        for name, offsets in (
            *self.home.checkpoint_recovery([self.log]),
            *self.home.checkpoint_high_watermarks([self.log]),
        ):
            self.home.write_checkpoint(name, offsets)

    def roll(self) -> None:
        if self.log.active.size:
            self.counts["roll"] += 1
            self.log.roll()

    def truncate(self) -> None:
        """Another leader: what it does not have goes, and a new epoch begins."""
        self.counts["truncate"] += 1
        random, model = self.random, self.model
        if random.random() < 0.1:
            offset = model.end + random.randrange(100)
            model.start_over(offset)
            self.log.truncate_and_start_at(offset)
        else:
            offset = random.randrange(model.high_watermark, model.end + 1)
            end = model.cut(offset, self.log.segments[0].base_offset)
            self.log.truncate_to(offset)
            if end is None:
                require(self.log.log_end_offset <= model.end, "the log is longer than it was")
                model.end_at(self.log.log_end_offset)
        model.high_watermark = self.log.high_watermark
        self.forgetful = self.forgetful or model.trimmed > 0  # states are built again from the log's start on
        self.epoch += 1
        if random.random() < 0.5:
            self.log.assign_epoch(self.epoch, model.end)
        self._forget_producers()
        self._look_at_all()

    def compact(self) -> None:
        """One step of a round, which begins where there is something to clean."""
        if not self.config.compact:
            return
        if self.round is None:
            due = assess(self.log, self.random.choice([0, self.model.cleaned]), self.clock.time_ms())
            if due is None:
                return
            self.counts["compaction begun"] += 1
            self.model.cleaned = max(self.model.cleaned, due.upper)
            limits = Limits(self.random.choice([1_000, 1 << 20]), 600)
            self.round = Round(due, self.clock.time_ms(), limits).steps()
        try:
            next(self.round)()
        except StopIteration:
            self.counts["compact"] += 1
            self.round = None
        except Interrupted:
            self.counts["interrupted"] += 1
            self.round = None
        else:
            return
        with self.disk.calm():
            checks.contents(self.log, self.model, self.model.line)

    def _end_round(self) -> None:
        if self.round is not None:
            self.round.close()
            self.round = None

    def retain(self) -> None:
        model = self.model
        start = model.start
        model.start_at(model.high_watermark)
        if retention.apply(self.log, self.clock.time_ms()):
            self.counts["retain"] += 1
        require(start <= self.log.log_start_offset <= model.high_watermark, "retention went too far")
        model.start = self.log.log_start_offset

    def delete_records(self) -> None:
        model = self.model
        model.start_at(self.random.randrange(model.start, model.high_watermark + 1))
        self.log.advance_log_start_offset(model.start)

    def empty_trash(self) -> None:
        self.home.empty_trash(self.clock.time_ms())

    def wait(self) -> None:
        self.clock.advance(ms=self.random.choice([1, 50, 500, 3_000]))

    # Invariants that cost more.
    def look_closely(self) -> None:
        self._look_at_all()

    def _look_at_all(self) -> None:
        log, model = self.log, self.model
        with self.disk.calm():
            checks.contents(log, model, model.line)
            for segment in log.segments:
                checks.indexes(segment)
            checks.epochs(log, model)
            checks.producers(log, model, exact=not (model.cleaned or self.forgetful))
            checks.aborted(log, model)
