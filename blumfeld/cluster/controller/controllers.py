"""Controllers that announce themselves, so that clients and UpdateFeatures know them (KIP-919).

Owns ControllerRegistration (70).
"""

from __future__ import annotations

from blumfeld.cluster.controller.decision import Decision, Turn
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.controller_registration import (
    ControllerRegistrationRequest,
    ControllerRegistrationResponse,
)
from blumfeld.protocol.messages.metadata_log import RegisterControllerRecord


def register_controller(turn: Turn, request: ControllerRegistrationRequest) -> Decision[ControllerRegistrationResponse]:
    """Write a controller's endpoints and features down."""
    del turn
    record = RegisterControllerRecord(
        controller_id=request.controller_id,
        incarnation_id=request.incarnation_id,
        zk_migration_ready=request.zk_migration_ready,
        end_points=[
            RegisterControllerRecord.Endpoint(
                name=listener.name,
                host=listener.host,
                port=listener.port,
                security_protocol=listener.security_protocol,
            )
            for listener in request.listeners
        ],
        features=[
            RegisterControllerRecord.Feature(
                name=feature.name,
                min_supported_version=feature.min_supported_version,
                max_supported_version=feature.max_supported_version,
            )
            for feature in request.features
        ],
    )
    return Decision([record], ControllerRegistrationResponse(error_code=ErrorCode.NONE, error_message=None))
