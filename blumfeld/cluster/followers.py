"""What a leader knows of its followers.

Owns one `Follower` per remote replica: how far it has fetched, when it was last caught up, and which incarnation
(broker epoch) it was. `Membership` is the leader's view of the cluster's brokers, shared by all partitions.

Invariants
- A follower's log end offset is what it asked to fetch from, never what was sent to it: it has written all below.
- A fetch of an earlier incarnation changes nothing: neither of one older than the metadata's (KIP-903), nor of one
  older than that which fetched last, for a late request may come after its successor's.
- `last_caught_up` never goes back within a leader epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blumfeld.cluster.image.directories import UNASSIGNED_DIRECTORY

if TYPE_CHECKING:
    from blumfeld.cluster.image.cluster import ClusterImage

UNKNOWN_OFFSET: Final = -1
NEVER: Final = float("-inf")
NO_BROKER_EPOCH: Final = -1
"""A follower that does not say which incarnation it is (Fetch before version 15): not checked."""


class Membership:
    """Which brokers there are, as far as replication asks. `ReplicaManager` replaces `cluster` with each image.

    `last_fetch` is when each broker last fetched anything from here: an incremental fetch names only the partitions
    that moved, and is a sign of life for all the others.
    """

    __slots__ = ("broker_epoch", "cluster", "last_fetch", "node_id", "unreachable")

    def __init__(self, node_id: int, cluster: ClusterImage) -> None:
        self.node_id = node_id
        self.cluster = cluster
        self.broker_epoch = NO_BROKER_EPOCH
        """Our own, once we are registered."""
        self.last_fetch: dict[int, float] = {}
        self.unreachable: set[int] = set()
        """Leaders we follow whose connection broke and which have not answered since."""

    def alive_epoch(self, broker_id: int) -> int | None:
        """The broker epoch of a registered, unfenced broker."""
        broker = self.cluster.brokers.get(broker_id)
        return None if broker is None or broker.fenced else broker.epoch

    def registered_epoch(self, broker_id: int) -> int:
        """The newest incarnation of a broker that the metadata knows, fenced or not; −1 for none."""
        broker = self.cluster.brokers.get(broker_id)
        return NO_BROKER_EPOCH if broker is None else broker.epoch

    def may_join_isr(self, broker_id: int, broker_epoch: int | None) -> bool:
        """Unfenced, not shutting down, and the very incarnation that fetched."""
        broker = self.cluster.brokers.get(broker_id)
        if broker is None or not broker.active or broker_epoch is None:
            return False
        return broker_epoch in (NO_BROKER_EPOCH, broker.epoch)

    def has_online_directory(self, broker_id: int, directory: bytes) -> bool:
        """Whether the broker still reads and writes what lies in that log directory."""
        broker = self.cluster.brokers.get(broker_id)
        return broker is not None and broker.has_online_directory(directory)


class Follower:
    """One remote replica, in the eyes of the leader."""

    __slots__ = (
        "broker_epoch",
        "broker_id",
        "directory",
        "last_caught_up",
        "last_fetch",
        "last_fetch_leader_end",
        "log_end_offset",
        "log_start_offset",
    )

    def __init__(self, broker_id: int) -> None:
        self.broker_id = broker_id
        self.directory = UNASSIGNED_DIRECTORY
        """Where it lies, by the metadata's word."""
        self.forget(NEVER)

    def forget(self, last_caught_up: float) -> None:
        """Start anew: this broker has just become leader, and the follower has not fetched yet."""
        self.log_end_offset = UNKNOWN_OFFSET
        self.log_start_offset = UNKNOWN_OFFSET
        self.last_fetch_leader_end = UNKNOWN_OFFSET
        self.last_fetch = NEVER
        self.last_caught_up = last_caught_up
        self.broker_epoch: int | None = None

    def new_epoch(self, leader_end_offset: int, now: float) -> None:
        """The same leader in a new leader epoch, for a member of the ISR."""
        self.last_fetch_leader_end = leader_end_offset
        self.last_fetch = self.last_caught_up = now

    def fetched(
        self, offset: int, log_start_offset: int, leader_end_offset: int, broker_epoch: int, now: float
    ) -> None:
        """A fetch from `offset` came while the leader's log ended at `leader_end_offset`."""
        if offset >= leader_end_offset:
            self.last_caught_up = max(self.last_caught_up, now)
        elif offset >= self.last_fetch_leader_end:
            self.last_caught_up = max(self.last_caught_up, self.last_fetch)
        self.log_end_offset = offset
        self.log_start_offset = log_start_offset
        self.last_fetch_leader_end = max(self.last_fetch_leader_end, leader_end_offset)
        self.last_fetch = now
        self.broker_epoch = broker_epoch

    def is_caught_up(self, leader_end_offset: int, now: float, max_lag_s: float) -> bool:
        """At the leader's end, or was there no longer than `max_lag_s` ago."""
        return self.log_end_offset == leader_end_offset or now - self.last_caught_up <= max_lag_s

    def __repr__(self) -> str:
        return f"Follower({self.broker_id}, end={self.log_end_offset}, broker_epoch={self.broker_epoch})"
