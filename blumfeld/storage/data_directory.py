"""One entry of `log.dirs`: its lock, identity, root checkpoints and clean-shutdown file.

Owns the files at the root of a directory; the logs below are the manager's. Checkpoints are written when they have
changed; each remembers what is on the disk, because that, not what we know, is what counts after a crash.

Invariants
- One process at a time (`.lock`), one cluster and one node (`meta.properties`) for the directory's whole life.
- `.kafka_cleanshutdown` is gone before any log is opened, and comes back only after all were closed.
- What is read at the start is durable before anybody acts on it: the process before may have ended, or its disk have
  failed, between giving a checkpoint its name and syncing that.
- A recovery point on the disk is never above what is really there: it is lowered before data are cut off, and goes
  before a partition of the same name is made anew; what a thread was given to write before that is not written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from blumfeld.env.disk import DiskBusy, make_durable_directories
from blumfeld.protocol.primitives import uuid_from_text, uuid_to_text
from blumfeld.storage import checkpoint
from blumfeld.storage.checkpoint import TopicPartition
from blumfeld.storage.epochs import MalformedCheckpoint
from blumfeld.storage.errors import CorruptLog, StorageError
from blumfeld.storage.log_directory import LogDirectory

if TYPE_CHECKING:
    from blumfeld.env.disk import Lock
    from blumfeld.env.entropy import Entropy
    from blumfeld.storage.log import Log

_logger = logging.getLogger(__name__)

_CHECKPOINTS = (
    checkpoint.RECOVERY_POINTS,
    checkpoint.LOG_START_OFFSETS,
    checkpoint.HIGH_WATERMARKS,
    checkpoint.CLEANER_OFFSETS,
)


class DataDirectory(LogDirectory):
    """A log directory with its root files. `written` holds the root checkpoints as they are on the disk."""

    _lock: Lock | None = None
    clean_epoch: int | None = None
    """The broker epoch of the clean shutdown before this start, None after an unclean one."""
    damaged: dict[TopicPartition, CorruptLog]
    """The logs that could not be opened: their lines stay in the checkpoints, and the shutdown is no clean one."""

    def take(self, cluster_id: str, node_id: int, entropy: Entropy) -> None:
        """Lock, identify, and read the checkpoints. Raises `StorageError` and OSError."""
        self.written: dict[str, dict[TopicPartition, int]] = {}
        self.damaged = {}
        self._writing = threading.Lock()
        self._version = 0
        self._newest = dict.fromkeys(_CHECKPOINTS, 0)
        """What each checkpoint on the disk is as of, by `next_version`."""
        make_durable_directories(self.disk, self.path)
        self._take_lock()
        try:
            self._identify(cluster_id, node_id, entropy)
            self.clean_epoch = self._take_clean_shutdown()
            self.disk.sync_directory(self.path)
            for name in _CHECKPOINTS:
                self.written[name] = self._read_checkpoint(name)
        except BaseException:
            self.leave()
            raise
        self.before_truncation = self.lower

    def _take_lock(self) -> None:
        try:
            self._lock = self.disk.lock(f"{self.path}/{checkpoint.LOCK}")
        except DiskBusy as error:
            raise StorageError(
                f"log directory {self.path} is in use by another process (its {checkpoint.LOCK} is held). Stop that "
                "broker first, or give this one a directory of its own in log.dirs"
            ) from error

    def _identify(self, cluster_id: str, node_id: int, entropy: Entropy) -> None:
        """Check `meta.properties`, or make the directory ours if it has none."""
        path = f"{self.path}/{checkpoint.META_PROPERTIES}"
        stored = checkpoint.decode_properties(self.disk.read_file(path)) if self.disk.exists(path) else {}
        expected = {"cluster.id": cluster_id, "node.id": str(node_id)}
        if "broker.id" in stored:
            stored.setdefault("node.id", stored.pop("broker.id"))
        for name, value in expected.items():
            if stored.get(name, value) != value:
                raise StorageError(
                    f"{path} says that log directory {self.path} belongs to {name} {stored[name]}, but this is "
                    f"{name} {value}. Start with the configuration it was made with, or name another directory in "
                    "log.dirs; nothing was changed"
                )
        try:
            self.id = uuid_from_text(stored["directory.id"]) if "directory.id" in stored else entropy.uuid()
        except ValueError as error:
            raise StorageError(f"{path}: directory.id {stored['directory.id']!r} is no id: {error}") from error
        wanted = {**stored, **expected, "version": "1", "directory.id": uuid_to_text(self.id)}
        if wanted != stored:
            self.disk.write_file_atomically(path, checkpoint.encode_properties(wanted))

    def recall(self) -> None:
        """Who the directory was, where that can still be read of one that cannot be used: others ask for it by id."""
        with suppress(OSError, ValueError):
            stored = checkpoint.decode_properties(self.disk.read_file(f"{self.path}/{checkpoint.META_PROPERTIES}"))
            self.id = uuid_from_text(stored.get("directory.id", ""))

    def _take_clean_shutdown(self) -> int | None:
        path = f"{self.path}/{checkpoint.CLEAN_SHUTDOWN}"
        if not self.disk.exists(path):
            return None
        epoch = checkpoint.decode_clean_shutdown(self.disk.read_file(path))
        self.disk.remove(path)
        return epoch

    def _read_checkpoint(self, name: str) -> dict[TopicPartition, int]:
        path = f"{self.path}/{name}"
        try:
            return checkpoint.decode_offsets(self.disk.read_file(path))
        except FileNotFoundError:
            return {}
        except MalformedCheckpoint as error:
            _logger.warning("%s is passed over: %s", path, error)
            return {}

    # Checkpoints.
    def next_version(self) -> int:
        """For the owner, who takes offsets down to be written: the later they are, the higher."""
        self._version += 1
        return self._version

    def write_checkpoint(self, name: str, offsets: dict[TopicPartition, int], as_of: int | None = None) -> None:
        """Put `offsets` on the disk, durably, unless they, or later ones, are there.

        From any thread; another one than the owner's says as of which `next_version` it was given them (`as_of`).
        """
        with self._writing:
            version = self.next_version() if as_of is None else as_of
            if version > self._newest[name]:
                self._newest[name] = version
                self._replace(name, offsets)

    def _replace(self, name: str, offsets: dict[TopicPartition, int]) -> None:
        if self.written[name] != offsets:
            self.disk.write_file_atomically(f"{self.path}/{name}", checkpoint.encode_offsets(offsets))
            self.written[name] = offsets

    def checkpoint_recovery(self, logs: Iterable[Log]) -> list[tuple[str, dict[TopicPartition, int]]]:
        """What recovery points and log start offsets are now, for `write_checkpoint`."""
        points = self._of_damaged(checkpoint.RECOVERY_POINTS)
        starts = self._of_damaged(checkpoint.LOG_START_OFFSETS)
        for log in logs:
            key = (log.topic, log.partition)
            points[key] = log.checkpoint_point
            if log.log_start_offset > log.segments[0].base_offset or (log.log_start_offset and log.names_changed):
                starts[key] = log.log_start_offset  # also until the files below are gone for good
        return [(checkpoint.RECOVERY_POINTS, points), (checkpoint.LOG_START_OFFSETS, starts)]

    def checkpoint_high_watermarks(self, logs: Iterable[Log]) -> list[tuple[str, dict[TopicPartition, int]]]:
        """What the high watermarks are now, for `write_checkpoint`."""
        marks = self._of_damaged(checkpoint.HIGH_WATERMARKS)
        marks.update({(log.topic, log.partition): log.high_watermark for log in logs})
        return [(checkpoint.HIGH_WATERMARKS, marks)]

    def _of_damaged(self, name: str) -> dict[TopicPartition, int]:
        return {key: offset for key, offset in self.written[name].items() if key in self.damaged}

    def lower(self, log: Log, offset: int) -> None:
        """Before data of `log` at or above `offset` go: no checkpoint on the disk may claim them."""
        key = (log.topic, log.partition)
        before = max(offset - 1, 0)  # so that recovery scans the segment that is cut, should it be sealed right there
        with self._writing:
            self._outdate()
            for name, bound in (
                (checkpoint.RECOVERY_POINTS, before),
                (checkpoint.LOG_START_OFFSETS, offset),
                (checkpoint.CLEANER_OFFSETS, offset),
            ):
                if self.written[name].get(key, -1) > bound:
                    self._replace(name, {**self.written[name], key: bound})

    def durable_start(self, log: Log) -> int:
        """The start of `log` that is on the disk."""
        return self.written[checkpoint.LOG_START_OFFSETS].get((log.topic, log.partition), 0)

    def forget(self, key: TopicPartition) -> None:
        """Before a partition of that name is made anew: no checkpoint on the disk speaks of its predecessor."""
        with self._writing:
            self._outdate()
            for name in _CHECKPOINTS:
                if key in self.written[name]:
                    self._replace(name, {other: o for other, o in self.written[name].items() if other != key})

    def _outdate(self) -> None:
        """What threads were given to write until now is not written."""
        self._newest = dict.fromkeys(_CHECKPOINTS, self.next_version())

    # The end.
    def mark_clean(self, broker_epoch: int) -> None:
        """All logs are closed and all checkpoints written: the next start may trust them."""
        if self.damaged or self.error is not None:
            return
        path = f"{self.path}/{checkpoint.CLEAN_SHUTDOWN}"
        self.disk.sync_directory(self.path)
        self.disk.write_file_atomically(path, checkpoint.encode_clean_shutdown(broker_epoch))

    def leave(self) -> None:
        """Give the lock back."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
