"""Passing clients' admin requests on to the active controller (KIP-590).

Owns the one way to do so and what a client is told when no controller answers in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from blumfeld.cluster.controller.refusals import refusal
from blumfeld.cluster.controller_channel import ControllerUnavailable
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context
    from blumfeld.protocol.schema import Request

LONGEST_MS: Final = 60_000


def allowed_ms(broker: Broker, timeout_ms: int | None) -> float:
    """How long to try: what the client allows, within request.timeout.ms, at least a little."""
    limit = broker.config.int("request.timeout.ms")
    return float(min(limit, LONGEST_MS) if timeout_ms is None else max(min(timeout_ms, limit), 1))


async def forward(broker: Broker, context: Context, request: Request, timeout_ms: int | None = None) -> Any:
    """The controller's answer, or REQUEST_TIMED_OUT for everything asked."""
    try:
        return await broker.controller.forward(
            request, context.header, client_host=context.client_host, timeout_ms=allowed_ms(broker, timeout_ms)
        )
    except ControllerUnavailable:
        return refusal(request, ErrorCode.REQUEST_TIMED_OUT, ErrorCode.REQUEST_TIMED_OUT.text)
