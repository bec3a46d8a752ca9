"""The disk: files and directories behind two small Protocols, and the real ones.

Owns all file access of the package. Knows nothing of logs and their formats. Files are sequences of bytes
addressed by position; there is no shared cursor, so a reader needs no lock against the one writer. Errors are
`OSError` with their usual errno: ENOENT, EEXIST, ENOSPC, EIO …, on every disk alike; a lock that another
process holds is `DiskBusy`.

Invariants: an `append` either wrote everything or left the size as it was; nothing is durable before `sync()`
(contents and size of the file) and `sync_directory()` (that a name exists, is gone, or is another's)
returned.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from blumfeld.env import paths
from blumfeld.env.read_buffers import ReadBuffers

Buffer: TypeAlias = bytes | bytearray | memoryview


class DiskBusy(OSError):
    """Another process holds the lock."""


class File(Protocol):
    """One open file. Methods may be called from several threads as long as only one writes."""

    path: str

    @property
    def size(self) -> int:
        """The file's length in bytes, preallocated zeros included."""
        ...

    def append(self, parts: Buffer | Sequence[Buffer]) -> int:
        """Write `parts` one after the other at the end; returns the position of the first byte."""
        ...

    def write_at(self, position: int, data: Buffer) -> None:
        """Overwrite bytes at `position`, growing the file where needed."""
        ...

    def read_at(self, position: int, size: int) -> Buffer:
        """Up to `size` bytes from `position`; fewer at the end of the file. May wait for the device."""
        ...

    def read_cached(self, position: int, size: int) -> Buffer | None:
        """As `read_at`, but None where not all of it can be had without waiting."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes; a `size` beyond the end changes nothing."""
        ...

    def preallocate(self, size: int) -> None:
        """Grow the file to `size` bytes with zeros that take no room until written; never shrinks it."""
        ...

    def sync(self) -> None:
        """Return when contents and size would survive a power cut. Waits for the device: use a thread."""
        ...

    def close(self) -> None:
        """Give the handle back; doing so twice is harmless. Does not sync."""
        ...


class Lock(Protocol):
    """A lock file held by this process."""

    def release(self) -> None:
        """Let others have it; doing so twice is harmless."""
        ...


class Disk(Protocol):
    """A file system. Paths are plain strings; `blumfeld.env.paths` joins and splits them."""

    def open(self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False) -> File:
        """Open a file. `create` makes it if missing; `exclusive` (with `create`) refuses an existing one."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory of that name."""
        ...

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory of that name."""
        ...

    def size(self, path: str) -> int:
        """The length of a file in bytes."""
        ...

    def modified_ms(self, path: str) -> int:
        """When the file was last written to, in milliseconds since 1970."""
        ...

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        ...

    def make_directories(self, path: str) -> None:
        """Make a directory and those above it; existing ones are fine."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file. Open handles go on working."""
        ...

    def remove_tree(self, path: str) -> None:
        """Remove a directory with everything in it; one that is missing is fine."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Give a file or directory another name, replacing a file that has it."""
        ...

    def sync_directory(self, path: str) -> None:
        """Return when creations, removals and renames of names in the directory would survive a power cut."""
        ...

    def lock(self, path: str) -> Lock:
        """Take the lock file at `path` (made if missing) for this process, or raise `DiskBusy`."""
        ...

    def read_file(self, path: str) -> bytes:
        """A small file's contents."""
        ...

    def write_file_atomically(self, path: str, data: Buffer, sync: bool = True) -> None:
        """Replace a small file so that a crash leaves the old or the new contents, never a mixture.

        With `sync` (the default) the new contents are durable on return.
        """
        ...

    def free_bytes(self, path: str) -> int:
        """How many bytes can still be written to the file system that holds `path`."""
        ...


def write_file_atomically(disk: Disk, path: str, data: Buffer, sync: bool) -> None:
    """`Disk.write_file_atomically` in terms of the other methods."""
    temporary = path + ".tmp"
    file = disk.open(temporary, create=True)
    try:
        file.truncate(0)
        file.append(data)
        if sync:
            file.sync()
    finally:
        file.close()
    disk.rename(temporary, path)
    if sync:
        disk.sync_directory(paths.parent(path))


def make_durable_directories(disk: Disk, path: str) -> None:
    """Make a directory and those above it, such that the new ones would survive a power cut."""
    made: list[str] = []
    level = path
    while not disk.exists(level):
        made.append(level)
        level = paths.parent(level)
    disk.make_directories(path)
    for level in made:
        disk.sync_directory(paths.parent(level))


_buffers = ReadBuffers()
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None) if hasattr(os, "preadv") else None
_BINARY: int = getattr(os, "O_BINARY", 0)
_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
_MAX_PARTS = 1024  # IOV_MAX of every system in use
_WOULD_WAIT = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


def _named(error: OSError, path: str) -> OSError:
    """The error with the file that it is about: of a file that is open, the system does not say it."""
    return OSError(error.errno, error.strerror, path)


class RealFile:
    """A file of the operating system, read and written by position (`pread`, `pwritev`)."""

    __slots__ = ("_fd", "_size", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._size = os.fstat(fd).st_size

    @property
    def size(self) -> int:
        return self._size

    def append(self, parts: Buffer | Sequence[Buffer]) -> int:
        position = self._size
        end = position
        try:
            if isinstance(parts, bytes | bytearray | memoryview):
                end = self._write_all(position, parts)
            else:
                end = self._write_parts(position, parts)
        except OSError as error:
            raise _named(error, self.path) from None
        finally:
            if end == position and os.fstat(self._fd).st_size != position:
                os.ftruncate(self._fd, position)  # a write that failed half way leaves nothing behind
        self._size = end
        return position

    def write_at(self, position: int, data: Buffer) -> None:
        try:
            end = self._write_all(position, data)
        except OSError as error:
            raise _named(error, self.path) from None
        self._size = max(self._size, end)

    def _write_all(self, position: int, data: Buffer) -> int:
        written = _pwrite(self._fd, data, position)
        size = memoryview(data).nbytes
        while written < size:
            written += _pwrite(self._fd, memoryview(data)[written:], position + written)
        return position + size

    def _write_parts(self, position: int, parts: Sequence[Buffer]) -> int:
        if not _HAS_PWRITEV:
            return self._write_all(position, b"".join(parts))
        for first in range(0, len(parts), _MAX_PARTS):
            group = parts[first : first + _MAX_PARTS]
            size = sum(map(len, group))
            written = os.pwritev(self._fd, group, position)
            if written < size:
                self._write_all(position + written, memoryview(b"".join(group))[written:])
            position += size
        return position

    def read_at(self, position: int, size: int) -> Buffer:
        try:
            return self._read(position, size)
        except OSError as error:
            raise _named(error, self.path) from None

    def _read(self, position: int, size: int) -> Buffer:
        data = _pread(self._fd, size, position)
        if len(data) == size or position + len(data) >= self._size:
            return data
        parts = [data]  # a short read before the end: rare (a signal, or more than 2 GiB)
        while (missing := size - sum(map(len, parts))) > 0:
            more = _pread(self._fd, missing, position + size - missing)
            if not more:
                break
            parts.append(more)
        return b"".join(parts)

    def read_cached(self, position: int, size: int) -> Buffer | None:
        if _NOWAIT is None:
            return None
        size = min(size, self._size - position)
        if size <= 0:
            return b""
        data = _buffers.take(size)
        try:
            count = os.preadv(self._fd, [data], position, _NOWAIT)
        except OSError as error:
            if error.errno in _WOULD_WAIT:
                return None
            raise _named(error, self.path) from None
        return data if count == size else None

    def truncate(self, size: int) -> None:
        if size < self._size:
            self._resize(size)

    def preallocate(self, size: int) -> None:
        if size > self._size:
            self._resize(size)

    def _resize(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise _named(error, self.path) from None
        self._size = size

    def sync(self) -> None:
        try:
            _sync(self._fd)
        except OSError as error:
            raise _named(error, self.path) from None

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RealLock:
    """An exclusive lock on a file, given back by the system when the process ends in whatever way."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RealDisk:
    """The operating system's file system."""

    __slots__ = ()

    def open(self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False) -> File:
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | _BINARY | _CLOEXEC
        if create:
            flags |= os.O_CREAT | (os.O_EXCL if exclusive else 0)
        return RealFile(path, os.open(path, flags, 0o644))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def modified_ms(self, path: str) -> int:
        return os.stat(path).st_mtime_ns // 1_000_000

    def list(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def make_directories(self, path: str) -> None:
        try:
            os.mkdir(path)
        except OSError:  # it exists, or those above it do not, or it can't be made
            os.makedirs(path, exist_ok=True)

    def remove(self, path: str) -> None:
        os.remove(path)

    def remove_tree(self, path: str) -> None:
        try:
            entries = list(os.scandir(path))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                self.remove_tree(entry.path)
            else:
                os.remove(entry.path)
        os.rmdir(path)

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def sync_directory(self, path: str) -> None:
        if sys.platform == "win32":
            return  # directories cannot be opened there; NTFS journals names by itself
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str) -> Lock:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY | _CLOEXEC, 0o644)
        try:
            _lock(fd)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise DiskBusy(errno.EBUSY, "another process holds the lock", path) from None
            raise
        return RealLock(fd)

    def read_file(self, path: str) -> bytes:
        fd = os.open(path, os.O_RDONLY | _BINARY | _CLOEXEC)
        try:
            parts = []
            while part := os.read(fd, 1 << 20):
                parts.append(part)
            return b"".join(parts)
        finally:
            os.close(fd)

    def write_file_atomically(self, path: str, data: Buffer, sync: bool = True) -> None:
        write_file_atomically(self, path, data, sync)

    def free_bytes(self, path: str) -> int:
        if sys.platform == "win32":
            import shutil

            return shutil.disk_usage(path).free
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize


_HAS_PWRITEV = hasattr(os, "pwritev")

if sys.platform == "win32":
    import msvcrt
    import threading

    _seek_lock = threading.Lock()  # no positional I/O there: seek and read or write as one step

    def _pread(fd: int, size: int, position: int) -> bytes:
        with _seek_lock:
            os.lseek(fd, position, os.SEEK_SET)
            return os.read(fd, size)

    def _pwrite(fd: int, data: Buffer, position: int) -> int:
        with _seek_lock:
            os.lseek(fd, position, os.SEEK_SET)
            return os.write(fd, data)

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    _sync = os.fsync
else:
    import fcntl

    _pread = os.pread
    _pwrite = os.pwrite

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if sys.platform == "linux":
            _lock_record(fd)

    if sys.platform == "linux":
        _WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)

        def _lock_record(fd: int) -> None:
            """The kind of lock that Java takes (Apache Kafka's `.lock`); there it knows nothing of `flock`."""
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WHOLE_FILE)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOLCK):  # neither kernel nor network has it
                    raise

    if sys.platform == "darwin":

        def _sync(fd: int) -> None:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync alone leaves the data in the drive's cache there

    else:
        _sync = getattr(os, "fdatasync", os.fsync)
