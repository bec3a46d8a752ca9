"""UnregisterBroker 0: a broker is forgotten for good (KIP-631).

The controller decides; this broker passes the request on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.broker.forwarding import forward
from blumfeld.protocol.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


async def unregister_broker(
    broker: Broker, context: Context, request: UnregisterBrokerRequest
) -> UnregisterBrokerResponse:
    """Pass the request on."""
    response: UnregisterBrokerResponse = await forward(broker, context, request)
    return response
