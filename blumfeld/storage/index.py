"""The sparse offset index and the time index of a segment, in Kafka's formats.

Owns `.index` (8 bytes an entry: int32 last offset of a batch relative to the segment's base, int32 the batch's
position) and `.timeindex` (12 bytes: int64 largest timestamp so far, int32 relative last offset of its batch). Knows
nothing of batches. An index is never mapped (a file cut under a map kills the process) and its file is never kept
open: entries are searched as bytes, read in one go when first asked for and forgotten again within a bound; new ones
are written in groups, for after a crash the segments that were still being written are scanned anyway.

Invariants
- Offsets ascend strictly in both, positions in the one, timestamps in the other.
- While a segment is active its index files are preallocated to segment.index.bytes (rounded down to whole entries) with
  zeros; `seal()` cuts them to their entries.
- What is in the file is a prefix of the entries; the rest is in `_tail`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Self

from blumfeld.storage.errors import WouldWait

if TYPE_CHECKING:
    from blumfeld.env.disk import Buffer, Disk, File

_OFFSET_ENTRY = Struct(">ii")
_TIME_ENTRY = Struct(">qi")
_unpack_int32 = Struct(">i").unpack_from
_unpack_int64 = Struct(">q").unpack_from
_TAIL_BYTES = 4096
MAX_RELATIVE_OFFSET = 2**31 - 1


class CorruptIndex(Exception):
    """The file is missing or cannot be the index of this segment."""


class LoadedIndexes:
    """The bound on bytes of index files held in memory; the next to go is chosen by second chance."""

    def __init__(self, disk: Disk, max_bytes: int, lock: threading.Lock) -> None:
        self.disk = disk
        self.lock = lock
        self._max_bytes = max_bytes
        self._bytes = 0
        self._queue: deque[Index] = deque()

    def open(self, index: Index, *, create: bool) -> File:
        """Open an index file; by the lock, not while a thread is renaming it."""
        with self.lock:
            return self.disk.open(index.path, create=create)

    @property
    def loaded_bytes(self) -> int:
        return self._bytes

    def admit(self, index: Index, size: int) -> None:
        """Count `size` bytes in for an index that has just been loaded, dropping others where needed."""
        with self.lock:
            self._queue.append(index)
            self._bytes += size
            chances = 2 * len(self._queue)
            while self._bytes > self._max_bytes and chances > 0:
                chances -= 1
                candidate = self._queue.popleft()
                if candidate is index or candidate.recent:
                    candidate.recent = candidate is index
                    self._queue.append(candidate)
                else:
                    self._bytes -= candidate.forget()

    def grown(self, size: int) -> None:
        """A loaded index has grown (or shrunk) by `size` bytes."""
        with self.lock:
            self._bytes += size

    def discard(self, index: Index) -> None:
        """Drop what is loaded of `index`."""
        with self.lock:
            if index.loaded:
                self._queue.remove(index)
                self._bytes -= index.forget()


class Index:
    """What both indexes share: entries of one size, the file, what is loaded and what is not yet written."""

    __slots__ = (
        "_body",
        "_held",
        "_loaded",
        "_original",
        "_size",
        "_tail",
        "base_offset",
        "max_bytes",
        "path",
        "recent",
    )
    entry_size: int

    def __init__(self, loaded: LoadedIndexes, path: str, base_offset: int, max_bytes: int, *, new: bool) -> None:
        """`new`: there is no file, or it does not matter; else its entries are looked at when first needed."""
        self._loaded = loaded
        self._original: Self | None = None
        self.path = path
        self.base_offset = base_offset
        self.max_bytes = max_bytes - max_bytes % self.entry_size
        self.recent = False
        self._body: bytearray | None = None
        self._size = 0 if new else -1
        """Bytes of entries in the file; −1 while that has not been looked at."""
        self._tail = bytearray()
        self._held = False
        """Whether nothing goes to the file before `replace`."""

    @property
    def entries(self) -> int:
        """How many entries there are."""
        return (self._known_size() + len(self._tail)) // self.entry_size

    @property
    def full(self) -> bool:
        """Whether the segment has to be rolled because no entry fits any more."""
        return self._known_size() + len(self._tail) >= self.max_bytes

    @property
    def held(self) -> bool:
        """Whether it is just being built again."""
        return self._held

    @property
    def loaded(self) -> bool:
        """Whether the file's entries are in memory."""
        return self._body is not None

    def copy(self) -> Self:
        """What there is now, for a thread to search: it loads for itself, counts for nothing, and is never changed."""
        copy = type(self)(self._loaded, self.path, self.base_offset, self.max_bytes, new=False)
        copy._original = self
        copy._size, copy._tail = self._size, bytearray(self._tail)
        copy._held = self._held  # last: what was taken before it is whole
        return copy

    def load_at_once(self, max_bytes: int) -> int:
        """Have the entries in memory; how many bytes that took. `WouldWait` where the device would have to be waited
        for, or where they are more than `max_bytes`."""
        if self._body is not None:
            return 0

        def read(file: File, size: int) -> Buffer:
            data = file.read_cached(0, size) if size <= max_bytes else None
            if data is None:
                raise WouldWait
            return data

        return len(self._load(read))

    def _known_size(self) -> int:
        if self._size < 0:
            self._load()
        return self._size

    def forget(self) -> int:
        """Drop the loaded bytes (`LoadedIndexes` asks); how many they were."""
        body, self._body = self._body, None
        return 0 if body is None else len(body)

    def _content(self, at_once: int | None = None) -> bytearray:
        """The file's entries; `at_once` as `load_at_once` where they have to be loaded."""
        if self._held and self._original is not None:
            raise CorruptIndex(f"{self.path} is just being built again")
        self.recent = True
        if self._body is None and at_once is not None and self._size:
            self.load_at_once(at_once)
        body = self._body
        return body if body is not None else self._load()

    def _load(self, read: Callable[[File, int], Buffer] | None = None) -> bytearray:
        if self._size == 0:
            return bytearray()
        body = self._read(read if read is not None else _read_waiting)
        self._check(body)
        self._size = len(body)
        self._body = body
        if self._original is None:
            self._loaded.admit(self, len(body))
        return body

    def _read(self, read: Callable[[File, int], Buffer]) -> bytearray:
        """The entries in the file: what was written, or, of a file not seen before, all but preallocated zeros."""
        try:
            file = self._loaded.open(self if self._original is None else self._original, create=False)
        except FileNotFoundError as error:
            raise CorruptIndex(f"{self.path} is missing") from error
        try:
            size = file.size
            body = bytearray(read(file, size if self._size < 0 else self._size))
        finally:
            file.close()
        if self._size < 0:
            if body.endswith(bytes(self.entry_size)):
                body = body.rstrip(b"\0")
                body.extend(bytes(-len(body) % self.entry_size))  # an entry may end in zeros itself
            if len(body) % self.entry_size or len(body) > size:
                raise CorruptIndex(f"{self.path} has {size} bytes, no multiple of {self.entry_size}")
        elif len(body) < self._size:
            raise CorruptIndex(f"{self.path} has {size} bytes, {self._size} were written")
        return body

    def _check(self, body: bytearray) -> None:
        """Raise `CorruptIndex` where the ends of the file do not look like this segment's."""
        raise AssertionError("each index knows its own")

    def write(self) -> None:
        """Put all entries into the file (preallocated when it is made)."""
        if not self._tail or self._held:
            return
        size = self._known_size()
        file = self._loaded.open(self, create=True)
        try:
            if size == 0:
                file.truncate(0)
            file.preallocate(self.max_bytes)
            file.write_at(size, self._tail)
        finally:
            file.close()
        body = self._body
        if body is not None:
            body += self._tail
            self._loaded.grown(len(self._tail))
        self._size = size + len(self._tail)
        self._tail = bytearray()

    def replace(self) -> None:
        """Put all entries since `hold` into a durable file in the place of what is there."""
        with self._loaded.lock:
            self._loaded.disk.write_file_atomically(self.path, self._tail)
        self._size = len(self._tail)
        self._tail = bytearray()
        self._held = False

    def seal(self, *, sync: bool = False) -> None:
        """Write everything and cut the file to its entries; makes an empty one where there are none."""
        self.write()
        file = self._loaded.open(self, create=True)
        try:
            file.truncate(self._known_size())
            if sync:
                file.sync()
        finally:
            file.close()

    def sync(self) -> None:
        """Make what is in the file durable; from any thread. A file that is not there is built again when needed."""
        try:
            file = self._loaded.open(self, create=False)
        except FileNotFoundError:
            return
        try:
            file.sync()
        finally:
            file.close()

    def reset(self) -> None:
        """Forget all entries, in the file too once something is written."""
        self._forget_all()
        self._held = False

    def _forget_all(self) -> None:
        self._loaded.discard(self)
        self._tail = bytearray()
        self._size = 0

    def hold(self) -> None:
        """Forget all entries, and leave the file as it is until `replace`."""
        self._held = True  # first: a copy that is made meanwhile is none to go by
        self._forget_all()

    def release(self) -> None:
        """Hold nothing in memory that is in the file."""
        self._loaded.discard(self)

    def _cut(self, size: int) -> None:
        """Keep the first `size` bytes of entries."""
        written = self._known_size()
        if size >= written:
            del self._tail[size - written :]
            return
        self._tail = bytearray()
        file = self._loaded.open(self, create=True)
        try:
            file.truncate(size)  # zeros must follow the entries, not old entries
        finally:
            file.close()
        body = self._body
        if body is not None:
            del body[size:]
            self._loaded.grown(size - written)
        self._size = size


class OffsetIndex(Index):
    """Last offset of a batch → where the batch starts."""

    __slots__ = ()
    entry_size = 8

    def append(self, last_offset: int, position: int) -> None:
        """Add an entry; both ascend."""
        self._tail += _OFFSET_ENTRY.pack(last_offset - self.base_offset, position)
        if len(self._tail) >= _TAIL_BYTES:
            self.write()

    def position_for(self, offset: int, at_once: int | None = None) -> tuple[int, int]:
        """(start, end): the batch that holds `offset`, or follows it, starts at or after `start` and not after `end`.

        `end` is −1 where no later entry bounds it. `at_once`: as for `load_at_once`, if the entries have to be loaded.
        """
        relative = offset - self.base_offset
        tail = self._tail
        if tail and _unpack_int32(tail)[0] <= relative:
            entry = _floor_int32(tail, len(tail) >> 3, 0, relative)
            start = _unpack_int32(tail, (entry << 3) + 4)[0]
            following = (entry + 1) << 3
            return start, _unpack_int32(tail, following + 4)[0] if following < len(tail) else -1
        body = self._content(at_once)
        entry = _floor_int32(body, len(body) >> 3, 0, relative)
        following = (entry + 1) << 3
        if following < len(body):
            end = _unpack_int32(body, following + 4)[0]
        else:
            end = _unpack_int32(tail, 4)[0] if tail else -1
        return (_unpack_int32(body, (entry << 3) + 4)[0] if entry >= 0 else 0), end

    def boundary_before(self, position: int, at_once: int | None = None) -> int:
        """The last indexed start of a batch at or before `position`; 0 if there is none. `at_once` as above."""
        tail = self._tail
        if tail and _unpack_int32(tail, 4)[0] <= position:
            entry = _floor_int32(tail, len(tail) >> 3, 4, position)
            return int(_unpack_int32(tail, (entry << 3) + 4)[0])
        body = self._content(at_once)
        entry = _floor_int32(body, len(body) >> 3, 4, position)
        return int(_unpack_int32(body, (entry << 3) + 4)[0]) if entry >= 0 else 0

    def last_position(self) -> int:
        """Where the batch of the last entry starts; 0 without entries."""
        data = self._tail or self._content()
        return int(_unpack_int32(data, len(data) - 4)[0]) if data else 0

    def truncate(self, offset: int) -> None:
        """Drop the entries of batches that reach `offset`."""
        relative = offset - self.base_offset - 1
        body, tail = self._content(), self._tail
        kept = _floor_int32(body, len(body) >> 3, 0, relative) + 1
        kept += _floor_int32(tail, len(tail) >> 3, 0, relative) + 1
        self._cut(kept << 3)

    def all(self) -> list[tuple[int, int]]:
        """(last offset, position) of every entry, for tests and tools."""
        data = self._content() + self._tail
        return [(self.base_offset + relative, position) for relative, position in _OFFSET_ENTRY.iter_unpack(data)]

    def _check(self, body: bytearray) -> None:
        if not body:
            return
        first, last = _OFFSET_ENTRY.unpack_from(body), _OFFSET_ENTRY.unpack_from(body, len(body) - 8)
        if first[0] < 0 or first[1] < 0 or (len(body) > 8 and (last[0] <= first[0] or last[1] <= first[1])):
            raise CorruptIndex(f"{self.path} goes from {first} to {last}")


class TimeIndex(Index):
    """Largest timestamp so far → last offset of the batch that has it. One entry is kept in reserve for `seal`."""

    __slots__ = ()
    entry_size = 12

    @property
    def full(self) -> bool:
        return self._known_size() + len(self._tail) >= self.max_bytes - 12

    def append(self, timestamp: int, offset: int) -> None:
        """Add an entry unless `timestamp` is no larger than the last one."""
        if timestamp > self.last()[0]:
            self._tail += _TIME_ENTRY.pack(timestamp, offset - self.base_offset)
            if len(self._tail) >= _TAIL_BYTES:
                self.write()

    def last(self) -> tuple[int, int]:
        """(timestamp, offset) of the last entry; (−1, base offset) without entries."""
        data = self._tail
        if not data:
            if self._size == 0:
                return -1, self.base_offset
            data = self._content()
            if not data:
                return -1, self.base_offset
        timestamp, relative = _TIME_ENTRY.unpack_from(data, len(data) - 12)
        return timestamp, self.base_offset + relative

    def last_below(self, offset: int) -> tuple[int, int]:
        """As `last`, but of the entries whose offset is smaller than `offset`."""
        data = self._content() + self._tail
        kept = self._kept_below(data, offset)
        if not kept:
            return -1, self.base_offset
        timestamp, relative = _TIME_ENTRY.unpack_from(data, kept - 12)
        return timestamp, self.base_offset + relative

    def offset_before(self, timestamp: int) -> int:
        """The offset of the last entry whose timestamp is smaller than `timestamp`; the base offset without one."""
        tail = self._tail
        data = tail if tail and _unpack_int64(tail)[0] < timestamp else self._content()
        low, high = 0, len(data) // 12
        while low < high:
            middle = (low + high) >> 1
            if _unpack_int64(data, middle * 12)[0] < timestamp:
                low = middle + 1
            else:
                high = middle
        return self.base_offset + (int(_unpack_int32(data, low * 12 - 4)[0]) if low else 0)

    def truncate(self, offset: int) -> None:
        """Drop the entries of batches that reach `offset`."""
        self._cut(self._kept_below(self._content() + self._tail, offset))

    def _kept_below(self, data: bytearray, offset: int) -> int:
        relative = offset - self.base_offset
        kept = len(data)
        while kept and _unpack_int32(data, kept - 4)[0] >= relative:
            kept -= 12
        return kept

    def all(self) -> list[tuple[int, int]]:
        """(timestamp, offset) of every entry, for tests and tools."""
        data = self._content() + self._tail
        return [(timestamp, self.base_offset + relative) for timestamp, relative in _TIME_ENTRY.iter_unpack(data)]

    def _check(self, body: bytearray) -> None:
        if not body:
            return
        first, last = _TIME_ENTRY.unpack_from(body), _TIME_ENTRY.unpack_from(body, len(body) - 12)
        if first[1] < 0 or last[1] < 0 or (len(body) > 12 and (last[0] <= first[0] or last[1] < first[1])):
            raise CorruptIndex(f"{self.path} goes from {first} to {last}")


def _read_waiting(file: File, size: int) -> Buffer:
    return file.read_at(0, size)


def _floor_int32(data: bytearray, count: int, at: int, bound: int) -> int:
    """The last of `count` 8-byte entries whose int32 at byte `at` is ≤ `bound`; −1 if none."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if _unpack_int32(data, (middle << 3) + at)[0] <= bound:
            low = middle + 1
        else:
            high = middle
    return low - 1
