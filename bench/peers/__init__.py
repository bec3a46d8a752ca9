"""The brokers that benchmarks compare: Blumfeld first, Apache Kafka where there is Java."""

from __future__ import annotations

import sys

from bench.peers.kafka import KafkaPeer, why_unavailable
from bench.peers.ours import BlumfeldPeer
from bench.peers.peer import MakePeer

OURS = BlumfeldPeer.name


def peers(*, alone: bool) -> dict[str, MakePeer]:
    """How to make each peer, by name, ours first; `alone`: ours only."""
    found: dict[str, MakePeer] = {BlumfeldPeer.name: BlumfeldPeer}
    if not alone:
        reason = why_unavailable()
        if reason is None:
            found[KafkaPeer.name] = KafkaPeer
        else:
            print(f"without {KafkaPeer.name}: {reason}", file=sys.stderr)
    return found
