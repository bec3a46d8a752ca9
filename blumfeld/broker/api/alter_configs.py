"""AlterConfigs 0–2: all configs of a resource are replaced. IncrementalAlterConfigs is the better choice.

This broker checks what is said about itself; the controller does the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.broker.config_changes import Changes, why_not_broker_configs, why_not_resource
from blumfeld.broker.forwarding import forward
from blumfeld.cluster.controller.decision import ApiError
from blumfeld.cluster.image.configs import ConfigResource, ConfigResourceType
from blumfeld.protocol.messages.alter_configs import AlterConfigsRequest, AlterConfigsResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


async def alter_configs(broker: Broker, context: Context, request: AlterConfigsRequest) -> AlterConfigsResponse:
    """Refuse what can be refused here, pass the rest on, answer in the order asked."""
    changes = Changes(request.resources, lambda resource, wanted: _why_not(broker, resource, wanted))
    if changes.passed_on:
        inner = AlterConfigsRequest(resources=changes.passed_on, validate_only=request.validate_only)
        response: AlterConfigsResponse = await forward(broker, context, inner)
        changes.take(response.responses)
    return AlterConfigsResponse(
        responses=[
            AlterConfigsResponse.Resource(
                error_code=error.code,
                error_message=error.message,
                resource_type=resource.type,
                resource_name=resource.name,
            )
            for resource, error in changes.answers()
        ]
    )


def _why_not(broker: Broker, resource: ConfigResource, wanted: AlterConfigsRequest.Resource) -> ApiError | None:
    nulls = [config.name for config in wanted.configs if config.value is None]
    error = why_not_resource(broker, resource, [config.name for config in wanted.configs], nulls)
    if error is None and resource.type == ConfigResourceType.BROKER:
        configs = {config.name: config.value for config in wanted.configs if config.value is not None}
        error = why_not_broker_configs(configs, per_broker=bool(resource.name))
    return error
