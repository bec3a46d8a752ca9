"""Who leads a partition and where that broker listens, for answers that send a client elsewhere (KIP-951).

Owns the choice of the address that a client is given. Knows the metadata image only.

A broker is named by its registered endpoint of the listener that the client came by. Without `advertised.listeners` a
broker registers under the host it binds; see `launch/` for how that is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from blumfeld.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


class Node(NamedTuple):
    """One broker as a client sees it."""

    node_id: int
    host: str
    port: int
    rack: str | None


def leader_of(broker: Broker, topic: str, topic_id: bytes, index: int) -> tuple[int, int]:
    """(leader, leader epoch) of a partition, by topic id where there is one; (−1, −1) if it is unknown."""
    topics = broker.replicas.image.topics
    known = topics.partition_by_name(topic, index) if topic_id == ZERO_UUID else topics.partition(topic_id, index)
    return (-1, -1) if known is None else (known.leader, known.leader_epoch)


def node_endpoints(broker: Broker, context: Context, node_ids: Iterable[int]) -> Iterator[Node]:
    """Where these brokers listen, as far as the metadata knows them."""
    for node_id in sorted(node_ids):
        registration = broker.replicas.image.cluster.broker(node_id)
        endpoint = None if registration is None else registration.listeners.get(context.listener)
        if registration is not None and endpoint is not None:
            yield Node(node_id, endpoint.host, endpoint.port, registration.rack)
