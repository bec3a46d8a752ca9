"""Bytes of requests that are being received or wait for their turn: `queued.max.request.bytes`.

Owns the count and the order of those who wait for room. Knows nothing of sockets: whoever waits is told by `funded()`.

Invariants
- A frame gets room while any is left, however large it is (as in Apache Kafka): the count is never above the bound by
  more than one frame, and a frame larger than the bound is not shut out.
- Room that is given back goes to those who wait, in the order in which they came.

Frames that arrived whole in the shared receive buffer and are handled in the same turn of the loop hold no memory and
are not counted.
"""

from __future__ import annotations

from typing import Protocol


class Waiting(Protocol):
    """Who waits for room."""

    def funded(self) -> None:
        """The room asked for has been taken on its behalf."""
        ...


class RequestBudget:
    """A bound on bytes, shared by all connections of a broker."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._waiting: dict[Waiting, int] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self, who: Waiting, size: int) -> bool:
        """Take room for a frame, or queue for it: then `who.funded()` is called when it has been taken."""
        if self._waiting or self.used_bytes >= self.max_bytes:
            self._waiting[who] = size
            return False
        self.used_bytes += size
        return True

    def add(self, size: int) -> None:
        """Count a frame that is there already."""
        self.used_bytes += size

    def give_back(self, size: int) -> None:
        """A frame's bytes are no longer held."""
        self.used_bytes -= size
        assert self.used_bytes >= 0, "more bytes given back than were taken"
        while self._waiting and self.used_bytes < self.max_bytes:
            who = next(iter(self._waiting))
            self.used_bytes += self._waiting.pop(who)
            who.funded()

    def leave(self, who: Waiting) -> None:
        """Wait no more."""
        self._waiting.pop(who, None)
