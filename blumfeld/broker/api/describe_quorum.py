"""DescribeQuorum 0–2: the metadata quorum's leader, voters and observers (KIP-595, KIP-853).

The controller decides; this broker passes the request on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.broker.forwarding import forward
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest, DescribeQuorumResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


async def describe_quorum(broker: Broker, context: Context, request: DescribeQuorumRequest) -> DescribeQuorumResponse:
    """Pass the request on."""
    response: DescribeQuorumResponse = await forward(broker, context, request)
    return response
