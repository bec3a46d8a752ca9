"""The cleaner: one log after another gets its round of compaction, the dirtiest first.

Owns the checkpoint of each log (up to where it is clean), which logs cannot be cleaned, and how a round shares the
machine: it makes room for an append that it has interrupted, and keeps to log.cleaner.io.max.bytes.per.second. Called
in turns by the logs' owner; steps run where `submit` takes them.

Invariants: at most one round at a time; a checkpoint never lies beyond what a finished round has cleaned, nor beyond
where a truncation cut the log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from sys import float_info
from typing import TYPE_CHECKING

from blumfeld.storage.compaction import Due, Interrupted, Limits, Result, Round, Step, assess, is_due

if TYPE_CHECKING:
    from blumfeld.config.sources import Config
    from blumfeld.env.clock import Clock
    from blumfeld.storage.log import Log
    from blumfeld.storage.log_directory import LogDirectory

_logger = logging.getLogger(__name__)

PAUSE_S = 0.0001


class Pace:
    """How fast the thread of a round may go. `stop` makes its next breath raise `Interrupted`."""

    def __init__(self, clock: Clock, bytes_per_second: float, home: LogDirectory) -> None:
        self._monotonic = clock.monotonic
        self._rate = bytes_per_second
        self._home = home
        self._started = clock.monotonic()
        self._bytes = 0
        self._wake = threading.Event()

    def stop(self) -> None:
        """No further; from any thread."""
        self._wake.set()

    def breathe(self) -> None:
        """Let an append go on that waits for the interpreter: a write gives it away, and this thread took it."""
        if self._home.appending:
            self._wait(PAUSE_S)
        elif self._wake.is_set():
            raise Interrupted("the cleaner stops")

    def throttle(self, size: int) -> None:
        """Count `size` bytes, and wait until they are within the rate."""
        self._bytes += size
        if self._rate < float_info.max:
            ahead = self._bytes / self._rate - (self._monotonic() - self._started)
            if ahead > 0.001:
                self._wait(ahead)

    def _wait(self, seconds: float) -> None:
        if self._wake.wait(seconds):
            raise Interrupted("the cleaner stops")


class LogCleaner:
    """All compaction of one broker. `checkpoints`: (topic, partition) → the first offset that is not clean."""

    def __init__(self, config: Config, clock: Clock, submit: Callable[[Step], Future[object]]) -> None:
        self.checkpoints: dict[tuple[str, int], int] = {}
        self.changed = False
        """Whether `checkpoints` differs from what was last written; whoever writes it resets this."""
        self.uncleanable: dict[tuple[str, int], str] = {}
        """Logs whose data cannot be read, and why."""
        self.last_result: Result | None = None
        self._clock = clock
        self._submit = submit
        self._pace: Pace | None = None
        self._steps: Generator[Step, None, Result] | None = None
        self._log: Log | None = None
        self._step: Future[object] | None = None
        self._next_look_ms = 0
        self.update_config(config)

    def update_config(self, config: Config) -> None:
        """Obey `config` from the next round on."""
        self._enabled = config.bool("log.cleaner.enable")
        load = config.double("log.cleaner.io.buffer.load.factor")
        self._map_bytes = max(4096, int(config.long("log.cleaner.dedupe.buffer.size") * load))
        self._buffer_bytes = config.int("log.cleaner.io.buffer.size")
        self._rate = config.double("log.cleaner.io.max.bytes.per.second")
        self._backoff_ms = config.long("log.cleaner.backoff.ms")

    @property
    def busy(self) -> bool:
        """Whether a round is going on: then `turn` wants to be called as soon as its step is done."""
        return self._steps is not None

    def wants_turn(self, now_ms: int) -> bool:
        """Whether a turn could do anything."""
        return self._steps is not None or (self._enabled and now_ms >= self._next_look_ms)

    def turn(self, logs: Iterable[Log], now_ms: int, on_step: Callable[[], None] | None = None) -> None:
        """Go on with the round, or begin one where a log is due. `on_step` is called, in the thread, after a step."""
        if not self.wants_turn(now_ms):
            return
        if self._steps is None:
            due = self._filthiest(logs, now_ms)
            if due is None:
                self._next_look_ms = now_ms + self._backoff_ms
                return
            self._begin(due, now_ms)
        elif self._step is None or not self._step.done():
            return
        self._advance(on_step)

    def _filthiest(self, logs: Iterable[Log], now_ms: int) -> Due | None:
        best: Due | None = None
        for log in logs:
            name = (log.topic, log.partition)
            if not log.config.compact or log.home.error is not None or log.deleted or name in self.uncleanable:
                continue
            due = assess(log, self.checkpoints.get(name, log.log_start_offset), now_ms)
            if due is not None and is_due(due) and (best is None or due.ratio > best.ratio):
                best = due
        return best

    def _begin(self, due: Due, now_ms: int) -> None:
        _logger.debug("%s: compacting from %d to %d", due.log.topic_partition, due.first_dirty, due.upper)
        self._pace = Pace(self._clock, self._rate, due.log.home)
        limits = Limits(self._map_bytes, self._buffer_bytes, self._pace.breathe, self._pace.throttle)
        self._log = due.log
        self._steps = Round(due, now_ms, limits).steps()

    def _advance(self, on_step: Callable[[], None] | None) -> None:
        assert self._steps is not None
        assert self._log is not None
        log = self._log
        try:
            if self._step is not None:
                self._step.result()
            step = next(self._steps)
        except StopIteration as stop:
            self._finished(log, stop.value)
        except Interrupted as reason:
            _logger.info("%s: compaction stops: %s", log.topic_partition, reason)
            self._end()
        except OSError as error:
            if not log.deleted:
                log.home.fail(error, f"compacting {log.topic_partition}")
            self._end()
        except Exception as error:  # noqa: BLE001  whatever is in one log, the others are cleaned
            _logger.error("%s cannot be compacted: %s", log.topic_partition, error)
            self.uncleanable[(log.topic, log.partition)] = str(error)
            self._end()
        else:
            self._step = self._submit(step)
            if on_step is not None:
                self._step.add_done_callback(lambda _: on_step())

    def _finished(self, log: Log, result: Result) -> None:
        self._end()
        self.last_result = result
        self.checkpoints[(log.topic, log.partition)] = result.end
        self.changed = True
        _logger.info(
            "%s compacted up to offset %d: %d of %d records and %d of %d bytes are left",
            log.topic_partition,
            result.end,
            result.records_kept,
            result.records_read,
            result.bytes_written,
            result.bytes_read,
        )

    def _end(self) -> None:
        if self._steps is not None:
            self._steps.close()
        self._steps = self._step = self._log = self._pace = None

    # What happens to logs meanwhile.
    def truncated(self, topic: str, partition: int, offset: int) -> None:
        """A log is cut at `offset`: what comes there next is dirty."""
        name = (topic, partition)
        if self.checkpoints.get(name, -1) > offset:
            self.checkpoints[name] = offset
            self.changed = True

    def forget(self, topic: str, partition: int) -> None:
        """A log is gone."""
        self.uncleanable.pop((topic, partition), None)
        if self.checkpoints.pop((topic, partition), None) is not None:
            self.changed = True

    def close(self) -> None:
        """Stop the round, waiting for the step that runs, and begin no other."""
        self._enabled = False
        if self._pace is not None:
            self._pace.stop()
        if self._step is not None:
            self._step.exception()
        self._end()
