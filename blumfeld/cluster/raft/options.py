"""The quorum's timeouts and limits, under the names of Kafka's properties.

Owns the values one replica runs with; where they come from is `config/`'s business.
"""

from __future__ import annotations

from typing import NamedTuple


class RaftOptions(NamedTuple):
    """Milliseconds and bytes. Each field names its property."""

    election_timeout_ms: int = 1000
    """controller.quorum.election.timeout.ms; timeouts are drawn from [t, 2t)."""
    fetch_timeout_ms: int = 2000
    """controller.quorum.fetch.timeout.ms; the leader resigns after 1.5 times this without a majority's fetches."""
    election_backoff_max_ms: int = 1000
    """controller.quorum.election.backoff.max.ms"""
    request_timeout_ms: int = 2000
    """controller.quorum.request.timeout.ms"""
    retry_backoff_ms: int = 20
    """controller.quorum.retry.backoff.ms"""
    unreachable_timeout_ms: int = 250
    """How long a follower goes on waiting for a leader whose process is known to be gone."""
    startup_election_timeout_ms: int = 150
    """A voter that starts knows of no leader: it asks around within this time (pre-votes disturb nobody)."""
    fetch_max_wait_ms: int = 500
    fetch_max_bytes: int = 8 << 20
    max_batch_bytes: int = 8 << 20
    snapshot_bytes: int = 20 << 20
    """metadata.log.max.record.bytes.between.snapshots"""
    snapshot_interval_ms: int = 3_600_000
    """metadata.log.max.snapshot.interval.ms; 0 turns the timer off."""
    segment_bytes: int = 1 << 30
    """metadata.log.segment.bytes"""
    segment_ms: int = 604_800_000
    """metadata.log.segment.ms"""
    retention_bytes: int = 100 << 20
    """metadata.max.retention.bytes"""
    retention_ms: int = 604_800_000
    """metadata.max.retention.ms"""

    @property
    def check_quorum_timeout_ms(self) -> int:
        return self.fetch_timeout_ms * 3 // 2

    @property
    def begin_quorum_epoch_timeout_ms(self) -> int:
        return self.fetch_timeout_ms // 2
