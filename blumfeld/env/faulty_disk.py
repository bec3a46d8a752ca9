"""The faulty disk: a seeded model of a page cache, a machine that loses power, and a device that fails.

Owns, for every file, what is durable and the changes made since its last `sync()`; for the tree, the changes
of names since their directory's last `sync_directory()`. `crash()` decides by the seed which of them survive:

- contents: each sector of 512 bytes is what it was at some moment since the last sync, independently of the
  others; a write may be torn between sectors, a later one may survive an earlier one;
- size: what it was at some moment since the last sync; sectors within it that were never written back read as
  zeros;
- a truncation is one step: what it cut does not come back beside what was written after it;
- names: creations, removals and renames may be undone, in an order that keeps changes of one name in
  sequence; a rename happens wholly or not at all. Half of the seeds order all changes as a journal does, half
  do not.

`kill()` is the end of the process alone: everything written stays. Both make every handle and lock stale.
ENOSPC, EIO and silence ("yes, synced") can be injected into any call. Open handles are counted, so that a
test can look for leaks.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

from blumfeld.env.clock import Clock, ManualClock
from blumfeld.env.disk import Buffer, File, Lock, write_file_atomically
from blumfeld.env.tree import Directory, Node, TreeDisk, failure

SECTOR = 512
_UNLIMITED = 1 << 62

_Write = tuple[int, bytes | None]
"""(position, bytes) of a write, or (size, None) of a truncation (to less) or a preallocation (to more)."""


class FaultyNode(Node):
    """A file: what readers see, what is durable, and the changes between the two."""

    __slots__ = ("content", "durable", "durable_size", "pending")

    def __init__(self) -> None:
        super().__init__()
        self.content = bytearray()  # may be shorter than `size`: the rest are zeros
        self.durable = bytearray()
        self.durable_size = 0
        self.pending: list[_Write] = []

    def write(self, position: int, data: bytes) -> None:
        _put(self.content, position, data)
        self.size = max(self.size, position + len(data))
        self.pending.append((position, data))

    def resize(self, size: int) -> None:
        del self.content[size:]
        self.size = size
        self.pending.append((size, None))

    def sync(self) -> None:
        for position, data in self.pending:
            if data is None:
                del self.durable[position:]
            else:
                _put(self.durable, position, data)
        self.durable_size = self.size
        self.pending.clear()

    def settle(self, random: Random) -> None:
        """Become what the device holds after the power came back."""
        if self.pending:
            count = len(self.pending)
            mode = random.randrange(4)
            if mode == 0:
                self.pending.clear()
            elif mode == 1:
                self.sync()
            elif mode == 2:
                self._survive(random, random.randrange(count + 1), ordered=True)
            else:
                self._survive(random, random.randrange(count + 1), ordered=False)
            self.pending.clear()
        self.content = bytearray(self.durable)
        self.size = self.durable_size

    def _survive(self, random: Random, until: int, *, ordered: bool) -> None:
        """Apply the first `until` changes; unless `ordered`, every sector stops at a moment of its own."""
        pending, size = self.pending, self.durable_size
        for position, data in pending[:until]:
            size = position if data is None else max(size, position + len(data))
        last = until if ordered else _next_cut(pending, until, self.durable_size)
        moments: dict[int, int] = {}
        for index in range(last):
            position, data = pending[index]
            if data is None:
                del self.durable[position:]
            elif ordered and index < until - 1:
                _put(self.durable, position, data)
            else:
                self._write_sectors(random, index, position, data, moments, until if ordered else None)
        del self.durable[size:]
        self.durable_size = size

    def _write_sectors(
        self,
        random: Random,
        index: int,
        position: int,
        data: bytes,
        moments: dict[int, int],
        until: int | None,
    ) -> None:
        """Write those sectors of one write that had reached the device; in order, only the last is torn."""
        start = position
        end = position + len(data)
        while start < end:
            sector = start // SECTOR
            stop = min((sector + 1) * SECTOR, end)
            moment = moments.get(sector)
            if moment is None:
                moment = moments[sector] = random.randrange(len(self.pending) + 1 if until is None else 2 * until)
            if index < moment:
                _put(self.durable, start, data[start - position : stop - position])
            start = stop


def _put(content: bytearray, position: int, data: bytes) -> None:
    if position > len(content):
        content.extend(bytes(position - len(content)))
    content[position : position + len(data)] = data


def _next_cut(pending: list[_Write], start: int, size: int) -> int:
    """The index of the first truncation at or after `start`: no later change can survive without it."""
    for index, (position, data) in enumerate(pending):
        if data is None:
            if position < size and index >= start:
                return index
            size = position
        else:
            size = max(size, position + len(data))
    return len(pending)


class FaultyDirectory(Directory[FaultyNode]):
    """A directory: the names that are seen, and those that are durable."""

    __slots__ = ("durable",)

    def __init__(self) -> None:
        super().__init__()
        self.durable: dict[str, Directory[FaultyNode] | FaultyNode] = {}


_Name = tuple[Directory[FaultyNode], str]


class _Change:
    """One change of the tree: `node` came to `target`, and left `source`; either may be None."""

    __slots__ = ("node", "source", "target")

    def __init__(self, node: Directory[FaultyNode] | FaultyNode, source: _Name | None, target: _Name | None):
        self.node = node
        self.source = source
        self.target = target

    def names(self) -> list[_Name]:
        return [name for name in (self.source, self.target) if name is not None]

    def apply(self) -> None:
        if self.source is not None:
            _durable(self.source[0]).pop(self.source[1], None)
        if self.target is not None:
            _durable(self.target[0])[self.target[1]] = self.node


def _durable(directory: Directory[FaultyNode]) -> dict[str, Directory[FaultyNode] | FaultyNode]:
    assert isinstance(directory, FaultyDirectory)
    return directory.durable


class Fault:
    """One rule: calls of `operation` on a path that contains `path` fail with `code` (None: silently do
    nothing).

    The first `after` matching calls pass, the next `times` ones fail (None: all of them). `hits` counts
    failures.
    """

    __slots__ = ("after", "code", "hits", "operation", "path", "times")

    def __init__(self, code: int | None, operation: str | None, path: str, after: int, times: int | None) -> None:
        self.code = code
        self.operation = operation
        self.path = path
        self.after = after
        self.times = times
        self.hits = 0

    def strikes(self, operation: str, path: str) -> bool:
        if (self.operation is not None and self.operation != operation) or self.path not in path:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


class PowerCut(BaseException):
    """The power went, in the middle of a call; every further call raises it too, until `crash()`.

    Not an `Exception`: nothing that handles errors shall take it for one.
    """


class FaultyFile:
    """A handle on a faulty file. After a crash it is stale: every use but `close` raises EBADF."""

    __slots__ = ("_disk", "_node", "_open", "path")

    def __init__(self, disk: FaultyDisk, node: FaultyNode, path: str) -> None:
        self.path = path
        self._disk = disk
        self._node = node
        self._open = True

    def _check(self, operation: str) -> bool:
        """Raise what was injected; False where the call shall silently do nothing."""
        if self not in self._disk.handles:
            raise failure(errno.EBADF, self.path)
        return self._disk.check(operation, self.path)

    @property
    def size(self) -> int:
        return self._node.size

    def append(self, parts: Buffer | Sequence[Buffer]) -> int:
        position = self._node.size
        if self._check("append"):
            data = bytes(parts) if isinstance(parts, bytes | bytearray | memoryview) else b"".join(parts)
            self._disk.charge(len(data), self.path)
            self._disk.touch(self._node)
            self._node.write(position, data)
        return position

    def write_at(self, position: int, data: Buffer) -> None:
        if self._check("write_at"):
            self._disk.touch(self._node)
            self._node.write(position, bytes(data))

    def read_at(self, position: int, size: int) -> Buffer:
        self._check("read_at")
        end = min(position + size, self._node.size)
        data = bytes(self._node.content[position:end])
        return data + bytes(max(0, end - position) - len(data))

    def read_cached(self, position: int, size: int) -> Buffer | None:
        self._check("read_cached")
        return None if self._disk.is_cold() else self.read_at(position, size)

    def truncate(self, size: int) -> None:
        if self._check("truncate") and size < self._node.size:
            self._disk.touch(self._node)
            self._node.resize(size)

    def preallocate(self, size: int) -> None:
        if self._check("preallocate") and size > self._node.size:
            self._disk.touch(self._node)
            self._node.resize(size)

    def sync(self) -> None:
        if self._check("sync"):
            self._node.sync()

    def close(self) -> None:
        self._disk.handles.discard(self)


class FaultyDisk(TreeDisk[FaultyNode]):
    """A file system that forgets what was not flushed and fails on command; the same seed fails the same way.

    `cold` is the chance that `read_cached` would have to wait; `clock` gives modification times.
    """

    def __init__(self, seed: int, *, cold: float = 0.0, clock: Clock | None = None) -> None:
        super().__init__()
        self._root = FaultyDirectory()
        self._random = Random(seed)  # noqa: S311 - repeatable on purpose
        self._journalled = self._random.random() < 0.5
        self._clock: Clock = clock if clock is not None else ManualClock()
        self._cold = cold
        self._faults: list[Fault] = []
        self._changes: list[_Change] = []
        self._dirty: dict[FaultyNode, None] = {}  # in the order of their first change, so that a seed replays
        self.handles: set[FaultyFile] = set()
        self.max_free_bytes = _UNLIMITED
        self.calls = 0
        """How many calls there were that could fail."""
        self._power_until: int | None = None

    # What tests do to it.
    def open_handles(self) -> list[str]:
        """The paths of the files that are open."""
        return sorted(handle.path for handle in self.handles)

    def inject(
        self,
        code: int | None,
        operation: str | None = None,
        path: str = "",
        *,
        after: int = 0,
        times: int | None = 1,
    ) -> Fault:
        """Let calls fail with errno `code`; None makes them silently do nothing, as a forgotten fsync would.

        `operation` is a method's name of `File` or `Disk` (None: any); `path` a part of the path. Reads
        cannot be silenced. `recover` takes the rule back.
        """
        fault = Fault(code, operation, path, after, times)
        self._faults.append(fault)
        return fault

    def recover(self, fault: Fault | None = None) -> None:
        """Take one injected fault back, or all."""
        if fault is None:
            self._faults.clear()
        elif fault in self._faults:
            self._faults.remove(fault)

    def cut_power_after(self, calls: int) -> None:
        """Raise `PowerCut` instead of the call after the next `calls` ones, and from then on."""
        self._power_until = self.calls + calls

    @contextmanager
    def calm(self) -> Iterator[None]:
        """Nothing fails meanwhile: for looking at what there is."""
        faults, power = self._faults, self._power_until
        self._faults, self._power_until = [], None
        try:
            yield
        finally:
            self._faults = faults
            self._power_until = None if power is None else max(power, self.calls)

    def kill(self) -> None:
        """The process ends: handles and locks are gone, everything written stays."""
        self.handles.clear()
        self._locks.clear()

    def crash(self) -> None:
        """The machine loses power: of what was not flushed, the seed decides what survives."""
        self.kill()
        self._power_until = None
        for node in self._dirty:
            node.settle(self._random)
        self._dirty.clear()
        self._settle_names()
        self._restore(self._root)

    # What handles ask.
    def check(self, operation: str, path: str) -> bool:
        """Raise what was injected for this call; False where it shall silently do nothing."""
        self.calls += 1
        if self._power_until is not None and self.calls > self._power_until:
            raise PowerCut
        for fault in self._faults:
            if fault.strikes(operation, path):
                if fault.code is None:
                    return False
                raise failure(fault.code, path)
        return True

    def touch(self, node: FaultyNode) -> None:
        """A file is about to change."""
        node.modified_ms = self._clock.time_ms()
        self._dirty[node] = None

    def charge(self, size: int, path: str) -> None:
        """Take room for `size` bytes, or raise ENOSPC."""
        if size > self.max_free_bytes:
            raise failure(errno.ENOSPC, path)
        if self.max_free_bytes != _UNLIMITED:
            self.max_free_bytes -= size

    def is_cold(self) -> bool:
        """Whether the next cached read would have to wait."""
        return self._cold > 0 and self._random.random() < self._cold

    # Names, journalled.
    def _new_node(self) -> FaultyNode:
        node = FaultyNode()
        node.modified_ms = self._clock.time_ms()
        return node

    def _new_directory(self) -> Directory[FaultyNode]:
        return FaultyDirectory()

    def _link(self, directory: Directory[FaultyNode], name: str, node: Directory[FaultyNode] | FaultyNode) -> None:
        super()._link(directory, name, node)
        self._changes.append(_Change(node, None, (directory, name)))

    def _unlink(self, directory: Directory[FaultyNode], name: str) -> None:
        node = directory.entries[name]
        super()._unlink(directory, name)
        self._changes.append(_Change(node, (directory, name), None))

    def _move(self, source: Directory[FaultyNode], name: str, target: Directory[FaultyNode], new_name: str) -> None:
        node = source.entries[name]
        super()._move(source, name, target, new_name)
        self._changes.append(_Change(node, (source, name), (target, new_name)))

    def _settle_names(self) -> None:
        changes, self._changes = self._changes, []
        mode = self._random.randrange(3)
        if mode == 0:
            return
        if mode == 1 or self._journalled:
            kept = len(changes) if mode == 1 else self._random.randrange(len(changes) + 1)
            for change in changes[:kept]:
                change.apply()
            return
        undone: set[_Name] = set()
        for change in changes:  # a change of a name survives only if the earlier ones of that name did
            names = change.names()
            if self._random.random() < 0.5 or any(name in undone for name in names):
                undone.update(names)
            else:
                change.apply()

    def _restore(self, directory: Directory[FaultyNode]) -> None:
        directory.entries = dict(_durable(directory))
        for node in directory.entries.values():
            if isinstance(node, Directory):
                self._restore(node)

    def sync_directory(self, path: str) -> None:
        directory = self._directory(path)
        if not self.check("sync_directory", path):
            return
        wanted: set[_Name] = set()
        kept: list[_Change] = []
        flushed: list[_Change] = []
        for change in reversed(self._changes):  # with each change go the earlier ones of the names it touches
            names = change.names()
            if any(name[0] is directory or name in wanted for name in names):
                wanted.update(names)
                flushed.append(change)
            else:
                kept.append(change)
        for change in reversed(flushed):
            change.apply()
        self._changes = kept[::-1]

    # The rest of `Disk`: each call may fail.
    def open(self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False) -> File:
        del read_only
        self.check("open", path)
        if create:
            directory, name = self._place(path)
            if name not in directory.entries:
                self._link(directory, name, self._new_node())
            elif exclusive:
                raise failure(errno.EEXIST, path)
        handle = FaultyFile(self, self._file(path), path)
        self.handles.add(handle)
        return handle

    def list(self, path: str) -> list[str]:
        self.check("list", path)
        return super().list(path)

    def make_directories(self, path: str) -> None:
        if self.check("make_directories", path):
            super().make_directories(path)

    def remove(self, path: str) -> None:
        if self.check("remove", path):
            super().remove(path)

    def remove_tree(self, path: str) -> None:
        if self.check("remove_tree", path):
            super().remove_tree(path)

    def rename(self, source: str, target: str) -> None:
        if self.check("rename", source):
            super().rename(source, target)

    def lock(self, path: str) -> Lock:
        self.check("lock", path)
        return super().lock(path)

    def read_file(self, path: str) -> bytes:
        self.check("read_file", path)
        node = self._file(path)
        return bytes(node.content) + bytes(node.size - len(node.content))

    def write_file_atomically(self, path: str, data: Buffer, sync: bool = True) -> None:
        write_file_atomically(self, path, data, sync)

    def free_bytes(self, path: str) -> int:
        del path
        return self.max_free_bytes
