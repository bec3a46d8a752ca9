"""BrokerHeartbeat (key 63): a broker is alive, and says how far it has read the metadata (KIP-631)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, Int64, Uuid
from blumfeld.protocol.schema import Request, Response, field


class BrokerHeartbeatRequest(Request, key=ApiKey.BROKER_HEARTBEAT, versions="0-2", flexible="0+"):
    """Also how a broker asks to be unfenced or to shut down.

    Versions: 1 directories that failed (KIP-858); 2 directories that take no new replicas (KIP-1066).
    """

    broker_id: Int32
    broker_epoch: Int64 = -1
    current_metadata_offset: Int64
    want_fence: Bool
    want_shut_down: Bool
    offline_log_dirs: Array[Uuid] = field(versions="1+", tag=0, default=[])
    cordoned_log_dirs: Array[Uuid] | None = field(versions="2+", tag=1, default=None)


class BrokerHeartbeatResponse(Response, key=ApiKey.BROKER_HEARTBEAT, versions="0-2", flexible="0+"):
    """The controller's view: caught up, fenced, may shut down."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    is_caught_up: Bool = False
    is_fenced: Bool = True
    should_shut_down: Bool
