"""What the metadata quorum tells the state machines above it: the controller and the broker.

Owns the vocabulary of the driver's callbacks and nothing else. Records are opaque here: each is the value of a record
of `__cluster_metadata`, framed as `protocol.messages.metadata_log` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class BatchTooLargeError(ValueError):
    """Records that shall be appended as one batch are more than a batch may hold; nothing was appended."""


class OffsetAndEpoch(NamedTuple):
    """A position in the log: an end offset (exclusive) and the epoch of the record just before it."""

    offset: int
    epoch: int


class LeaderAndEpoch(NamedTuple):
    """Who leads in `epoch`; None while nobody known does."""

    leader_id: int | None
    epoch: int

    def is_leader(self, node_id: int) -> bool:
        return self.leader_id == node_id


class CommittedBatch(NamedTuple):
    """One committed batch. Control batches come with no records, so that offsets have no holes."""

    base_offset: int
    last_offset: int
    epoch: int
    timestamp_ms: int
    records: Sequence[bytes]
    size_bytes: int


class Snapshot(Protocol):
    """A snapshot to be loaded: everything up to `id.offset` (exclusive)."""

    @property
    def id(self) -> OffsetAndEpoch: ...

    @property
    def last_contained_log_timestamp(self) -> int: ...

    def batches(self) -> Iterator[Sequence[bytes]]:
        """The records, batch by batch, in the order of `image.to_records()`. May be iterated more than once."""
        ...


class RaftListener(Protocol):
    """A state machine. Callbacks come on the event loop, in the order of the log, and must not raise."""

    def on_commit(self, batches: Sequence[CommittedBatch]) -> None:
        """Apply `batches`: they follow each other and what was delivered before."""
        ...

    def on_load_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the whole state by `snapshot`; the next commit starts at its end offset."""
        ...

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        """The leader changed.

        When this node becomes leader, the call comes once everything written before its epoch, and the epoch's first
        record, has been delivered: the state is complete, and `append` may be used. When it loses leadership the call
        comes before anything of the next epoch is delivered; what was appended and not delivered by then is to be
        given up (it may or may not turn out committed later).
        """
        ...
