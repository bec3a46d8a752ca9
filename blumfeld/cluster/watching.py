"""How others hear that a partition moved.

Owns the keys under which requests wait in the purgatory, and what the waiting have been told already.
`ReplicaManager.settle` compares and tells; a partition itself tells nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from blumfeld.cluster.isr import IsrProposal
    from blumfeld.cluster.partition import Partition


class Signal:
    """A key to wait for in the purgatory."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Signal({self.name})"


class PartitionWatcher(Protocol):
    """Somebody who wants to know about one partition, for as long as it is watched."""

    def on_append(self, partition: Partition) -> None:
        """Its log end offset moved."""
        ...

    def on_commit(self, partition: Partition) -> None:
        """Its high watermark, last stable offset, log start or ISR moved."""
        ...

    def on_leadership(self, partition: Partition) -> None:
        """Its role or leader epoch changed, or it is gone."""
        ...


class Settled:
    """What those who wait for a partition have been told already."""

    __slots__ = ("end", "follower_starts", "high_watermark", "isr", "led", "proposal", "stable", "start")

    def __init__(self) -> None:
        self.end = self.high_watermark = self.stable = self.start = self.follower_starts = -1
        self.led: tuple[int, int] = (0, -1)
        """Role and leader epoch."""
        self.isr: frozenset[int] | None = None
        self.proposal: IsrProposal | None = None
