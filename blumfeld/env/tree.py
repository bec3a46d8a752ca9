"""A tree of names in memory: what the memory disk and the faulty disk have in common.

Owns directories and the meaning of make, remove, rename and list, with the errors that a POSIX file system
gives. Knows nothing of contents: a file is a `Node` with a size. Every change of a name goes through `_link`,
`_unlink` or `_move`, so that a subclass can keep a journal of them.
"""

from __future__ import annotations

import errno
import os
from typing import Generic, TypeVar

from blumfeld.env.disk import DiskBusy, Lock


class Node:
    """A file's inode: what stays while names come and go."""

    __slots__ = ("modified_ms", "size")

    def __init__(self) -> None:
        self.size = 0
        self.modified_ms = 0


N = TypeVar("N", bound=Node)


class Directory(Generic[N]):
    """Names and what they stand for."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[str, Directory[N] | N] = {}


def failure(code: int, path: str) -> OSError:
    """The OSError (of the fitting subclass) that a real file system raises."""
    return OSError(code, os.strerror(code), path)


class TreeLock:
    """A lock within one in-memory disk."""

    __slots__ = ("_holders", "_path")

    def __init__(self, holders: set[str], path: str) -> None:
        self._holders = holders
        self._path = path

    def release(self) -> None:
        self._holders.discard(self._path)


class TreeDisk(Generic[N]):
    """Names in memory. Subclasses add files' contents."""

    def __init__(self) -> None:
        self._root: Directory[N] = Directory()
        self._locks: set[str] = set()

    # What a subclass may override to keep a journal.
    def _link(self, directory: Directory[N], name: str, node: Directory[N] | N) -> None:
        directory.entries[name] = node

    def _unlink(self, directory: Directory[N], name: str) -> None:
        del directory.entries[name]

    def _move(self, source: Directory[N], name: str, target: Directory[N], new_name: str) -> None:
        target.entries[new_name] = source.entries.pop(name)

    def _dropped(self, node: N) -> None:
        """Called when a file has lost its name."""

    def _new_node(self) -> N:
        """An empty file."""
        raise AssertionError("a subclass makes its own kind of file")

    def _new_directory(self) -> Directory[N]:
        """An empty directory."""
        return Directory()

    # Looking up.
    def _find(self, path: str) -> Directory[N] | N | None:
        node: Directory[N] | N = self._root
        for part in path.split("/"):
            if part in ("", "."):
                continue
            if not isinstance(node, Directory):
                return None
            below = node.entries.get(part)
            if below is None:
                return None
            node = below
        return node

    def _directory(self, path: str) -> Directory[N]:
        node = self._find(path)
        if node is None:
            raise failure(errno.ENOENT, path)
        if not isinstance(node, Directory):
            raise failure(errno.ENOTDIR, path)
        return node

    def _file(self, path: str) -> N:
        node = self._find(path)
        if node is None:
            raise failure(errno.ENOENT, path)
        if isinstance(node, Directory):
            raise failure(errno.EISDIR, path)
        return node

    def _place(self, path: str) -> tuple[Directory[N], str]:
        head, _, name = path.rstrip("/").rpartition("/")
        return self._directory(head), name

    # The part of `Disk` that is about names.
    def exists(self, path: str) -> bool:
        return self._find(path) is not None

    def is_directory(self, path: str) -> bool:
        return isinstance(self._find(path), Directory)

    def size(self, path: str) -> int:
        return self._file(path).size

    def modified_ms(self, path: str) -> int:
        return self._file(path).modified_ms

    def list(self, path: str) -> list[str]:
        return sorted(self._directory(path).entries)

    def make_directories(self, path: str) -> None:
        directory = self._root
        for part in path.split("/"):
            if part in ("", "."):
                continue
            below = directory.entries.get(part)
            if below is None:
                below = self._new_directory()
                self._link(directory, part, below)
            elif not isinstance(below, Directory):
                raise failure(errno.EEXIST, path)
            directory = below

    def remove(self, path: str) -> None:
        node = self._file(path)
        self._unlink(*self._place(path))
        self._dropped(node)

    def remove_tree(self, path: str) -> None:
        node = self._find(path)
        if node is None:
            return
        if not isinstance(node, Directory):
            raise failure(errno.ENOTDIR, path)
        for name, below in list(node.entries.items()):
            if isinstance(below, Directory):
                self.remove_tree(f"{path}/{name}")
            else:
                self._unlink(node, name)
                self._dropped(below)
        if node is not self._root:
            self._unlink(*self._place(path))

    def rename(self, source: str, target: str) -> None:
        node = self._find(source)
        if node is None:
            raise failure(errno.ENOENT, source)
        source_directory, source_name = self._place(source)
        target_directory, target_name = self._place(target)
        replaced = target_directory.entries.get(target_name)
        if replaced is node:
            return
        if isinstance(replaced, Directory):
            if not isinstance(node, Directory):
                raise failure(errno.EISDIR, target)
            if replaced.entries:
                raise failure(errno.ENOTEMPTY, target)
        elif replaced is not None and isinstance(node, Directory):
            raise failure(errno.ENOTDIR, target)
        self._move(source_directory, source_name, target_directory, target_name)
        if replaced is not None and not isinstance(replaced, Directory):
            self._dropped(replaced)

    def lock(self, path: str) -> Lock:
        directory, name = self._place(path)
        if path in self._locks:
            raise DiskBusy(errno.EBUSY, "another process holds the lock", path)
        if name not in directory.entries:
            self._link(directory, name, self._new_node())
        self._locks.add(path)
        return TreeLock(self._locks, path)
