"""The log of a shard on this broker's replica: the real `ShardLog`.

Owns the adapting of `Partition` and `ReplicaManager`. The partition is looked up for every use, since it may be
gone after any await.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.coordinator.shard_log import Appended
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.partition import Partition
    from blumfeld.cluster.replicas import ReplicaManager
    from blumfeld.env.clock import Clock
    from blumfeld.protocol.primitives import Buffer, Bytes

_ALL_IN_SYNC = -1


class ReplicaLog:
    """One partition that this broker leads."""

    def __init__(self, replicas: ReplicaManager, partition: Partition, clock: Clock) -> None:
        self._replicas = replicas
        self._topic_id = partition.topic_id
        self._index = partition.index
        self._clock = clock
        self._on_commit: Callable[[], None] | None = None
        self._is_closed = False

    @property
    def log_start_offset(self) -> int:
        return self._partition.log_start_offset

    @property
    def log_end_offset(self) -> int:
        return self._partition.log_end_offset

    @property
    def high_watermark(self) -> int:
        return self._partition.high_watermark

    @property
    def max_batch_bytes(self) -> int:
        return self._partition.log.config.max_message_bytes

    def append(self, batch: Bytes, now_ms: int) -> Appended:
        partition = self._find()
        if partition is None:
            return Appended(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        result = partition.append_as_leader(
            batch, acks=_ALL_IN_SYNC, now=self._clock.monotonic(), now_ms=now_ms, origin="coordinator"
        )
        if result.error is ErrorCode.NONE and result.must_flush:
            try:
                partition.log.flush(result.last_offset + 1)
            except OSError:  # the directory is offline now
                return Appended(ErrorCode.KAFKA_STORAGE_ERROR)
        return Appended(result.error, result.base_offset)

    def settle(self) -> None:
        partition = self._find()
        if partition is not None:
            self._replicas.settle(partition)

    async def read(self, offset: int, max_bytes: int) -> Buffer:
        partition = self._find()
        if partition is None:
            raise OSError("the replica is gone")
        result = partition.log.read(offset, max_bytes)
        if result.cold is not None:
            result = await asyncio.get_running_loop().run_in_executor(None, result.cold)
        if result.error is not ErrorCode.NONE:
            raise OSError(f"reading at offset {offset} failed: {result.error.name}")
        return result.records

    def watch(self, on_commit: Callable[[], None]) -> None:
        self._on_commit = on_commit
        self._replicas.watch(self._partition, self)

    def close(self) -> None:
        self._is_closed = True
        partition = self._replicas.find(self._topic_id, self._index)
        if partition is not None and self._on_commit is not None:
            self._replicas.unwatch(partition, self)
        self._on_commit = None

    # --- as a PartitionWatcher -------------------------------------------------------------------------------------

    def on_append(self, partition: Partition) -> None:
        """Nothing waits for appends."""

    def on_commit(self, partition: Partition) -> None:
        """The high watermark moved."""
        if self._on_commit is not None:
            self._on_commit()

    def on_leadership(self, partition: Partition) -> None:
        """The runtime hears of it by `on_elected` and `on_resigned`."""

    @property
    def _partition(self) -> Partition:
        partition = self._find()
        assert partition is not None, "a shard outlived its partition"
        return partition

    def _find(self) -> Partition | None:
        return None if self._is_closed else self._replicas.find(self._topic_id, self._index)
