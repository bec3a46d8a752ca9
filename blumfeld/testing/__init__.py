"""Real brokers for tests: a cluster of processes with or without pytest.

    with blumfeld.testing.Cluster(brokers=3) as kafka:
        kafka.topic("orders", partitions=3)

Usable from any thread and under any event loop: the brokers are processes of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blumfeld.client.consuming import Consumed as Consumed
    from blumfeld.testing.cluster import BrokerHandle as BrokerHandle
    from blumfeld.testing.cluster import Cluster as Cluster
    from blumfeld.testing.kafka import Kafka as Kafka

__all__ = ["BrokerHandle", "Cluster", "Consumed", "Kafka"]


def __getattr__(name: str) -> Any:
    """Import the handles when first asked for: the pytest plugin loads this package in every test run."""
    import importlib

    homes = {"BrokerHandle": "cluster", "Cluster": "cluster", "Kafka": "kafka"}
    if name in homes:
        return getattr(importlib.import_module(f"blumfeld.testing.{homes[name]}"), name)
    if name == "Consumed":
        return importlib.import_module("blumfeld.client.consuming").Consumed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
