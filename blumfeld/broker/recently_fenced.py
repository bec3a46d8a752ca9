"""Brokers that Metadata still names, though they were fenced a moment ago.

librdkafka takes a broker that Metadata no longer names apart while it moves that broker's partitions to their new
leader. Where the former is done first, the partitions are without a leader until it looks after them, once a second.
Apache Kafka names a dead broker until its session ends, long after clients have turned away from it; here a dead
process is fenced so soon that they learn both from the same answer. So it is named a little longer, and the partitions
move first.

Owns who was fenced when. Invariant: only the incarnation that was fenced, and only until it is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from blumfeld.cluster.image.cluster import ClusterDelta
    from blumfeld.env.clock import Clock

NAMED_S: Final = 2.0
"""Twice the time in which librdkafka looks after partitions without a leader."""


class RecentlyFenced:
    """One broker's view of who was fenced in the last seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fenced_at: dict[int, float] = {}

    def apply(self, delta: ClusterDelta) -> None:
        """Registrations moved."""
        for broker_id, registration in delta.changed_brokers.items():
            before = delta.image.brokers.get(broker_id)
            if registration is None or not registration.fenced or before is None or before.epoch != registration.epoch:
                self._fenced_at.pop(broker_id, None)
            elif not before.fenced:
                self._fenced_at[broker_id] = self._clock.monotonic()

    def ids(self) -> list[int]:
        """Ids of the registered, fenced brokers that are to be named."""
        now = self._clock.monotonic()
        return [broker_id for broker_id, fenced_at in self._fenced_at.items() if now - fenced_at < NAMED_S]
