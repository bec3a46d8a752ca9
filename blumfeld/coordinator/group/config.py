"""The options that groups obey, read once from the broker's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from blumfeld.config.sources import Config

NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000
"""How long a member that has never been answered may wait in a join; Kafka has no option for it."""

MAX_PENDING_JOINS = 10_000
"""How many ids of one group may be given out and not yet used; Kafka has no limit."""

MEMBER_ID_PREFIX_CHARACTERS = 8_000
"""So much of a client's or instance's id goes into a member's, which has to fit into a record; Kafka has no limit."""


class GroupConfig(NamedTuple):
    """Kafka's defaults."""

    min_session_timeout_ms: int = 6_000
    max_session_timeout_ms: int = 1_800_000
    initial_rebalance_delay_ms: int = 3_000
    max_size: int = 2**31 - 1
    offset_metadata_max_bytes: int = 4_096
    offsets_retention_ms: int = 7 * 24 * 60 * 60 * 1000
    retention_check_interval_ms: int = 600_000

    @classmethod
    def of(cls, config: Config) -> GroupConfig:
        return cls(
            min_session_timeout_ms=config.int("group.min.session.timeout.ms"),
            max_session_timeout_ms=config.int("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms=config.int("group.initial.rebalance.delay.ms"),
            max_size=config.int("group.max.size"),
            offset_metadata_max_bytes=config.int("offset.metadata.max.bytes"),
            offsets_retention_ms=config.int("offsets.retention.minutes") * 60_000,
            retention_check_interval_ms=config.int("offsets.retention.check.interval.ms"),
        )
