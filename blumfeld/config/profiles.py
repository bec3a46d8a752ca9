"""Profiles: what a test, a developer's machine and a small deployment want without saying so.

Data only. A profile is the weakest source: everything else overrides it. Replication factors never exceed the
number of brokers that the cluster is configured to have, or nothing could be created.
"""

from __future__ import annotations

from blumfeld.config.values import ConfigError

GATHERING_MS = "150"
"""How long a new group waits for more members where nobody wants to wait: long enough that members started together are
assigned once, and that kafka-python has its topic's metadata by then (joining faster, it may assign nothing at all and
never look again: it refreshes metadata 100 ms after it connects)."""

PROFILES = ("test", "dev", "durable", "none")


def profile_properties(profile: str, brokers: int) -> dict[str, str]:
    """The properties of a profile for a cluster configured with `brokers` brokers; `none` has none."""
    replicas = str(max(1, min(3, brokers)))
    common = {
        "default.replication.factor": replicas,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": str(max(1, min(2, brokers))),
    }
    match profile:
        case "test":
            return {
                **common,
                "group.initial.rebalance.delay.ms": GATHERING_MS,
                "offsets.topic.num.partitions": "5",
                "transaction.state.log.num.partitions": "5",
                "group.min.session.timeout.ms": "100",
                "group.consumer.min.session.timeout.ms": "100",
                "group.consumer.min.heartbeat.interval.ms": "100",
                "group.consumer.heartbeat.interval.ms": "100",
                "blumfeld.control.port": "0",
            }
        case "dev":
            return {
                **common,
                "group.initial.rebalance.delay.ms": GATHERING_MS,
                "group.consumer.min.heartbeat.interval.ms": "1000",
                "group.consumer.heartbeat.interval.ms": "1000",
            }
        case "durable":
            return {**common, "min.insync.replicas": str(max(1, min(2, brokers)))}
        case "none":
            return {}
        case _:
            raise ConfigError("profile", profile, "--profile", "one of " + ", ".join(PROFILES))
