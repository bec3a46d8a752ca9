"""PushTelemetry (key 72): a client's metrics (KIP-714)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Bool, Bytes, Int8, Int16, Int32, Uuid
from blumfeld.protocol.schema import Request, Response


class PushTelemetryRequest(Request, key=ApiKey.PUSH_TELEMETRY, versions="0", flexible="0+"):
    """Metrics in OTLP, perhaps compressed."""

    client_instance_id: Uuid
    subscription_id: Int32
    terminating: Bool
    compression_type: Int8
    metrics: Bytes


class PushTelemetryResponse(Response, key=ApiKey.PUSH_TELEMETRY, versions="0", flexible="0+"):
    """Taken, or why not."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
