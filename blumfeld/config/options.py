"""The options table: every property by name.

Owns the two indexes, `BROKER_OPTIONS` and `TOPIC_OPTIONS`; the rows are in `tables/`. Data only; a name
declared twice is refused at import. Types, defaults and ranges are Apache Kafka 4's unless `tables/own.py`
has the row.
"""

from __future__ import annotations

from blumfeld.config.tables import groups, log, network, node, own, replication, topic
from blumfeld.config.values import Option, index

SECTIONS: dict[str, tuple[Option, ...]] = {
    "Node and controller": node.OPTIONS,
    "Listeners, connections, requests": network.OPTIONS,
    "Logs": log.OPTIONS,
    "Replication": replication.OPTIONS,
    "Groups and transactions": groups.OPTIONS,
    "Blumfeld's own": own.OPTIONS,
}
"""Broker options by subject, in the order of the documentation."""

BROKER_OPTIONS: dict[str, Option] = index([option for section in SECTIONS.values() for option in section])
TOPIC_OPTIONS: dict[str, Option] = index(topic.OPTIONS)

LISTENER_PREFIX = "listener.name."
"""`listener.name.<listener>.<property>` gives one listener a value of its own."""


def is_known(name: str) -> bool:
    """Whether a broker property is in the table, by itself or for one listener."""
    if name.startswith(LISTENER_PREFIX):
        return any(name.endswith("." + option) for option in BROKER_OPTIONS)
    return name in BROKER_OPTIONS
