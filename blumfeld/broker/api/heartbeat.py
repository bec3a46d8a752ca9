"""Heartbeat 0–4: a member of a classic group is alive (KIP-345 static members)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context
    from blumfeld.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse


def heartbeat(broker: Broker, context: Context, request: HeartbeatRequest) -> HeartbeatResponse:
    """Answered at once; Apache Kafka lets it wait for the partition's writes in flight."""
    return broker.groups.heartbeat(request)
