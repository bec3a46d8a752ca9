"""Heartbeat (key 12): a member of a classic group is alive."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, field


class HeartbeatRequest(Request, key=ApiKey.HEARTBEAT, versions="0-4", flexible="4+"):
    """Keeps the member's session; the answer tells of a rebalance.

    Versions: 3 static members (KIP-345).
    """

    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: String | None = field(versions="3+", default=None)


class HeartbeatResponse(Response, key=ApiKey.HEARTBEAT, versions="0-4", flexible="4+"):
    """REBALANCE_IN_PROGRESS asks the member to join again.

    Versions: 1 throttle time.
    """

    throttle_time_ms: Int32 = field(versions="1+", default=0, ignorable=True)
    error_code: Int16
