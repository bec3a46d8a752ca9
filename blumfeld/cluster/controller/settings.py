"""What one controller is configured with.

Owns the reading of its properties once; deciders take them from their turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from blumfeld.cluster.controller.config_rules import ConfigRules
from blumfeld.cluster.image.cluster import VersionRange
from blumfeld.cluster.image.features import LATEST_METADATA_VERSION, METADATA_VERSION, MINIMUM_METADATA_VERSION

if TYPE_CHECKING:
    from blumfeld.config.sources import Config

SUPPORTED_FEATURES: Mapping[str, VersionRange] = {
    METADATA_VERSION: VersionRange(MINIMUM_METADATA_VERSION, LATEST_METADATA_VERSION),
    "kraft.version": VersionRange(0, 1),
}
"""Feature levels that our brokers and controllers claim. What is not here is supported at level 0 only."""


class ControllerSettings(NamedTuple):
    """Values by property; seconds where a name says so."""

    node_id: int
    cluster_id: str
    configs: ConfigRules
    default_partitions: int = 1
    default_replication_factor: int = 1
    delete_topics_enabled: bool = True
    session_timeout_s: float = 9.0
    balance_interval_s: float = 300.0
    """auto.leader.rebalance.enable and leader.imbalance.check.interval.seconds; 0: never."""
    unclean_interval_s: float = 300.0
    """unclean.leader.election.interval.ms"""
    no_op_interval_s: float = 0.5
    """metadata.max.idle.interval.ms; 0: never."""
    max_elections_per_turn: int = 1000
    features: Mapping[str, VersionRange] = SUPPORTED_FEATURES
    voter_ids: frozenset[int] = frozenset()
    """The metadata quorum's members, as the raft replica knows them when this controller takes over."""

    @classmethod
    def from_config(cls, config: Config, *, node_id: int, cluster_id: str) -> ControllerSettings:
        balance = config.bool("auto.leader.rebalance.enable")
        return cls(
            node_id=node_id,
            cluster_id=cluster_id,
            configs=ConfigRules(config, node_id),
            default_partitions=config.int("num.partitions"),
            default_replication_factor=config.int("default.replication.factor"),
            delete_topics_enabled=config.bool("delete.topic.enable"),
            session_timeout_s=config.int("broker.session.timeout.ms") / 1000,
            balance_interval_s=config.int("leader.imbalance.check.interval.seconds") if balance else 0.0,
            no_op_interval_s=config.int("metadata.max.idle.interval.ms") / 1000,
        )
