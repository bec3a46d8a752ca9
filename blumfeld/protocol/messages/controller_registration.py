"""ControllerRegistration (key 70): a controller makes itself known to the active one (KIP-919)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, String, UInt16, Uuid
from blumfeld.protocol.schema import Request, Response, Struct


class ControllerRegistrationRequest(Request, key=ApiKey.CONTROLLER_REGISTRATION, versions="0", flexible="0+"):
    """Incarnation, listeners and features."""

    controller_id: Int32
    incarnation_id: Uuid
    zk_migration_ready: Bool
    listeners: Array[Listener]
    features: Array[Feature]

    class Listener(Struct):
        name: String
        host: String
        port: UInt16
        security_protocol: Int16

    class Feature(Struct):
        name: String
        min_supported_version: Int16
        max_supported_version: Int16


class ControllerRegistrationResponse(Response, key=ApiKey.CONTROLLER_REGISTRATION, versions="0", flexible="0+"):
    """Done, or why not."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
