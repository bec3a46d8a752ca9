"""ListConfigResources 0–1: what may have configs (KIP-1142); version 0 lists client metrics subscriptions only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from blumfeld.cluster.image.configs import ConfigResourceType
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.list_config_resources import ListConfigResourcesRequest, ListConfigResourcesResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context

_ALL = (
    ConfigResourceType.GROUP,
    ConfigResourceType.CLIENT_METRICS,
    ConfigResourceType.BROKER_LOGGER,
    ConfigResourceType.BROKER,
    ConfigResourceType.TOPIC,
)


def list_config_resources(
    broker: Broker, context: Context, request: ListConfigResourcesRequest
) -> ListConfigResourcesResponse:
    """Names by type; no types asked for means all that the version knows."""
    known = _ALL if context.api_version > 0 else (ConfigResourceType.CLIENT_METRICS,)
    if any(kind not in known for kind in request.resource_types):
        return ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, config_resources=[])
    return ListConfigResourcesResponse(
        error_code=ErrorCode.NONE,
        config_resources=[
            ListConfigResourcesResponse.ConfigResource(resource_name=name, resource_type=kind)
            for kind in known
            if not request.resource_types or kind in request.resource_types
            for name in _names(broker, context, kind)
        ],
    )


def _names(broker: Broker, context: Context, kind: ConfigResourceType) -> Iterable[str]:
    image = broker.image
    match kind:
        case ConfigResourceType.TOPIC:
            return image.topics.by_name
        case ConfigResourceType.BROKER | ConfigResourceType.BROKER_LOGGER:
            brokers = sorted(image.cluster.brokers.items())
            return [str(node_id) for node_id, node in brokers if context.listener in node.listeners]
        case _:
            return [resource.name for resource in image.configs.resources if resource.type == kind]
