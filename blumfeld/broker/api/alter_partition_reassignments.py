"""AlterPartitionReassignments 0–1: replicas move to other brokers (KIP-455, KIP-860).

The controller decides; this broker passes the request on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.broker.forwarding import forward
from blumfeld.protocol.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
)

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


async def alter_partition_reassignments(
    broker: Broker, context: Context, request: AlterPartitionReassignmentsRequest
) -> AlterPartitionReassignmentsResponse:
    """Pass the request on."""
    response: AlterPartitionReassignmentsResponse = await forward(broker, context, request, request.timeout_ms)
    return response
