"""Compaction: when a log is due, and one round over it.

Owns the choice of what may be cleaned, the grouping of segments, and the order of a round's steps. The rules for
batches are `cleaning.py`'s, replacing segments is `removal.py`'s. A round is a generator: what it yields is work for a
thread, what it does in between belongs to the log's owner and touches no file, so that appends never wait for it:

    read the dirty part, note each key's newest offset   (thread)
    for each group of segments: write the cleaned one    (thread)
                                put it in their place    (owner)
                                let the old files go     (thread)

Invariants
- Nothing at or above the last stable offset, in the active segment, or younger than min.compaction.lag.ms is touched.
- The keys that are noted fit into the memory allowed; what does not fit waits for the next round.
- A log that was cut, deleted, or whose segments went meanwhile keeps what it has: the round ends with `Interrupted`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from blumfeld.protocol.batch import RecordBatch
from blumfeld.storage import removal
from blumfeld.storage.cleaned_transactions import CleanedTransactions
from blumfeld.storage.cleaning import Cleaning, fill
from blumfeld.storage.index import MAX_RELATIVE_OFFSET
from blumfeld.storage.log_config import FOREVER
from blumfeld.storage.offset_map import OffsetMap
from blumfeld.storage.recovery import CLEANED
from blumfeld.storage.scan import scan
from blumfeld.storage.segment import Segment
from blumfeld.storage.txn_index import overlapping

if TYPE_CHECKING:
    from blumfeld.env.disk import Buffer, File
    from blumfeld.storage.log import Log

_logger = logging.getLogger(__name__)


class Interrupted(Exception):
    """The log is not what it was when the round began."""


class Due(NamedTuple):
    """What can be cleaned of a log: from offset `first_dirty` up to `upper`, the base of a segment."""

    log: Log
    first_dirty: int
    upper: int
    dirty_bytes: int
    total_bytes: int
    overdue: bool
    """Whether a record waits longer than max.compaction.lag.ms."""

    @property
    def ratio(self) -> float:
        """The dirty part of what could be clean."""
        return self.dirty_bytes / self.total_bytes if self.total_bytes else 0.0


class Limits(NamedTuple):
    """What a round may use. `breathe` and `throttle` (of bytes read or written) are called in the thread."""

    map_bytes: int = 128 << 20
    buffer_bytes: int = 512 << 10
    breathe: Callable[[], None] = lambda: None
    throttle: Callable[[int], None] = lambda size: None


class Result(NamedTuple):
    """What a round has done. `end`: the first offset that is still dirty."""

    end: int
    bytes_read: int
    bytes_written: int
    records_read: int
    records_kept: int


Step = Callable[[], object]


def assess(log: Log, first_dirty: int, now_ms: int) -> Due | None:
    """What can be cleaned of `log`, the checkpoint being at `first_dirty`; None where that is nothing."""
    if first_dirty < log.log_start_offset or first_dirty > log.log_end_offset:
        first_dirty = log.log_start_offset
    bound = min(log.last_stable_offset, log.active.base_offset)
    inactive = log.segments[:-1]
    lag = log.config.min_compaction_lag_ms
    if lag > 0:
        for segment in inactive:
            if _end_of(log, segment) > first_dirty and segment.largest_timestamp > now_ms - lag:
                bound = min(bound, segment.base_offset)
                break
    upper, clean_bytes, dirty_bytes = first_dirty, 0, 0
    overdue = False
    for index, segment in enumerate(inactive):
        end = log.segments[index + 1].base_offset
        if end > bound:
            break
        upper = end
        if end <= first_dirty:
            clean_bytes += segment.size
        else:
            dirty_bytes += segment.size
            overdue = overdue or _is_overdue(log, segment, now_ms)
    if not dirty_bytes:
        return None
    return Due(log, first_dirty, upper, dirty_bytes, clean_bytes + dirty_bytes, overdue)


def is_due(due: Due) -> bool:
    """Whether the dirty part is large enough, or has waited long enough."""
    return due.overdue or due.ratio > due.log.config.min_cleanable_dirty_ratio


def _is_overdue(log: Log, segment: Segment, now_ms: int) -> bool:
    lag = log.config.max_compaction_lag_ms
    return lag < FOREVER and 0 < segment.first_timestamp < now_ms - lag


def _end_of(log: Log, segment: Segment) -> int:
    index = log.segments.index(segment)
    return log.segments[index + 1].base_offset if index + 1 < len(log.segments) else log.log_end_offset


class Round:
    """One round over one log; run it with `steps`."""

    def __init__(self, due: Due, now_ms: int, limits: Limits) -> None:
        """Called by the log's owner: takes down what the thread may not look at later."""
        log = self.log = due.log
        self._due = due
        self._limits = limits
        self._generation = log.generation
        self._segments = [segment for segment in log.segments if segment.base_offset < due.upper]
        self._start = log.segments[0].base_offset
        self._ends = [*(segment.base_offset for segment in self._segments[1:]), due.upper]
        self._offsets = OffsetMap(limits.map_bytes)
        self._sealed, self._active_aborted = log.segments[:-1], log.active.txn_index.copy()
        self._cleaning = Cleaning(
            self._offsets,
            CleanedTransactions([]),
            {producer.producer_id: (producer.last_offset, producer.epoch) for producer in log.producers.by_id.values()},
            upper=due.upper,
            now_ms=now_ms,
            delete_retention_ms=log.config.delete_retention_ms,
            breathe=limits.breathe,
        )
        self._groups: list[list[Segment]] = []
        self._bytes_read = 0
        self._bytes_written = 0

    def steps(self) -> Generator[Step, None, Result]:
        """The round. Each step is to be called in a thread before the next is asked for; its errors come from it.

        Raises `Interrupted` where the log changed. The generator may be closed at any point between two steps.
        """
        yield self._prepare
        end = max(self._offsets.latest_offset + 1, self._due.first_dirty)
        for group in self._groups:
            written: list[Segment] = []
            try:
                yield partial(self._rewrite, group, written)
                self._check()
                for segment in group:
                    self._check_there(segment)
            except (Interrupted, GeneratorExit):
                self._discard(written)
                raise
            if written:
                removal.adopt_replacement(self.log, written, group)
                yield partial(removal.finish_replacement, self.log, written, group)
        cleaning = self._cleaning
        return Result(end, self._bytes_read, self._bytes_written, cleaning.records_read, cleaning.records_kept)

    def _check(self) -> None:
        log = self.log
        if log.generation != self._generation or log.deleted or log.home.error is not None:
            raise Interrupted(f"{log.topic_partition} changed while it was compacted")

    def _check_there(self, segment: Segment) -> None:
        if segment not in self.log.segments:
            raise Interrupted(f"{segment} is gone")

    # In a thread.
    @contextmanager
    def _reading(self, segment: Segment) -> Iterator[File]:
        """Its data file; `Interrupted` where retention has taken it away."""
        try:
            with segment.data.pinned() as file:
                yield file
        except FileNotFoundError:
            self._check_there(segment)
            raise

    def _prepare(self) -> None:
        aborted = self._aborted()
        self._cleaning.transactions = CleanedTransactions(overlapping(aborted, self._start, self._due.upper))
        self._note_keys(CleanedTransactions(overlapping(aborted, self._due.first_dirty, self._due.upper)))
        self._check()
        self._group()

    def _aborted(self) -> list[bytes]:
        """What the transaction indexes said when the round began."""
        copies = []
        for segment in self._sealed:
            try:
                copies.append(segment.txn_index.copy())
            except FileNotFoundError:
                self._check_there(segment)
                raise
        return [*copies, self._active_aborted]

    def _note_keys(self, transactions: CleanedTransactions) -> None:
        """Put the keys of the dirty part into the map, as far as they fit.

        Flushed first: what supersedes a record, or says that it was aborted, must not be lost after the record is gone.
        """
        self.log.flush()
        first_dirty = self._due.first_dirty
        for segment, end in zip(self._segments, self._ends, strict=True):
            if end <= first_dirty:
                continue
            with self._reading(segment) as file:
                for _, _, data in scan(file, 0, segment.size):
                    batch = RecordBatch(data)
                    if batch.last_offset < first_dirty:
                        continue
                    self._step(len(data))
                    if not fill(self._offsets, batch, first_dirty, transactions):
                        return
            self._offsets.latest_offset = max(self._offsets.latest_offset, end - 1)

    def _step(self, size: int) -> None:
        self._check()
        self._limits.breathe()
        self._limits.throttle(size)

    def _rewrite(self, group: list[Segment], written: list[Segment]) -> None:
        """Write what is left of `group` as one `.cleaned` segment, made ready to take their place, into `written`.

        A single segment of which everything is left stays as it is.
        """
        log = self.log
        self._cleaning.upper = self._ends[self._segments.index(group[-1])]
        cleaned = Segment(log.home, log.directory, group[0].base_offset, log.config, suffix=CLEANED)
        log.home.disk.open(cleaned.data.path, create=True).close()
        written.append(cleaned)
        kept = len(self._cleaning.transactions.kept)
        file = cleaned.data.pin()
        try:
            file.truncate(0)
            changed = len(group) > 1
            for segment in group:
                self._check_there(segment)  # markers in it end transactions
                changed = self._copy(segment, cleaned) or changed
                self._bytes_read += segment.size
            for aborted in self._cleaning.transactions.kept[kept:]:
                cleaned.txn_index.append(aborted)
            cleaned.seal()
        except BaseException:
            self._discard(written)
            raise
        finally:
            cleaned.data.unpin()
            cleaned.data.close()
        self._bytes_written += cleaned.size
        if not changed:
            self._discard(written)
            return
        removal.prepare_replacement(log, [cleaned])

    def _copy(self, segment: Segment, cleaned: Segment) -> bool:
        """Append what is left of `segment` to `cleaned`; whether that is anything else than all of it."""
        changed = False
        parts: list[Buffer] = []
        noted: list[tuple[int, int, int]] = []
        pending = 0
        with self._reading(segment) as file:
            for _, _, data in scan(file, 0, segment.size):
                self._step(len(data))
                batch = RecordBatch(data)
                left = self._cleaning.clean(batch)
                rewritten = not isinstance(left, memoryview)  # views are of the batch as it was
                changed = changed or rewritten
                if left is None:
                    continue
                parts.append(left)
                size = len(left)
                pending += size
                timestamp = RecordBatch(left).max_timestamp if rewritten else batch.max_timestamp
                noted.append((size, batch.last_offset, timestamp))
                if pending >= self._limits.buffer_bytes:
                    self._write(cleaned, parts, noted)
                    pending = 0
        self._write(cleaned, parts, noted)
        return changed

    def _write(self, cleaned: Segment, parts: list[Buffer], noted: list[tuple[int, int, int]]) -> None:
        if parts:
            data = b"".join(parts)
            self._limits.throttle(len(data))
            self._check()  # by now the directory may be another's
            cleaned.append_batches(data, noted)
            parts.clear()
            noted.clear()

    def _discard(self, written: list[Segment]) -> None:
        """Remove what was written for nothing; where the disk fails, the next start does."""
        log = self.log
        disk = log.home.disk
        for segment in written:
            segment.data.close()
            segment.offset_index.release()
            segment.time_index.release()
            try:
                for path in segment.paths():
                    if not log.deleted and log.home.error is None and disk.exists(path):
                        disk.remove(path)
            except OSError as error:
                if not log.deleted:
                    log.home.fail(error, f"compacting {log.topic_partition}")
        written.clear()

    def _group(self) -> None:
        """Note the segments of the round, such that each group fits into one segment."""
        end = self._offsets.latest_offset + 1
        config = self.log.config
        size = index_bytes = time_index_bytes = 0
        for segment, segment_end in zip(self._segments, self._ends, strict=True):
            if segment.base_offset >= end:
                break
            own_index, own_time_index = self._size(segment.offset_index.path), self._size(segment.time_index.path)
            size += segment.size
            index_bytes += own_index
            time_index_bytes += own_time_index
            fits = (
                self._groups
                and size <= config.segment_bytes
                and index_bytes <= config.segment_index_bytes
                and time_index_bytes <= config.segment_index_bytes
                and (not segment.size or segment_end - 1 - self._groups[-1][0].base_offset <= MAX_RELATIVE_OFFSET)
            )
            if fits:
                self._groups[-1].append(segment)
            else:
                self._groups.append([segment])
                size, index_bytes, time_index_bytes = segment.size, own_index, own_time_index

    def _size(self, path: str) -> int:
        try:
            return self.log.home.disk.size(path)
        except FileNotFoundError:
            return 0  # renamed or removed meanwhile: the round will notice
