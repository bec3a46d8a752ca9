"""Durability: flushing a log, closing it, and one fsync for all that wait.

Owns what has to be synced, and in which order, before the recovery point may move: data files, indexes of sealed
segments, producer snapshots, the leader-epoch file and `partition.metadata`, then the names in the directory, then
the directory's own name. `flush` may run in any thread; one at a time per log.

Invariants
- The recovery point moves only after all of that succeeded, and never back up after a truncation lowered it.
- `sealed_to` is the base of a segment; the ones before it are durable with their indexes. A segment can be flushed
  while it is active, so the recovery point may be beyond `sealed_to`; recovery must scan from `sealed_to` on then,
  which is why a checkpoint gets `Log.checkpoint_point` instead of the recovery point.
- A waiter of `GroupCommit` is answered after a flush that began after it had asked; one that gives up (`cancel`)
  changes nothing for the others.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

from blumfeld.storage import epochs as epoch_file
from blumfeld.storage.checkpoint import PARTITION_METADATA, encode_partition_metadata

if TYPE_CHECKING:
    from blumfeld.storage.log import Log
    from blumfeld.storage.segment import Segment


def flush(log: Log, up_to: int | None = None) -> int:
    """`Log.flush`."""
    with log.flush_lock:
        generation = log.generation
        end = log.log_end_offset if up_to is None else min(up_to, log.log_end_offset)
        if end <= log.recovery_point and not (_unsynced(log, end) or log.names_changed or log.parent_changed):
            return log.recovery_point
        if log.home.error is not None:
            raise log.home.error
        try:
            sealed_to = _sync(log, end)
        except OSError as error:
            if log.deleted:
                return log.recovery_point
            log.home.fail(error, f"flushing {log.topic_partition}")
            raise
        with log.home.lock:
            if generation == log.generation:
                log.recovery_point = max(log.recovery_point, end)
                log.sealed_to = max(log.sealed_to, sealed_to)
                log.cut = log.cut and end <= log.active.base_offset
            return log.recovery_point


def _unsynced(log: Log, end: int) -> bool:
    """Whether a segment that begins below `end` was sealed since it was last synced: its indexes then want to be."""
    return log.segments[-1].base_offset > log.sealed_to < end


def _sync(log: Log, end: int) -> int:
    """Sync what lies below `end`; returns up to where all segments are sealed and durable with their indexes."""
    disk = log.home.disk
    segments = list(log.segments)
    sealed_to = log.sealed_to
    _write_small_files(log)
    names_changed, log.names_changed = log.names_changed, False
    parent_changed, log.parent_changed = log.parent_changed, False
    try:
        for index, segment in enumerate(segments):
            following = segments[index + 1].base_offset if index + 1 < len(segments) else None
            if segment.base_offset < end and (following is None or following > log.sealed_to):
                _sync_segment(log, segment, following)
                sealed_to = following if following is not None else sealed_to
        if names_changed:
            disk.sync_directory(log.directory)
        if parent_changed:
            disk.sync_directory(log.directory.rpartition("/")[0] or ".")
    except OSError:
        log.names_changed = log.names_changed or names_changed
        log.parent_changed = log.parent_changed or parent_changed
        raise
    return sealed_to


def _sync_segment(log: Log, segment: Segment, following: int | None) -> None:
    """A sealed segment with its indexes and the snapshot at its end; of the active one the data."""
    try:
        if following is None:
            with segment.data.pinned() as file:
                file.sync()
            return
        segment.sync()
    except FileNotFoundError:
        if segment in log.segments and not log.deleted:
            raise  # else retention or a truncation took it away meanwhile
    if following in log.snapshots.offsets:
        _sync_snapshot(log, following)


def _sync_snapshot(log: Log, offset: int) -> None:
    try:
        file = log.home.disk.open(log.snapshots.path(offset))
    except FileNotFoundError:
        if offset in log.snapshots.offsets and not log.deleted:
            raise  # else what follows it was cut off or merged meanwhile
        return
    try:
        file.sync()
    finally:
        file.close()


def _write_small_files(log: Log) -> None:
    """The leader-epoch file and `partition.metadata`, where they are behind; the caller syncs the directory."""
    changes, entries = log.epochs.changes, log.epochs.entries
    is_topic_id_behind = log.topic_id is not None and not log.topic_id_written
    if log.epochs_written == changes and not is_topic_id_behind:
        return
    with log.files_lock:  # or they might go to a partition that was made anew by that name
        if log.deleted:
            return
        if log.epochs_written != changes:
            _replace_file(log, epoch_file.FILE_NAME, epoch_file.encode(entries))
            log.epochs_written = changes
        if log.topic_id is not None and not log.topic_id_written:
            _replace_file(log, PARTITION_METADATA, encode_partition_metadata(log.topic_id))
            log.topic_id_written = True


def _replace_file(log: Log, name: str, data: bytes) -> None:
    disk = log.home.disk
    path = f"{log.directory}/{name}"
    file = disk.open(f"{path}.tmp", create=True)
    try:
        file.truncate(0)
        file.append(data)
        file.sync()
    finally:
        file.close()
    disk.rename(f"{path}.tmp", path)
    log.names_changed = True


def close(log: Log) -> None:
    """`Log.close`."""
    if log.home.error is not None:
        abandon(log)
        return
    try:
        with log.files_lock:
            if log.unsealed or log.config.preallocate:
                log.active.seal(sync=True)
                log.names_changed = True
                log.unsealed = False
            if log.log_end_offset > 0 and log.snapshots.write(log.producers, sync=True):
                log.names_changed = True
        if log.log_end_offset > 0:  # a log that never had a record has nothing to lose
            flush(log)
        log.home.dirty.pop(log, None)
        log.unflushed = False
    except OSError as error:
        log.home.fail(error, f"closing {log.topic_partition}")
        raise
    finally:
        abandon(log)


def abandon(log: Log) -> None:
    """`Log.abandon`."""
    for segment in log.segments:
        segment.data.close()
        segment.offset_index.release()
        segment.time_index.release()
    log.hints = {}
    log.home.dirty.pop(log, None)


class GroupCommit:
    """Flushes in threads, such that all who wait for one log share an fsync."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._waiting: dict[Log, list[tuple[int, Future[int]]]] = {}

    def request(self, log: Log, offset: int) -> Future[int]:
        """A future of the recovery point, done when it is ≥ `offset`, or of the OSError that prevents it."""
        future: Future[int] = Future()
        if log.recovery_point >= offset:
            future.set_result(log.recovery_point)
            return future
        with self._lock:
            waiting = self._waiting.get(log)
            if waiting is not None:
                waiting.append((offset, future))
                return future
            self._waiting[log] = [(offset, future)]
        self._executor.submit(self._run, log)
        return future

    def _run(self, log: Log) -> None:
        while True:
            with self._lock:
                asked = [each for each in self._waiting[log] if each[1].set_running_or_notify_cancel()]
                self._waiting[log] = []
            error: BaseException | None = None
            recovery_point = -1
            try:
                recovery_point = log.flush()
            except BaseException as failure:  # noqa: BLE001  (whoever waits is told, whatever it is)
                error = failure
            for _, future in asked:
                if error is not None:
                    future.set_exception(error)
                else:  # what was cut off since it was asked for is as settled as it will ever be
                    future.set_result(recovery_point)
            with self._lock:
                if not self._waiting[log]:
                    del self._waiting[log]
                    return
