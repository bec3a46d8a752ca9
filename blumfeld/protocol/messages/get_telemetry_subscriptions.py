"""GetTelemetrySubscriptions (key 71): which metrics a client shall push (KIP-714)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int8, Int16, Int32, String, Uuid
from blumfeld.protocol.schema import Request, Response


class GetTelemetrySubscriptionsRequest(Request, key=ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, versions="0", flexible="0+"):
    """The client's instance id; zero asks for one."""

    client_instance_id: Uuid


class GetTelemetrySubscriptionsResponse(Response, key=ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, versions="0", flexible="0+"):
    """The subscription."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    client_instance_id: Uuid
    subscription_id: Int32
    accepted_compression_types: Array[Int8]
    push_interval_ms: Int32
    telemetry_max_bytes: Int32
    delta_temporality: Bool
    requested_metrics: Array[String]
