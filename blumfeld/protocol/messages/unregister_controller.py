"""UnregisterController (key 94): forget a controller that will not come back."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Int16, Int32, String
from blumfeld.protocol.schema import Request, Response


class UnregisterControllerRequest(Request, key=ApiKey.UNREGISTER_CONTROLLER, versions="0", flexible="0+"):
    """The controller's id."""

    controller_id: Int32


class UnregisterControllerResponse(Response, key=ApiKey.UNREGISTER_CONTROLLER, versions="0", flexible="0+"):
    """Done, or why not."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
