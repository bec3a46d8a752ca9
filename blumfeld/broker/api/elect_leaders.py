"""ElectLeaders 0–2: preferred (KIP-183) and, from 1 on, unclean elections (KIP-460).

The controller decides; this broker passes the request on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.broker.forwarding import forward
from blumfeld.cluster.controller.refusals import fitted
from blumfeld.protocol.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


async def elect_leaders(broker: Broker, context: Context, request: ElectLeadersRequest) -> ElectLeadersResponse:
    """Pass the request on."""
    response: ElectLeadersResponse = await forward(broker, context, request, request.timeout_ms)
    fitted(response, context.api_version)
    return response
