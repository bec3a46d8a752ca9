"""One replica of one partition, as a state machine.

Owns the replica's role, its leader epoch and partition epoch, the in-sync replicas (ISR) with a change that is not
committed yet, what is known of each follower, and the high watermark of its log.

Must never know the network, timers, or who waits: methods take `now` and return values; `ReplicaManager.settle` tells
the waiting what has moved. The log is called synchronously.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blumfeld.protocol.primitives import Records
    from blumfeld.storage.log import AppendResult, Log


class Role(IntEnum):
    """What this replica is, by the metadata applied last."""

    OFFLINE = 0
    FOLLOWER = 1
    LEADER = 2


class Partition:
    """One replica. Handlers and coordinators find it in `ReplicaManager` and never keep it across an await."""

    topic: str
    topic_id: bytes
    index: int
    role: Role
    leader_id: int
    """Node id of the leader, -1 for none."""
    leader_epoch: int
    partition_epoch: int
    log: Log

    @property
    def is_leader(self) -> bool:
        raise NotImplementedError

    @property
    def high_watermark(self) -> int:
        raise NotImplementedError

    @property
    def log_end_offset(self) -> int:
        raise NotImplementedError

    @property
    def log_start_offset(self) -> int:
        raise NotImplementedError

    @property
    def last_stable_offset(self) -> int:
        raise NotImplementedError

    def append_as_leader(
        self, records: Records, *, acks: int, now_ms: int, origin: str = "client", leader_epoch: int | None = None
    ) -> AppendResult:
        """Append batches; refusals (not leader, too few in-sync replicas, a bad batch) are the result's `error`.

        Call `ReplicaManager.settle(partition)` afterwards.

        Args:
            acks: 0, 1 or -1; with -1 the append is refused when the ISR is smaller than min.insync.replicas.
            now_ms: wall clock.
            origin: "client", "coordinator" or "raft": who made the batches; decides what is validated.
            leader_epoch: refused with FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH unless it is ours; None: do not ask.
        """
        raise NotImplementedError

    def committed(self, offset: int) -> Any:
        """Whether the records below `offset` are committed: NONE, an error, or None for not yet."""
        raise NotImplementedError
