"""UpdateFeatures 0–2: finalized feature levels move (KIP-584, KIP-778).

The controller decides; this broker passes the request on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.broker.forwarding import forward
from blumfeld.protocol.messages.update_features import UpdateFeaturesRequest, UpdateFeaturesResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


async def update_features(broker: Broker, context: Context, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse:
    """Pass the request on."""
    response: UpdateFeaturesResponse = await forward(broker, context, request, request.timeout_ms)
    return response
