"""Reads: slices of whole batches, aborted ranges.

Owns how an offset becomes a position and a read becomes one slice of a file: an index look-up (or the position where a
reader stopped last), one read, and a walk over the few headers between an index entry and the cut. Never opens records.

Invariant: what is returned are whole batches, byte for byte those of the file, the first of which ends at or after the
offset asked for, and none of which reaches `upper`.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from blumfeld.protocol.batch import HEADER_SIZE, PREFIX_SIZE
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.errors import WouldWait
from blumfeld.storage.index import CorruptIndex, OffsetIndex
from blumfeld.storage.results import AbortedTransaction, Buffer, ReadResult
from blumfeld.storage.scan import BadBatch
from blumfeld.storage.segment import Segment

if TYPE_CHECKING:
    from blumfeld.storage.log import Log

_logger = logging.getLogger(__name__)

_MAX_HINTS = 16
_SLACK_BYTES = 8192
_INDEX_BYTES_AT_ONCE = 10 << 20
"""Indexes up to that size are loaded on the event loop, where they are in the page cache."""
_base_and_length = Struct(">qi").unpack_from
_int32 = Struct(">i").unpack_from
_int64 = Struct(">q").unpack_from
_LAST_OFFSET_DELTA_AT = 23
_Read = Callable[[int, int], "Buffer | None"]


def read(log: Log, offset: int, max_bytes: int, upper: int | None, at_least_one: bool) -> ReadResult:
    """`Log.read`."""
    end = log.log_end_offset
    if upper is None or upper > end:
        upper = end
    if log.home.error is not None:
        return ReadResult(next_offset=offset, error=ErrorCode.KAFKA_STORAGE_ERROR)
    if offset >= upper:
        too_far = offset > end
        return ReadResult(next_offset=offset, error=ErrorCode.OFFSET_OUT_OF_RANGE if too_far else ErrorCode.NONE)
    if offset < log.log_start_offset:
        return ReadResult(next_offset=offset, error=ErrorCode.OFFSET_OUT_OF_RANGE)
    segments = log.segments
    index = len(segments) - 1
    hint = log.hints.get(offset)
    if hint is not None:
        segment, start = hint
        if segments[index] is not segment:
            index = segments.index(segment)
    else:
        if segments[index].base_offset > offset:
            index = _index_of(segments, offset)
        segment, start = segments[index], -1
    while True:
        request = _Request(log, index, start, offset, max_bytes, upper, at_least_one)
        data = segment.data
        data.recent = True
        try:
            file = data.file if data.file is not None else data.use()
            result = request.run(file.read_cached)
        except WouldWait:
            return _cold(log, request)
        except OSError as error:
            return _failed(log, offset, error)
        except BadBatch as error:
            return _damaged(request, error)
        index += 1
        if result is not None:
            return result
        if index == len(segments) or segments[index].base_offset >= upper:
            return ReadResult(next_offset=offset)
        segment, start = segments[index], 0  # compaction left a gap at the end of the segment


def _cold(log: Log, request: _Request) -> ReadResult:
    """The read as work for a thread; nothing is held until it begins.

    The reader is to ask again where the log was cut, or the segment has left it: its file's name may be another's now.
    """
    segment = request.segment
    request.copy = segment.offset_index.copy()
    generation = log.generation
    again = ReadResult(next_offset=request.offset)

    def is_overtaken() -> bool:
        return generation != log.generation or log.deleted or segment not in log.segments

    def in_thread() -> ReadResult:
        try:
            with segment.data.pinned() as file:
                result = request.run(file.read_at)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError) and is_overtaken()
            return again if gone else _failed(log, request.offset, error)
        except BadBatch as error:
            return again if is_overtaken() else _damaged(request, error)
        if is_overtaken():
            return again
        if result is None:
            if request.following is not None:  # a gap: the next attempt looks in the next segment
                request.hints[request.offset] = (request.following, 0)
            return again
        return result

    return ReadResult(next_offset=request.offset, cold=in_thread)


def _failed(log: Log, offset: int, error: OSError) -> ReadResult:
    log.home.fail(error, f"reading {log.topic_partition}")
    return ReadResult(next_offset=offset, error=ErrorCode.KAFKA_STORAGE_ERROR)


def _damaged(request: _Request, error: BadBatch) -> ReadResult:
    _logger.error("%s is damaged: %s", request.segment.data.path, error)
    return ReadResult(next_offset=request.offset, error=ErrorCode.CORRUPT_MESSAGE)


def _index_of(segments: list[Segment], offset: int) -> int:
    """Which segment holds `offset`; the first one where it is below all."""
    return max(bisect_right(segments, offset, key=_base_offset) - 1, 0)


def _base_offset(segment: Segment) -> int:
    return segment.base_offset


class _Request:
    """One read in one segment, planned: it may be run again, in a thread, where the first attempt would have waited."""

    __slots__ = (
        "at_least_one",
        "copy",
        "end_offset",
        "file_end",
        "following",
        "hints",
        "max_bytes",
        "offset",
        "segment",
        "start",
        "upper",
    )

    def __init__(
        self, log: Log, index: int, start: int, offset: int, max_bytes: int, upper: int, at_least_one: bool
    ) -> None:
        """`start`: where the batch with `offset` is, if known, else −1."""
        segments = log.segments
        self.hints = log.hints
        self.segment = segment = segments[index]
        self.file_end = segment.size
        self.following = segments[index + 1] if index + 1 < len(segments) else None
        self.end_offset = log.log_end_offset if self.following is None else self.following.base_offset
        self.start = start
        self.offset = offset
        self.max_bytes = max_bytes
        self.upper = upper
        self.at_least_one = at_least_one
        self.copy: OffsetIndex | None = None
        """Of the segment's index, for a thread."""

    def run(self, read: _Read) -> ReadResult | None:
        """Read through `read`; None where the segment has nothing at or after the offset."""
        if max(self.start, 0) >= self.file_end:
            return None
        start, first, data = self._find(read)
        if first < 0:
            return None
        # `data` holds the file from `start` on, and the batch asked for is at `first` in it.
        if len(data) - first < HEADER_SIZE:
            raise BadBatch(start + first, f"{len(data) - first} bytes are too few for a batch")
        base, length = _base_and_length(data, first)
        last = base + _int32(data, first + _LAST_OFFSET_DELTA_AT)[0]
        size = length + PREFIX_SIZE
        if last >= self.upper or (size > self.max_bytes and not self.at_least_one):
            return ReadResult(next_offset=self.offset)
        if first + size > len(data):
            start, first = start + first, 0
            data = _bytes(read, start, size)
            if len(data) < size:
                raise BadBatch(start, f"a batch of {size} bytes, of which {len(data)} are there")
        if size >= self.max_bytes:
            return self._result(data, first, first + size, last + 1, start)
        end, next_offset = self._cut(start, first, data)
        return self._result(data, first, end, next_offset, start)

    def _result(self, data: Buffer, first: int, end: int, next_offset: int, start: int) -> ReadResult:
        hints = self.hints
        if len(hints) >= _MAX_HINTS:
            hints.clear()
        if start + end < self.file_end:
            hints[next_offset] = (self.segment, start + end)
        elif self.following is not None:
            hints[next_offset] = (self.following, 0)
        else:
            hints[next_offset] = (self.segment, start + end)
        return ReadResult(data if first == 0 and end == len(data) else memoryview(data)[first:end], next_offset)

    def _find(self, read: _Read) -> tuple[int, int, Buffer]:
        """(position of the data read, where in it the batch with the offset is or −1, the data)."""
        offset, file_end = self.offset, self.file_end
        wanted = min(self.max_bytes, file_end)
        start = self.start
        if start >= 0:
            size = min(wanted + HEADER_SIZE, file_end - start)
            return start, 0, _bytes(read, start, size)
        start, bound = self._start()
        bound = bound if bound >= 0 else start + _SLACK_BYTES
        data = _bytes(read, start, min(bound + wanted + HEADER_SIZE, file_end) - start)
        at = 0
        while True:
            if at + HEADER_SIZE > len(data):
                if start + at >= file_end:
                    return start, -1, data
                start, at = start + at, 0
                data = _bytes(read, start, min(wanted + _SLACK_BYTES, file_end - start))
                if len(data) < HEADER_SIZE:
                    raise BadBatch(start, f"{len(data)} bytes are too few for a batch")
            base, length = _base_and_length(data, at)
            if base + _int32(data, at + _LAST_OFFSET_DELTA_AT)[0] >= offset:
                return start, at, data
            if length <= 0:
                raise BadBatch(start + at, f"a batch of length {length}")
            at += length + PREFIX_SIZE

    def _start(self) -> tuple[int, int]:
        """`OffsetIndex.position_for` of the offset."""
        if self.copy is None:
            return self.segment.start_position(self.offset, _INDEX_BYTES_AT_ONCE)
        try:
            return self.copy.position_for(self.offset)
        except CorruptIndex as error:  # built again by the log's owner when it next needs it
            _logger.warning("%s: all of it is walked over: %s", self.segment.data.path, error)
            return 0, -1

    def _cut(self, start: int, first: int, data: Buffer) -> tuple[int, int]:
        """(end of the whole batches within the limits, the offset after them); at least one batch is within."""
        limit = min(len(data), first + self.max_bytes)
        all_of_file = start + limit >= self.file_end
        if all_of_file and self.end_offset <= self.upper:
            return limit, self.end_offset
        upper, copy = self.upper, self.copy
        index, at_once = (copy, None) if copy is not None else (self.segment.offset_index, _INDEX_BYTES_AT_ONCE)
        at, next_offset = first, -1
        try:  # batches start where both entries say, and the last one wanted does not start before the lower of them
            starts = [] if all_of_file else [index.boundary_before(start + limit - 1, at_once)]
            if self.end_offset > upper:
                starts.append(index.position_for(upper, at_once)[0])
            at = max(first, min(starts) - start)
        except CorruptIndex as error:
            _logger.warning("%s: all of a read is walked over: %s", self.segment.data.path, error)
        while at + HEADER_SIZE <= limit:
            base, length = _base_and_length(data, at)
            last = base + _int32(data, at + _LAST_OFFSET_DELTA_AT)[0]
            following = at + length + PREFIX_SIZE
            if last >= upper or following > limit or length <= 0:
                break
            at, next_offset = following, last + 1
        if next_offset < 0:  # it began at the cut: what follows there begins at the offset to go on with
            next_offset = _int64(data, at)[0]
        return at, next_offset


def _bytes(read: _Read, position: int, size: int) -> Buffer:
    data = read(position, size)
    if data is None:
        raise WouldWait
    return data


def aborted_transactions(log: Log, start: int, end: int) -> list[AbortedTransaction]:
    """`Log.aborted_transactions`."""
    found: list[AbortedTransaction] = []
    for segment in log.segments[_index_of(log.segments, start) :]:
        if segment.txn_index.exists and segment.txn_index.collect(start, end, found):
            break
    return found
