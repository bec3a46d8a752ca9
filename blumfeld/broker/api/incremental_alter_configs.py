"""IncrementalAlterConfigs 0–1: configs are set, deleted, appended to, subtracted from (KIP-339).

This broker checks what is said about itself; the controller does the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blumfeld.broker.config_changes import Changes, why_not_broker_configs, why_not_resource
from blumfeld.broker.forwarding import forward
from blumfeld.cluster.controller.alter_configs import Operation, incremental_changes
from blumfeld.cluster.controller.config_rules import is_list
from blumfeld.cluster.controller.decision import ApiError
from blumfeld.cluster.image.configs import ConfigResource, ConfigResourceType
from blumfeld.config.options import BROKER_OPTIONS
from blumfeld.config.values import format_value
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.incremental_alter_configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


_ON_LISTS: Final = (Operation.APPEND, Operation.SUBTRACT)


async def incremental_alter_configs(
    broker: Broker, context: Context, request: IncrementalAlterConfigsRequest
) -> IncrementalAlterConfigsResponse:
    """Refuse what can be refused here, pass the rest on, answer in the order asked."""
    changes = Changes(request.resources, lambda resource, wanted: _why_not(broker, resource, wanted))
    if changes.passed_on:
        inner = IncrementalAlterConfigsRequest(resources=changes.passed_on, validate_only=request.validate_only)
        response: IncrementalAlterConfigsResponse = await forward(broker, context, inner)
        changes.take(response.responses)
    return IncrementalAlterConfigsResponse(
        responses=[
            IncrementalAlterConfigsResponse.Resource(
                error_code=error.code,
                error_message=error.message,
                resource_type=resource.type,
                resource_name=resource.name,
            )
            for resource, error in changes.answers()
        ]
    )


def _why_not(
    broker: Broker, resource: ConfigResource, wanted: IncrementalAlterConfigsRequest.Resource
) -> ApiError | None:
    if resource.type == ConfigResourceType.BROKER_LOGGER:
        return ApiError(ErrorCode.INVALID_REQUEST, "This broker's loggers cannot be changed.")
    nulls = [c.name for c in wanted.configs if c.value is None and c.config_operation != Operation.DELETE]
    error = why_not_resource(broker, resource, [config.name for config in wanted.configs], nulls)
    if error is not None or resource.type != ConfigResourceType.BROKER:
        return error
    present = broker.image.configs.of(resource)
    for config in wanted.configs:
        if config.config_operation in _ON_LISTS and not is_list(resource, config.name):
            return _no_list(config.name, Operation(config.config_operation))
    changes = incremental_changes(resource, present, wanted.configs, _default)
    if isinstance(changes, ApiError):
        return changes
    merged = {name: value for name, value in {**present, **changes}.items() if value is not None}
    return why_not_broker_configs(merged, per_broker=bool(resource.name))


def _no_list(name: str, operation: Operation) -> ApiError:
    if name not in BROKER_OPTIONS:
        return ApiError(ErrorCode.INVALID_CONFIG, f"Unknown config name: {name}")
    what = operation.name.lower()
    return ApiError(ErrorCode.INVALID_CONFIG, f"Config value {what} is not allowed for config key: {name}")


def _default(name: str) -> str | None:
    option = BROKER_OPTIONS.get(name)
    return None if option is None else format_value(option, option.default)
