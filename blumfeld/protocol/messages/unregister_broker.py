"""UnregisterBroker (key 64): forget a broker that will not come back (KIP-631)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Int16, Int32, String
from blumfeld.protocol.schema import Request, Response


class UnregisterBrokerRequest(Request, key=ApiKey.UNREGISTER_BROKER, versions="0", flexible="0+"):
    """The broker's id."""

    broker_id: Int32


class UnregisterBrokerResponse(Response, key=ApiKey.UNREGISTER_BROKER, versions="0", flexible="0+"):
    """Done, or why not."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
