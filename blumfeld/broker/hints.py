"""Who leads a partition and where that broker listens, for answers that send a client elsewhere (KIP-951).

Owns neither rule nor metadata: addresses are those that Metadata gives too (`addresses.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from blumfeld.broker.addresses import Address, Addresses
from blumfeld.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


def leader_of(broker: Broker, topic: str, topic_id: bytes, index: int) -> tuple[int, int]:
    """(leader, leader epoch) of a partition, by topic id where there is one; (−1, −1) if it is unknown."""
    topics = broker.replicas.image.topics
    known = topics.partition_by_name(topic, index) if topic_id == ZERO_UUID else topics.partition(topic_id, index)
    return (-1, -1) if known is None else (known.leader, known.leader_epoch)


def node_endpoints(broker: Broker, context: Context, node_ids: Iterable[int]) -> Iterator[Address]:
    """Where the client finds these brokers, as far as the metadata knows them."""
    addresses = Addresses(broker, context)
    for node_id in sorted(node_ids):
        address = addresses.of_id(node_id)
        if address is not None:
            yield address
