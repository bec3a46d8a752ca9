"""One directory of `log.dirs`, as the logs in it see it: shared limits, trash, and whether it still works.

Owns the bounded sets of open data files and loaded indexes, the files that wait to be deleted, and the first disk
error. Knows no checkpoints and no partitions (`manager.py` does); a log on its own gets a private one.

Invariants
- Once `error` is set it stays: the directory is offline until it is opened anew.
- A file in the trash has been renamed already; it goes when due, or at the next start.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.storage.files import OpenFiles
from blumfeld.storage.index import LoadedIndexes

if TYPE_CHECKING:
    from blumfeld.env.clock import Clock
    from blumfeld.env.disk import Disk
    from blumfeld.storage.log import Log
    from blumfeld.storage.memory_bound import MemoryBound

_logger = logging.getLogger(__name__)


class LogDirectory:
    """What the logs of one directory share."""

    def __init__(
        self,
        path: str,
        disk: Disk,
        clock: Clock,
        *,
        max_open_files: int = 512,
        max_index_bytes: int = 64 << 20,
        jitter: Callable[[int], int] | None = None,
    ) -> None:
        """`jitter(bound)` draws from 0 … bound−1, for segment.jitter.ms (default: none)."""
        self.path = path
        self.disk = disk
        self.disk_is_memory: bool = getattr(disk, "volatile", False)
        self.clock = clock
        self.id = b""
        self.lock = threading.Lock()
        self.open_files = OpenFiles(disk, max_open_files, self.lock)
        self.loaded_indexes = LoadedIndexes(disk, max_index_bytes, self.lock)
        self.jitter = jitter
        self.error: OSError | None = None
        self.memory: MemoryBound | None = None
        """What may be kept where the directory is no more than memory."""
        self.appending = False
        """Whether the logs' owner is writing right now: a thread that gets the interpreter meanwhile shall let go."""
        self.dirty: dict[Log, int] = {}
        """Logs with unflushed data, and since when (ms)."""
        self.on_failure: Callable[[LogDirectory], None] | None = None
        self.on_roll: Callable[[Log, int], None] | None = None
        """Called with a log and the base of its new segment: everything below wants to be flushed soon."""
        self.before_truncation: Callable[[Log, int], None] | None = None
        """Called with a log and an offset before data at or above it go: a persisted recovery point or log start
        offset above it must be lowered first."""
        self._trash: list[tuple[int, int, str]] = []
        self._trashed = 0

    @property
    def offline(self) -> bool:
        """Whether a disk error has taken the directory out of service."""
        return self.error is not None

    def fail(self, error: OSError, doing: str) -> None:
        """Take the directory offline. Called from any thread; the first error is the one that is kept."""
        with self.lock:
            if self.error is not None:
                return
            self.error = error
        _logger.error(
            "log directory %s is offline: %s while %s. Its partitions answer KAFKA_STORAGE_ERROR until the disk is "
            "repaired and the broker restarted.",
            self.path,
            error,
            doing,
        )
        if self.on_failure is not None:
            self.on_failure(self)

    def durable_start(self, log: Log) -> int:
        """Up to where the start of `log` would be found again after a crash: here nobody writes it down."""
        return log.log_start_offset

    def throw_away(self, path: str, due_ms: int) -> None:
        """Delete the file or directory at `path` once `due_ms` has come; at the next turn where it is memory: readers
        keep what they have there, and the room is wanted."""
        if self.disk_is_memory:
            due_ms = 0
        with self.lock:
            self._trashed += 1
            heapq.heappush(self._trash, (due_ms, self._trashed, path))

    def next_due_ms(self) -> int | None:
        """When the first of what waits to be deleted is due; None if nothing waits."""
        return self._trash[0][0] if self._trash else None

    def empty_trash(self, now_ms: int) -> int:
        """Delete what is due; how many went. Waits for the device: call it in a thread."""
        count = 0
        while True:
            with self.lock:
                if not self._trash or self._trash[0][0] > now_ms or self.error is not None:
                    return count
                path = heapq.heappop(self._trash)[2]
            try:
                if self.disk.is_directory(path):
                    self.disk.remove_tree(path)
                elif self.disk.exists(path):
                    self.disk.remove(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.fail(error, f"deleting {path}")
                return count
            count += 1
