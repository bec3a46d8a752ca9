"""The memory disk: the same files for brokers without a data directory.

Owns the bytes of every file, in chunks that are never moved or resized: a read inside one chunk is a view,
not a copy, and stays what it was after the file is truncated, removed or written on. Thousands of files are
cheap: a chunk starts small and doubles with its file, and preallocated zeros take no memory at all.

Invariants: bytes of a chunk beyond what was written are zero; a chunk that a truncation cut is replaced, not
reused. The bytes written to all files never exceed `max_bytes`: an append past it raises ENOSPC and changes
nothing.
"""

from __future__ import annotations

import errno
import threading
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from blumfeld.env.clock import Clock, SystemClock
from blumfeld.env.disk import Buffer, File, write_file_atomically
from blumfeld.env.tree import Node, TreeDisk, failure

_SMALLEST_CHUNK = 256
_LARGEST_CHUNK = 16 << 20
_MAPPED_FROM = 256 << 10  # from here on chunks are anonymous maps: pages come into being when they are written
_UNLIMITED = 1 << 62


def _new_chunk(size: int) -> memoryview:
    if size < _MAPPED_FROM:
        return memoryview(bytearray(size))
    import mmap

    if hasattr(mmap, "MAP_PRIVATE"):
        return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE))
    return memoryview(mmap.mmap(-1, size))


class MemoryNode(Node):
    """A file's bytes: chunk after chunk, zeros from `written` to `size`."""

    __slots__ = ("capacity", "chunks", "linked", "starts", "views", "written")

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[int] = []
        self.chunks: list[memoryview] = []
        self.views: list[memoryview] = []  # the same memory, read-only: what readers get
        self.capacity = 0
        self.written = 0
        self.linked = True

    def _add_chunk(self, size: int) -> None:
        chunk = _new_chunk(size)
        self.starts.append(self.capacity)
        self.chunks.append(chunk)
        self.views.append(chunk.toreadonly())
        self.capacity += size

    def write(self, position: int, data: Buffer) -> int:
        """Put `data` at `position`; returns the position after it. Room was checked by the caller."""
        size = len(data)
        end = position + size
        while end > self.capacity:
            missing = end - self.capacity
            self._add_chunk(max(missing, min(max(self.capacity, _SMALLEST_CHUNK), _LARGEST_CHUNK)))
        index = bisect_right(self.starts, position) - 1
        at = position - self.starts[index]
        chunk = self.chunks[index]
        if at + size <= len(chunk):
            chunk[at : at + size] = data
        else:
            rest = memoryview(data)
            while rest:
                room = self.chunks[index][at : at + len(rest)]
                room[:] = rest[: len(room)]
                rest = rest[len(room) :]
                index, at = index + 1, 0
        self.written = max(self.written, end)
        self.size = max(self.size, end)
        return end

    def read(self, position: int, size: int) -> Buffer:
        """A view of the bytes where they lie in one chunk, else a copy; short at the end of the file."""
        end = min(position + size, self.size)
        if position >= end:
            return b""
        if position >= self.capacity:
            return bytes(end - position)
        index = bisect_right(self.starts, position) - 1
        at = position - self.starts[index]
        view = self.views[index]
        if at + end - position <= len(view):
            return view[at : at + end - position]
        parts: list[Buffer] = []
        while position < end and index < len(self.views):
            part = self.views[index][at : at + end - position]
            parts.append(part)
            position += len(part)
            index, at = index + 1, 0
        parts.append(bytes(end - position))
        return b"".join(parts)

    def cut(self, size: int) -> None:
        """Forget the bytes from `size` on. Views that readers hold keep what they show."""
        if size < self.written:
            while self.starts and self.starts[-1] >= size:
                self.capacity = self.starts.pop()
                self.chunks.pop()
                self.views.pop()
            if self.starts and self.capacity > size:
                kept = self.views[-1][: size - self.starts[-1]]
                self.capacity = self.starts.pop()
                self.chunks.pop()
                self.views.pop()
                self._add_chunk(max(len(kept), _SMALLEST_CHUNK))
                self.chunks[-1][: len(kept)] = kept
            self.written = size
        self.size = size


class MemoryFile:
    """A handle on a memory file."""

    __slots__ = ("_disk", "_node", "path")

    def __init__(self, disk: MemoryDisk, node: MemoryNode, path: str) -> None:
        self.path = path
        self._disk = disk
        self._node = node

    @property
    def size(self) -> int:
        return self._node.size

    def append(self, parts: Buffer | Sequence[Buffer]) -> int:
        node = self._node
        position = node.size
        if isinstance(parts, bytes | bytearray | memoryview):
            self._disk.charge(node, position + len(parts), self.path)
            if parts:
                node.write(position, parts)
            return position
        end = position
        self._disk.charge(node, position + sum(map(len, parts)), self.path)
        for part in parts:
            if part:
                end = node.write(end, part)
        return position

    def write_at(self, position: int, data: Buffer) -> None:
        if data:
            self._disk.charge(self._node, position + len(data), self.path)
            self._node.write(position, data)

    def read_at(self, position: int, size: int) -> Buffer:
        return self._node.read(position, size)

    def read_cached(self, position: int, size: int) -> Buffer | None:
        return self._node.read(position, size)

    def truncate(self, size: int) -> None:
        if size < self._node.size:
            self._disk.refund(self._node, self._node.written - size)
            self._node.cut(size)

    def preallocate(self, size: int) -> None:
        self._node.size = max(self._node.size, size)

    def sync(self) -> None:
        """Memory is as durable as it gets."""

    def close(self) -> None:
        """Nothing to give back."""


class MemoryDisk(TreeDisk[MemoryNode]):
    """A file system in memory.

    `max_bytes` bounds the bytes written to all files together (None: no bound); `clock` gives modification
    times.
    """

    volatile: Final = True
    """Nothing here outlives the process, and no `sync` ever waits: callers need no thread for it."""

    def __init__(self, *, max_bytes: int | None = None, clock: Clock | None = None) -> None:
        super().__init__()
        self.max_bytes = max_bytes
        self._used = 0
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._counter = threading.Lock()

    @property
    def used_bytes(self) -> int:
        """The bytes written to all files that still have a name."""
        return self._used

    def charge(self, node: MemoryNode, end: int, path: str) -> None:
        """Account for a file growing to `end` written bytes, or raise ENOSPC."""
        node.modified_ms = self._clock.time_ms()
        growth = end - node.written
        if growth <= 0 or not node.linked:
            return
        with self._counter:
            if self.max_bytes is not None and self._used + growth > self.max_bytes:
                raise failure(errno.ENOSPC, path)
            self._used += growth

    def refund(self, node: MemoryNode, size: int) -> None:
        """Account for `size` bytes of a file that are no longer there."""
        if size > 0 and node.linked:
            with self._counter:
                self._used -= size

    def _new_node(self) -> MemoryNode:
        node = MemoryNode()
        node.modified_ms = self._clock.time_ms()
        return node

    def _dropped(self, node: MemoryNode) -> None:
        self.refund(node, node.written)
        node.linked = False

    def open(self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False) -> File:
        del read_only  # whoever asked not to write does not
        if create:
            directory, name = self._place(path)
            if name not in directory.entries:
                self._link(directory, name, self._new_node())
            elif exclusive:
                raise failure(errno.EEXIST, path)
        return MemoryFile(self, self._file(path), path)

    def sync_directory(self, path: str) -> None:
        self._directory(path)

    def read_file(self, path: str) -> bytes:
        node = self._file(path)
        return bytes(node.read(0, node.size))

    def write_file_atomically(self, path: str, data: Buffer, sync: bool = True) -> None:
        write_file_atomically(self, path, data, sync)

    def free_bytes(self, path: str) -> int:
        del path
        return _UNLIMITED if self.max_bytes is None else self.max_bytes - self._used
