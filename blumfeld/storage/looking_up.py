"""Look-ups by time: the first record that is not older, and the one with the largest timestamp.

Owns which segment, which batch and which record has the answer: the largest timestamps of the segments, one look into
each index, a walk over the headers from there, and the records of one batch (none but `ListOffsets` opens records to
read). Knows nothing of high watermarks and of who asks.

What is in memory and little is answered at once. Everything else (indexes or batches that are not in the page cache,
compressed batches, long walks) is *cold*, as a read is: work for a thread, which begins again from the start.

Invariants
- On the event loop nothing waits for the device, no more than `_AT_ONCE_BYTES` of batches and `_AT_ONCE_INDEX_BYTES` of
  indexes are read, and no more than `_AT_ONCE_RECORDS` are opened at a time, none of them compressed.
- A thread sees the log as it was when it was asked: sealed segments do not change, the active one is remembered. It
  changes nothing but largest timestamps that were not known, and no log that was truncated meanwhile.
- What a truncation, a compaction, a deletion or the log's new start has overtaken is no answer:
  OFFSET_NOT_AVAILABLE.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from blumfeld.protocol.batch import CODEC_MASK, RecordBatch
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.storage.errors import WouldWait
from blumfeld.storage.index import CorruptIndex
from blumfeld.storage.log_config import FOREVER
from blumfeld.storage.results import LookUpResult, TimestampOffset
from blumfeld.storage.scan import BadBatch, HeaderFields, Readable, scan
from blumfeld.storage.validate import MAX_OPENED_RECORDS

if TYPE_CHECKING:
    from blumfeld.env.disk import Buffer, File
    from blumfeld.storage.index import Index
    from blumfeld.storage.log import Log
    from blumfeld.storage.segment import Segment

_logger = logging.getLogger(__name__)

_CHUNK_BYTES = 65_536
_AT_ONCE_BYTES = _CHUNK_BYTES
_AT_ONCE_INDEX_BYTES = 2 << 20
_AT_ONCE_RECORDS = 1_000


class _View(Protocol):
    """The segments as somebody sees them: the event loop, or a thread."""

    def max_timestamp(self, segment: Segment) -> int:
        """The largest timestamp of its records, −1 if there are none."""
        ...

    def search(self, segment: Segment, timestamp: int) -> TimestampOffset | None:
        """Its first record, at or after the log's start, that is not older than `timestamp`."""
        ...


def offset_for_timestamp(log: Log, timestamp: int) -> LookUpResult:
    """`Log.offset_for_timestamp`."""
    return _at_once(log, timestamp)


def offset_of_max_timestamp(log: Log) -> LookUpResult:
    """`Log.offset_of_max_timestamp`."""
    return _at_once(log, None)


def _at_once(log: Log, timestamp: int | None) -> LookUpResult:
    """The answer, or the work for a thread. `timestamp` None: the largest one."""
    if log.home.error is not None:
        return LookUpResult(error=ErrorCode.KAFKA_STORAGE_ERROR)
    try:
        return LookUpResult(_find(log.segments, _Loop(log), timestamp))
    except WouldWait:
        return LookUpResult(cold=_Thread(log, timestamp).run)
    except OSError as error:
        return _failed(log, error)
    except BadBatch as error:
        return _damaged(log, error)


def _find(segments: Iterable[Segment], view: _View, timestamp: int | None) -> TimestampOffset | None:
    if timestamp is not None:
        for segment in segments:
            if view.max_timestamp(segment) >= timestamp:
                found = view.search(segment, timestamp)
                if found is not None:
                    return found
        return None
    best, largest = None, -1
    for segment in segments:
        its = view.max_timestamp(segment)
        if its > largest:
            best, largest = segment, its
    return None if best is None else view.search(best, largest)


def _search(
    log: Log,
    file: Readable,
    start: int,
    end: int,
    timestamp: int,
    earliest: int,
    admit: Callable[[HeaderFields], None],
) -> TimestampOffset | None:
    """The first record at or after `earliest` that is not older, of the batches between two positions. `admit` may
    refuse to have a batch opened, by raising."""
    from blumfeld.protocol.records import read_records

    for position, header, data in scan(file, start, end, chunk_bytes=_CHUNK_BYTES):
        if header[8] < timestamp or header[0] + header[6] < earliest:
            continue
        admit(header)
        batch = RecordBatch(data)
        try:
            for record in read_records(batch, log.config.max_decompressed_bytes, MAX_OPENED_RECORDS):
                if timestamp <= record.timestamp <= FOREVER and record.offset >= earliest:
                    return TimestampOffset(record.timestamp, record.offset, batch.leader_epoch)
        except ProtocolError as error:
            _logger.error("%s: the batch at byte %d cannot be opened: %s", log.topic_partition, position, error)
    return None


def _failed(log: Log, error: OSError) -> LookUpResult:
    log.home.fail(error, f"looking up a time in {log.topic_partition}")
    return LookUpResult(error=ErrorCode.KAFKA_STORAGE_ERROR)


def _damaged(log: Log, error: BadBatch) -> LookUpResult:
    _logger.error("%s is damaged: %s", log.topic_partition, error)
    return LookUpResult(error=ErrorCode.CORRUPT_MESSAGE)


class _Loop:
    """What is at hand; `WouldWait` for everything else."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._left = _AT_ONCE_BYTES
        self._index_left = _AT_ONCE_INDEX_BYTES
        self._file: File

    def max_timestamp(self, segment: Segment) -> int:
        if segment.known_max_timestamp is None:
            self._load(segment.time_index)
        return segment.max_timestamp

    def _load(self, index: Index) -> None:
        try:
            self._index_left -= index.load_at_once(self._index_left)
        except CorruptIndex:
            raise WouldWait from None  # the thread can do without

    def search(self, segment: Segment, timestamp: int) -> TimestampOffset | None:
        earliest = self._log.log_start_offset
        self._load(segment.time_index)
        offset = max(segment.time_index.offset_before(timestamp), earliest)
        self._load(segment.offset_index)
        start, _ = segment.offset_index.position_for(offset)
        self._file = segment.data.use()
        return _search(self._log, self, start, segment.size, timestamp, earliest, _refuse_long_work)

    def read_at(self, position: int, size: int) -> Buffer:
        """As a `Readable`: what is in memory, within the bound."""
        data = self._file.read_cached(position, size) if size <= self._left else None
        if data is None:
            raise WouldWait
        self._left -= size
        return data


def _refuse_long_work(header: HeaderFields) -> None:
    if header[5] & CODEC_MASK or header[12] > _AT_ONCE_RECORDS:
        raise WouldWait


def _take_any(header: HeaderFields) -> None:
    """A thread has the time."""


class _Snapshot:
    """A segment as it was."""

    __slots__ = ("max_timestamp", "offset_index", "size", "time_index")

    def __init__(self, segment: Segment) -> None:
        self.size = segment.size
        self.max_timestamp = segment.known_max_timestamp
        self.time_index = segment.time_index.copy()
        self.offset_index = segment.offset_index.copy()


class _Thread:
    """The whole look-up as work for a thread; made on the event loop."""

    def __init__(self, log: Log, timestamp: int | None) -> None:
        self._log = log
        self._timestamp = timestamp
        self._segments = list(log.segments)
        self._active = _Snapshot(log.active)
        self._earliest, self._end = log.log_start_offset, log.log_end_offset
        self._generation = log.generation

    def run(self) -> LookUpResult:
        """The answer; for the thread."""
        log = self._log
        try:
            found = _find(self._segments, self, self._timestamp)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError) and self._is_overtaken()
            return _again() if gone else _failed(log, error)
        except BadBatch as error:
            return _again() if self._is_overtaken() else _damaged(log, error)
        if self._is_overtaken() or (found is not None and found.offset < log.log_start_offset):
            return _again()
        return LookUpResult(found)

    def _is_overtaken(self) -> bool:
        """Whether what was read may be a mixture: the file of a segment that has left the log may be another's."""
        log = self._log
        return log.generation != self._generation or log.deleted or not set(self._segments) <= set(log.segments)

    def _snapshot(self, segment: Segment) -> _Snapshot:
        return self._active if segment is self._segments[-1] else _Snapshot(segment)

    def max_timestamp(self, segment: Segment) -> int:
        snapshot = self._snapshot(segment)
        if snapshot.max_timestamp is not None:
            return snapshot.max_timestamp
        try:
            timestamp, offset = snapshot.time_index.last_below(self._end)  # what was appended since may be there too
        except CorruptIndex:
            timestamp, offset = -1, segment.base_offset
            with segment.data.pinned() as file:
                for _, header, _ in scan(file, 0, snapshot.size):
                    if header[8] > timestamp:
                        timestamp, offset = header[8], header[0] + header[6]
        if segment is self._segments[-1]:
            snapshot.max_timestamp = timestamp
        else:
            self._tell(segment, timestamp, offset)
        return timestamp

    def _tell(self, segment: Segment, timestamp: int, offset: int) -> None:
        """The next one need not look for it."""
        with self._log.home.lock:  # no truncation begins meanwhile
            is_wanted = segment.known_max_timestamp is None and not segment.time_index.held
            if is_wanted and self._log.generation == self._generation:
                segment.set_max_timestamp(timestamp, offset)

    def search(self, segment: Segment, timestamp: int) -> TimestampOffset | None:
        snapshot = self._snapshot(segment)
        earliest = self._earliest
        try:
            offset = max(snapshot.time_index.offset_before(timestamp), earliest)
            start, _ = snapshot.offset_index.position_for(offset)
        except CorruptIndex as error:
            _logger.warning("%s: all of it is searched for a time: %s", segment.data.path, error)
            start = 0
        with segment.data.pinned() as file:
            return _search(self._log, file, start, snapshot.size, timestamp, earliest, _take_any)


def _again() -> LookUpResult:
    return LookUpResult(error=ErrorCode.OFFSET_NOT_AVAILABLE)
