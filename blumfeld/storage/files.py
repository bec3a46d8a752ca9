"""Open data files, no more than a bound: an idle partition costs no file handle.

Owns which segments have their file open. The owner of the logs (the event loop) takes a file with `use`, threads with
`pinned`.

Invariants: a pinned file is not closed before its last pin goes; threads never evict, so what `use` returned stays open
until the owner calls `use` again; there are no more open files than the bound, but for pinned ones.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blumfeld.env.disk import Disk, File


class DataFile:
    """A segment's `.log` file, open while it is in use.

    The hot path reads `file` itself and sets `recent` (its second chance when others need the handle).
    """

    __slots__ = ("_open_files", "closing", "file", "path", "pins", "recent")

    def __init__(self, open_files: OpenFiles, path: str) -> None:
        self._open_files = open_files
        self.path = path
        self.file: File | None = None
        self.pins = 0
        self.recent = False
        self.closing = False

    def use(self, *, create: bool = False) -> File:
        """The open file (made if missing, where asked for); the owner's thread only."""
        self.recent = True
        return self.file if self.file is not None else self._open_files.open(self, create=create)

    @contextmanager
    def pinned(self) -> Iterator[File]:
        """The open file, kept open meanwhile, or a handle of one's own; for threads."""
        file, own = self._open_files.borrow(self)
        try:
            yield file
        finally:
            if own:
                file.close()
            else:
                self._open_files.unpin(self)

    def pin(self) -> File:
        """The open file, kept open until `unpin`: for work that is handed to a thread."""
        return self._open_files.pin(self)

    def unpin(self) -> None:
        """Undo one `pin`; from any thread."""
        self._open_files.unpin(self)

    def close(self) -> None:
        """Give the handle back, now or when its last pin goes."""
        self._open_files.close(self)


class OpenFiles:
    """The bound on open files; the next one to go is chosen by second chance."""

    def __init__(self, disk: Disk, capacity: int, lock: threading.Lock) -> None:
        self._disk = disk
        self.capacity = capacity
        self._lock = lock
        self._queue: deque[DataFile] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def open(self, data_file: DataFile, *, create: bool = False) -> File:
        """Open `data_file`, closing others where there are too many."""
        with self._lock:
            if data_file.file is not None:
                return data_file.file
            self._evict(len(self._queue) + 1 - self.capacity)
            return self._open(data_file, create)

    def _open(self, data_file: DataFile, create: bool) -> File:
        file = data_file.file = self._disk.open(data_file.path, create=create)
        data_file.closing = False
        self._queue.append(data_file)
        return file

    def _evict(self, excess: int) -> None:
        chances = 2 * len(self._queue)
        while excess > 0 and chances > 0:
            chances -= 1
            candidate = self._queue.popleft()
            if candidate.recent or candidate.pins:
                candidate.recent = False
                self._queue.append(candidate)
                continue
            file, candidate.file = candidate.file, None
            excess -= 1
            if file is not None:
                file.close()

    def pin(self, data_file: DataFile) -> File:
        """The open file, kept open until `unpin`; evicts nothing, so any thread may ask."""
        with self._lock:
            file = data_file.file if data_file.file is not None else self._open(data_file, create=False)
            data_file.pins += 1
            return file

    def borrow(self, data_file: DataFile) -> tuple[File, bool]:
        """As `pin` where the file is open; else a handle that counts for nothing, for the caller to close (True)."""
        with self._lock:
            if data_file.file is None:
                return self._disk.open(data_file.path), True
            data_file.pins += 1
            return data_file.file, False

    def unpin(self, data_file: DataFile) -> None:
        """Undo one `pin`, closing the file where `close` was asked for meanwhile."""
        with self._lock:
            data_file.pins -= 1
            if data_file.closing and not data_file.pins:
                self._close(data_file)

    def close(self, data_file: DataFile) -> None:
        """Close `data_file`, or let its last `unpin` do so."""
        with self._lock:
            if data_file.file is None:
                return
            if data_file.pins:
                data_file.closing = True
            else:
                self._close(data_file)

    def _close(self, data_file: DataFile) -> None:
        self._queue.remove(data_file)
        file, data_file.file = data_file.file, None
        data_file.closing = False
        if file is not None:
            file.close()
