"""The log directories of one broker, and the logs in them.

Owns `log.dirs` and the mapping from partition to log; when they are opened, flushed, written down, trimmed and
closed. Knows nothing of leaders and topics' metadata: overrides and ids are told. Belongs to one thread (the event
loop) but for `open` and `close`, which block and may run in another while nothing else does; what waits for the
device in between goes to its executor.

Invariants
- A partition has one log, in one directory.
- A directory that met a disk error is offline until restart: its logs are no longer found, the others go on.
- A log whose flushed data are damaged is not opened and not made anew: `create` says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from blumfeld.protocol.primitives import uuid_to_text
from blumfeld.storage import checkpoint, retention
from blumfeld.storage.checkpoint import TopicPartition
from blumfeld.storage.cleaner import LogCleaner
from blumfeld.storage.data_directory import DataDirectory
from blumfeld.storage.errors import StorageError
from blumfeld.storage.flushing import GroupCommit
from blumfeld.storage.loading import METADATA_TOPIC, deleted_name, load_directory
from blumfeld.storage.log import Log
from blumfeld.storage.log_configs import LogConfigs
from blumfeld.storage.memory_bound import MemoryBound
from blumfeld.storage.schedule import Schedule

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from blumfeld.config.sources import Config
    from blumfeld.env.clock import Clock
    from blumfeld.env.disk import Disk
    from blumfeld.env.entropy import Entropy
    from blumfeld.storage.log_config import LogConfig
    from blumfeld.storage.log_directory import LogDirectory

_logger = logging.getLogger(__name__)

_THREADS = 4
_INDEX_BYTES = 64 << 20
_RETENTION_LOGS_A_TURN = 200
_RESERVED_IDS = 100  # directory ids below it mean "unassigned", "lost" … (KIP-858)


class LogManager:
    """All logs of one broker."""

    def __init__(
        self,
        config: Config,
        disk: Disk,
        clock: Clock,
        entropy: Entropy,
        *,
        executor: Executor | None = None,
    ) -> None:
        """`executor` runs flushes, recoveries and deletions (default: a few threads of its own)."""
        self._config = config
        self._disk = disk
        self._clock = clock
        self._entropy = entropy
        self._own_executor = executor is None
        self._executor = executor if executor is not None else ThreadPoolExecutor(_THREADS, "storage")
        self._commit = GroupCommit(self._executor)
        self._memory = _memory_bound(config, disk)
        self._logs: dict[TopicPartition, Log] = {}
        self._log_configs = LogConfigs(config)
        self._retention_queue: list[Log] = []
        self._cleaner = LogCleaner(config, clock, self._executor.submit)
        self.wake: Callable[[Callable[[], None]], object] | None = None
        """How a thread hands a call to the logs' owner (`loop.call_soon_threadsafe`): compaction goes on as soon as
        one of its steps is done, not with the next turn."""
        self._removals: list[Log] = []
        """Logs with segments below their start."""
        self.directories: list[DataDirectory] = []
        self.clean_shutdown_broker_epoch = -1
        """What the last clean shutdown left, −1 after an unclean one: BrokerRegistration's PreviousBrokerEpoch."""
        self.on_directory_failure: Callable[[bytes], None] | None = None
        """Called with the id of a directory that went offline; from any thread."""
        self._schedule = Schedule(
            clock,
            [
                (1_000, self._flush_due),
                (config.int("replica.high.watermark.checkpoint.interval.ms"), self._checkpoint_high_watermarks),
                (config.int("log.flush.offset.checkpoint.interval.ms"), self._checkpoint_recovery),
                (config.int("log.retention.check.interval.ms"), self._begin_retention),
                (config.int("producer.id.expiration.check.interval.ms"), self._expire_producers),
            ],
        )

    # Opening.
    def open(self, cluster_id: str, node_id: int) -> None:
        """Lock and identify all directories, then open all logs, in threads; blocking.

        Raises `StorageError` (with a text that says what to do) for a directory in use, of another cluster or node, or
        unusable while it is the only one.
        """
        paths = self._config.log_dirs
        for path in paths:
            directory = self._directory(path, len(paths))
            try:
                directory.take(cluster_id, node_id, self._entropy)
            except OSError as error:
                if len(paths) == 1:
                    self.release()
                    raise StorageError(
                        f"log directory {path} cannot be used: {error}. Repair it, or name another one in log.dirs"
                    ) from error
                directory.recall()
                directory.fail(error, "opening it")
            except StorageError:
                self.release()
                raise
            self.directories.append(directory)
            directory.before_truncation = self._before_truncation
        self._check_identities()
        epochs = {directory.clean_epoch for directory in self._online()}
        epoch = epochs.pop() if len(epochs) == 1 else None
        self.clean_shutdown_broker_epoch = -1 if epoch is None else epoch
        for directory in self._online():
            threads = self._config.int("num.recovery.threads.per.data.dir")
            for log in load_directory(directory, self._log_configs.default, threads):
                self._adopt(log)
            self._cleaner.checkpoints.update(directory.written[checkpoint.CLEANER_OFFSETS])
        self._check_online()

    def _before_truncation(self, log: Log, offset: int) -> None:
        assert isinstance(log.home, DataDirectory)
        log.home.lower(log, offset)
        self._cleaner.truncated(log.topic, log.partition, offset)

    def _directory(self, path: str, count: int) -> DataDirectory:
        directory = DataDirectory(
            path.rstrip("/"),
            self._disk,
            self._clock,
            max_open_files=max(16, self._config.int("blumfeld.max.open.files") // count),
            max_index_bytes=_INDEX_BYTES // count,
            jitter=self._entropy.randrange,
        )
        directory.memory = self._memory
        directory.on_failure = self._failed
        directory.on_roll = self._rolled
        return directory

    def _check_identities(self) -> None:
        ids = [directory.id for directory in self._online()]
        if len(set(ids)) < len(ids):
            self.release()
            raise StorageError("two of log.dirs have the same directory.id in meta.properties: one is a copy")
        self._check_online()

    def _check_online(self) -> None:
        if not self._online():
            self.release()
            raise StorageError(f"none of log.dirs can be used: {', '.join(self._config.log_dirs)}")

    def _adopt(self, log: Log) -> None:
        key = (log.topic, log.partition)
        other = self._logs.get(key)
        if other is not None:
            self.release()
            raise StorageError(
                f"{log.topic_partition} is in two log directories, {other.directory} and {log.directory}. Delete the "
                "one that is out of date"
            )
        self._logs[key] = log

    # Finding, making, deleting.
    def get(self, topic: str, partition: int) -> Log | None:
        """The log of a partition, None where there is none (or its directory is offline)."""
        log = self._logs.get((topic, partition))
        return log if log is not None and log.home.error is None else None

    def logs(self) -> Iterator[Log]:
        """All logs that are online."""
        return iter([log for log in self._logs.values() if log.home.error is None])

    def create(
        self,
        topic: str,
        partition: int,
        topic_id: bytes,
        overrides: Mapping[str, str] | None = None,
        *,
        directory_id: bytes | None = None,
        holds_data: bool = False,
    ) -> Log:
        """The partition's log, made if missing, in `directory_id` or in the directory that has the fewest logs.

        `holds_data`: the replica is known to have its data, so an empty log is not to take the place of one that lies
        in a directory which is offline, or not among log.dirs any more.
        Raises `StorageError` where no directory is online, the log's data are damaged or out of reach, or the log
        there is of another topic id; and OSError.
        """
        key = (topic, partition)
        config = self._log_configs.of(overrides)
        log = self._logs.get(key)
        if log is None:
            for directory in self.directories:
                if key in directory.damaged:
                    raise directory.damaged[key]
            return self._make(key, topic_id, config, self._choose(key, directory_id, holds_data))
        if log.home.error is not None:
            raise StorageError(f"{log.topic_partition} is in log directory {log.home.path}, which is offline")
        if log.topic_id is not None and log.topic_id != topic_id:
            raise StorageError(
                f"{log.directory} belongs to topic id {uuid_to_text(log.topic_id)}, not {uuid_to_text(topic_id)}: an "
                "earlier topic of that name"
            )
        if log.topic_id is None:
            log.topic_id = topic_id
            log.names_changed = True
        log.update_config(config)
        return log

    def _make(self, key: TopicPartition, topic_id: bytes, config: LogConfig, home: DataDirectory) -> Log:
        try:
            home.forget(key)
            path = f"{home.path}/{key[0]}-{key[1]}"
            log = Log.open(path, config, self._disk, self._clock, topic_id=topic_id, home=home)
        except OSError as error:
            home.fail(error, f"making {key[0]}-{key[1]}")
            raise
        self._logs[key] = log
        return log

    def _choose(self, key: TopicPartition, directory_id: bytes | None, holds_data: bool) -> DataDirectory:
        online = self._online()
        assigned = directory_id is not None and int.from_bytes(directory_id, "big") >= _RESERVED_IDS
        for directory in self.directories:
            if assigned and directory.id == directory_id:
                if directory.offline:
                    raise StorageError(f"log directory {directory.path} is offline")
                return directory
        if not online:
            raise StorageError("all log directories are offline")
        name = f"{key[0]}-{key[1]}"
        if len(online) < len(self.directories) and (assigned or holds_data):
            offline = ", ".join(directory.path for directory in self.directories if directory.offline)
            raise StorageError(f"{name} is only to be found in {offline}, which is offline: repair it, and start anew")
        if assigned and holds_data:
            assert directory_id is not None
            raise StorageError(
                f"{name} is in log directory {uuid_to_text(directory_id)}, which is not among log.dirs: name that "
                "directory again, and start the broker anew"
            )
        if len(online) == 1:
            return online[0]
        counts = {id(directory): 0 for directory in online}
        for log in self.logs():
            counts[id(log.home)] += 1
        return min(online, key=lambda directory: counts[id(directory)])

    def delete(self, topic: str, partition: int) -> None:
        """Take the log away at once; its files go after file.delete.delay.ms."""
        key = (topic, partition)
        log = self._logs.pop(key, None)
        if log is not None:
            with log.files_lock:
                log.deleted = True
                log.abandon()
                self._cleaner.forget(topic, partition)
                self._throw_away(log.home, key, log.config.file_delete_delay_ms)
        for directory in self._online():
            if directory.damaged.pop(key, None) is not None:
                self._throw_away(directory, key, self._log_configs.default.file_delete_delay_ms)

    def _throw_away(self, home: LogDirectory, key: TopicPartition, delay_ms: int) -> None:
        if home.error is not None:
            return
        topic, partition = key
        target = f"{home.path}/{deleted_name(topic, partition, self._entropy.uuid().hex())}"
        try:
            self._disk.rename(f"{home.path}/{topic}-{partition}", target)
        except OSError as error:
            home.fail(error, f"deleting {topic}-{partition}")
        else:
            home.throw_away(target, self._clock.time_ms() + delay_ms)

    def update_topic_config(self, topic: str, overrides: Mapping[str, str]) -> None:
        """Give all logs of a topic its (complete) overrides."""
        config = self._log_configs.of(overrides)
        for log in self._logs.values():
            if log.topic == topic:
                log.update_config(config)

    def update_config(self, config: Config, overrides: Callable[[str], Mapping[str, str]]) -> None:
        """The broker's own configuration has changed; `overrides(topic)` gives each topic's."""
        self._config = config
        self._log_configs = LogConfigs(config)
        self._cleaner.update_config(config)
        for log in self._logs.values():
            log.update_config(self._log_configs.of(overrides(log.topic)))

    # Directories.
    def _online(self) -> list[DataDirectory]:
        return [directory for directory in self.directories if directory.error is None]

    def directory_ids(self) -> list[bytes]:
        """Ids of the directories that are online, in the order of log.dirs."""
        return [directory.id for directory in self._online()]

    @property
    def first_directory_id(self) -> bytes:
        """Id of the first of log.dirs, online or not; empty where it could not say who it is."""
        return self.directories[0].id

    def directory_of(self, log: Log) -> bytes:
        """The id of the directory a log is in."""
        return log.home.id

    def offline_directory_ids(self) -> list[bytes]:
        """Ids of the directories that met a disk error since the start (those that could still say who they are)."""
        return [directory.id for directory in self.directories if directory.error is not None and directory.id]

    def _failed(self, directory: LogDirectory) -> None:
        if self.on_directory_failure is not None and directory.id:
            self.on_directory_failure(directory.id)

    # Durability.
    def flushed(self, log: Log, offset: int) -> Future[int]:
        """A future done when `log.recovery_point` ≥ `offset`; all that wait for a log share one fsync.

        Its exception is the OSError that took the directory offline.
        """
        return self._commit.request(log, offset)

    def _rolled(self, log: Log, base_offset: int) -> None:
        """A sealed segment is flushed soon, so that a crash need not scan it."""
        self._executor.submit(_flush, log, base_offset)

    # Turns.
    def turn(self, now_ms: int) -> None:
        """Do what is due: flushes, checkpoints, retention, deletion; never waits for the device itself."""
        self._schedule.run(now_ms)
        if self._retention_queue:
            self._retention(now_ms)
        self._remove()
        self._clean(now_ms)
        for directory in self._online():
            due_ms = directory.next_due_ms()
            if due_ms is not None and due_ms <= now_ms:
                self._executor.submit(directory.empty_trash, now_ms)

    def _flush_due(self, now_ms: int) -> None:
        for directory in self._online():
            for log, since_ms in list(directory.dirty.items()):
                if log.recovery_point >= log.log_end_offset:
                    log.unflushed = False
                    del directory.dirty[log]
                elif now_ms - since_ms >= log.config.flush_ms:
                    directory.dirty[log] = now_ms
                    self._commit.request(log, log.log_end_offset)

    def _of(self, directory: DataDirectory) -> list[Log]:
        return [log for log in self._logs.values() if log.home is directory]

    def _checkpoint_high_watermarks(self, now_ms: int) -> None:
        del now_ms
        for directory in self._online():
            self._write(directory, directory.checkpoint_high_watermarks(self._of(directory)))

    def _checkpoint_recovery(self, now_ms: int) -> None:
        del now_ms
        for directory in self._online():
            self._write(directory, directory.checkpoint_recovery(self._of(directory)))

    def _write(self, directory: DataDirectory, checkpoints: list[tuple[str, dict[TopicPartition, int]]]) -> None:
        for name, offsets in checkpoints:
            if directory.written[name] != offsets:
                self._executor.submit(_write_checkpoint, directory, name, offsets, directory.next_version())

    def _clean(self, now_ms: int) -> None:
        """Compaction: a step of the round that is going on, or the next log's."""
        cleaner = self._cleaner
        if not cleaner.wants_turn(now_ms):
            return
        cleaner.turn(self.logs(), now_ms, self._step_done if self.wake is not None else None)
        if cleaner.changed:
            cleaner.changed = False
            for directory in self._online():
                keys = [(log.topic, log.partition) for log in self._of(directory)]
                offsets = {key: cleaner.checkpoints[key] for key in keys if key in cleaner.checkpoints}
                self._write(directory, [(checkpoint.CLEANER_OFFSETS, offsets)])

    def _step_done(self) -> None:
        """In a thread: a step of a compaction is done."""
        wake = self.wake
        if wake is not None:
            wake(self._go_on_cleaning)

    def _go_on_cleaning(self) -> None:
        if self.wake is not None:  # else the end has come, perhaps in another thread
            self._clean(self._clock.time_ms())

    def _begin_retention(self, now_ms: int) -> None:
        del now_ms
        self._retention_queue = list(self.logs())

    def _retention(self, now_ms: int) -> None:
        some, self._retention_queue = (
            self._retention_queue[:_RETENTION_LOGS_A_TURN],
            self._retention_queue[_RETENTION_LOGS_A_TURN:],
        )
        for log in some:
            if not log.deleted and log.home.error is None:
                try:
                    retention.apply(log, now_ms)
                except OSError as error:
                    log.home.fail(error, f"applying retention to {log.topic_partition}")
                if retention.pending(log):
                    self._removals.append(log)
        if self._removals:
            self._checkpoint_recovery(now_ms)

    def _remove(self) -> None:
        """Delete the files of what retention took away, once the logs' new starts are on the disk."""
        for log in self._removals:
            if not log.deleted and log.home.error is None:
                try:
                    retention.remove(log)
                except OSError as error:
                    log.home.fail(error, f"deleting segments of {log.topic_partition}")
        self._removals = [log for log in self._removals if self._may_remove(log)]

    def _may_remove(self, log: Log) -> bool:
        return not log.deleted and log.home.error is None and retention.pending(log)

    def _expire_producers(self, now_ms: int) -> None:
        for log in self.logs():
            if log.producers.by_id or log.producers.verifications:
                log.expire_producers(now_ms)

    # The end.
    def close(self, broker_epoch: int = -1) -> None:
        """Close all logs, write checkpoints and the clean-shutdown file; blocking."""
        self.wake = None
        self._cleaner.close()
        if self._own_executor:
            self._executor.shutdown(wait=True)
        for directory in self._online():
            logs = self._of(directory)
            try:
                self._close_logs(logs)
                for name, offsets in (
                    *directory.checkpoint_recovery(logs),
                    *directory.checkpoint_high_watermarks(logs),
                ):
                    directory.write_checkpoint(name, offsets)
                directory.mark_clean(broker_epoch)
            except OSError as error:
                directory.fail(error, "closing its logs")
        self.release()

    def _close_logs(self, logs: list[Log]) -> None:
        threads = self._config.int("num.recovery.threads.per.data.dir")
        with ThreadPoolExecutor(threads, "closing") as pool:
            for done in [pool.submit(log.close) for log in logs]:
                done.result()

    def release(self) -> None:
        """Give all handles and locks back and write nothing more, as if killed."""
        self._cleaner.close()
        for log in self._logs.values():
            log.abandon()
        if self._own_executor:
            self._executor.shutdown(wait=True)
        for directory in self.directories:
            directory.leave()
        self._logs.clear()


def _flush(log: Log, up_to: int) -> None:
    with suppress(OSError):  # its directory is offline then
        log.flush(up_to)


def _memory_bound(config: Config, disk: Disk) -> MemoryBound | None:
    """In memory, a bound on what is there; on a disk, the disk is the bound."""
    max_bytes = config.int("blumfeld.memory.max.bytes")
    if max_bytes < 0 or not getattr(disk, "volatile", False):
        return None
    from blumfeld.env.memory_disk import MemoryDisk

    assert isinstance(disk, MemoryDisk)
    return MemoryBound(max_bytes, lambda: disk.used_bytes)


def _write_checkpoint(directory: DataDirectory, name: str, offsets: dict[TopicPartition, int], as_of: int) -> None:
    try:
        directory.write_checkpoint(name, offsets, as_of)
    except OSError as error:
        directory.fail(error, f"writing {name}")


__all__ = ["METADATA_TOPIC", "LogManager"]
