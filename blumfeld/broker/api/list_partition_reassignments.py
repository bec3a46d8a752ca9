"""ListPartitionReassignments 0: moves that are going on (KIP-455).

The controller decides; this broker passes the request on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.broker.forwarding import forward
from blumfeld.protocol.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


async def list_partition_reassignments(
    broker: Broker, context: Context, request: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    """Pass the request on."""
    response: ListPartitionReassignmentsResponse = await forward(broker, context, request, request.timeout_ms)
    return response
