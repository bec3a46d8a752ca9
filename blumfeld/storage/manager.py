"""The log directories of one broker, and the logs in them.

Owns `log.dirs`: their locks, identities (`meta.properties`), checkpoints, the clean-shutdown file, and the mapping from
partition to log. Knows nothing of leaders and topics' metadata: overrides and ids are told.

Invariants
- A directory belongs to one process (`.lock`), one cluster and one node (`meta.properties`).
- `.kafka_cleanshutdown` exists only while no process serves the directory and all its logs were closed cleanly.
- A directory that met a disk error is offline until restart; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from blumfeld.config.sources import Config
    from blumfeld.env.clock import Clock
    from blumfeld.env.disk import Disk
    from blumfeld.env.entropy import Entropy
    from blumfeld.storage.log import Log


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
        raise NotImplementedError

    def open(self, cluster_id: str, node_id: int) -> None:
        """Lock and identify all directories, then open all logs, in threads; blocking.

        Raises `StorageError` (with a text that says what to do) for a directory in use, of another cluster or node, or
        unusable while it is the only one.
        """
        raise NotImplementedError

    clean_shutdown_broker_epoch: int
    """What the last clean shutdown left, −1 after an unclean one: BrokerRegistration's PreviousBrokerEpoch."""

    def get(self, topic: str, partition: int) -> Log | None:
        """The log of a partition, None where there is none (or its directory is offline)."""
        raise NotImplementedError

    def create(
        self,
        topic: str,
        partition: int,
        topic_id: bytes,
        overrides: Mapping[str, str] | None = None,
        *,
        directory_id: bytes | None = None,
    ) -> Log:
        """The partition's log, made if missing, in `directory_id` or in the directory that has the fewest logs.

        Raises `StorageError` where no directory is online, or the log there is of another topic id.
        """
        raise NotImplementedError

    def delete(self, topic: str, partition: int) -> None:
        """Take the log away at once; its files go after file.delete.delay.ms."""
        raise NotImplementedError

    def update_topic_config(self, topic: str, overrides: Mapping[str, str]) -> None:
        """Give all logs of a topic its (complete) overrides."""
        raise NotImplementedError

    def flushed(self, log: Log, offset: int) -> Future[int]:
        """A future done when `log.recovery_point` ≥ `offset`; all that wait for a log share one fsync."""
        raise NotImplementedError

    def logs(self) -> Iterator[Log]:
        """All logs that are online."""
        raise NotImplementedError

    def directory_ids(self) -> list[bytes]:
        """Ids of the directories that are online, in the order of log.dirs."""
        raise NotImplementedError

    def directory_of(self, log: Log) -> bytes:
        """The id of the directory a log is in."""
        raise NotImplementedError

    def offline_directory_ids(self) -> list[bytes]:
        """Ids of the directories that met a disk error since the start."""
        raise NotImplementedError

    def turn(self, now_ms: int) -> None:
        """Do what is due: flushes, checkpoints, retention, deletion; never waits for the device itself."""
        raise NotImplementedError

    def close(self, broker_epoch: int = -1) -> None:
        """Close all logs, write checkpoints and the clean-shutdown file; blocking."""
        raise NotImplementedError
