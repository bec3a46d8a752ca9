"""What this broker checks of a config change before the controller is asked.

Owns the tests that only the broker concerned can make: its own configs against its own static configuration.
Everything else, and all storing, is the controller's. Invariant: what passes here is parsed again when it is applied,
so a value that cannot be never gets into the metadata by this way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from blumfeld.cluster.controller.config_texts import why_not
from blumfeld.cluster.controller.decision import ApiError
from blumfeld.cluster.image.configs import ConfigResource, ConfigResourceType
from blumfeld.config.options import BROKER_OPTIONS, LISTENER_PREFIX
from blumfeld.config.values import Dynamic
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_configs import AlterConfigsRequest, AlterConfigsResponse
from blumfeld.protocol.messages.incremental_alter_configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker

_CHANGEABLE = (
    ConfigResourceType.TOPIC,
    ConfigResourceType.BROKER,
    ConfigResourceType.CLIENT_METRICS,
    ConfigResourceType.GROUP,
)


_TWICE = ApiError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")

_Wanted = TypeVar("_Wanted", AlterConfigsRequest.Resource, IncrementalAlterConfigsRequest.Resource)


class Changes(Generic[_Wanted]):
    """One request's resources, sorted out: `passed_on` for the controller; the others have their answer already."""

    def __init__(
        self, wanted: Sequence[_Wanted], why_not: Callable[[ConfigResource, _Wanted], ApiError | None]
    ) -> None:
        self.resources = [ConfigResource(part.resource_type, part.resource_name) for part in wanted]
        self.passed_on: list[_Wanted] = []
        self._answers: dict[ConfigResource, ApiError] = {}
        counts = Counter(self.resources)
        for resource, part in zip(self.resources, wanted, strict=True):
            error = why_not(resource, part) if counts[resource] == 1 else _TWICE
            if error is None:
                self.passed_on.append(part)
            else:
                self._answers[resource] = error

    def take(self, parts: Iterable[AlterConfigsResponse.Resource | IncrementalAlterConfigsResponse.Resource]) -> None:
        """What the controller says of those passed on."""
        for part in parts:
            resource = ConfigResource(part.resource_type, part.resource_name)
            self._answers[resource] = ApiError(ErrorCode(part.error_code), part.error_message)

    def answers(self) -> Iterator[tuple[ConfigResource, ApiError]]:
        """An answer for each resource, in the order asked."""
        return ((resource, self._answers[resource]) for resource in self.resources)


def why_not_resource(
    broker: Broker, resource: ConfigResource, names: Sequence[str], nulls: Sequence[str]
) -> ApiError | None:
    """Why a change of that resource is refused here, whatever the values: `nulls` have none but should."""

    def refused(message: str) -> ApiError:
        return ApiError(ErrorCode.INVALID_REQUEST, message)

    if len(set(names)) < len(names):
        return refused("Error due to duplicate config keys")
    if nulls:
        return refused(f"Null value not supported for : {', '.join(nulls)}")
    if resource.type not in _CHANGEABLE:
        return refused(f"Unknown resource type {resource.type}")
    if resource.type != ConfigResourceType.BROKER or not resource.name:
        return None
    try:
        node_id = int(resource.name, 10)
    except ValueError:
        return refused(f"Node id must be an integer, but it is: {resource.name}")
    if node_id != broker.node_id:
        return refused(f"Unexpected broker id, expected {broker.node_id}, but received {resource.name}")
    return None


def why_not_broker_configs(configs: Mapping[str, str], *, per_broker: bool) -> ApiError | None:
    """Why a broker, or all brokers, may not have these dynamic configs."""
    fixed, single = [], []
    for name, text in sorted(configs.items()):
        option = BROKER_OPTIONS.get(_base_name(name))
        if option is None:
            continue  # kept for who may know it, as by Apache Kafka
        if option.dynamic is Dynamic.READ_ONLY and name == option.name:
            fixed.append(name)
            continue
        reason = why_not(option, text)
        if reason is not None:
            return ApiError(ErrorCode.INVALID_REQUEST, reason)
        if option.dynamic is Dynamic.PER_BROKER and not per_broker:
            single.append(name)
    if fixed:
        message = f"Cannot update these configs dynamically: [{', '.join(fixed)}]"
        return ApiError(ErrorCode.INVALID_REQUEST, message)
    if single:
        message = (
            f"Cannot update these configs at default cluster level, broker id must be specified: [{', '.join(single)}]"
        )
        return ApiError(ErrorCode.INVALID_REQUEST, message)
    return None


def _base_name(name: str) -> str:
    """The property without the prefix that gives one listener a value of its own."""
    if not name.startswith(LISTENER_PREFIX):
        return name
    return name[len(LISTENER_PREFIX) :].partition(".")[2]
