"""AlterConfigs (33), IncrementalAlterConfigs (44): configs of topics, brokers, groups and client metrics.

Owns what a change amounts to. What may be set is `config_rules.py`'s; values of broker configs were validated by the
broker that passed the request on, since only it knows its own static configuration.

Invariants: each resource is changed whole or not at all, and answered by itself; for a broker resource a record is
written even where the value stays (brokers reload what a path names, KAFKA-14136).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING

from blumfeld.cluster.controller.config_rules import is_list, type_name
from blumfeld.cluster.controller.decision import MAX_RECORDS_PER_OPERATION, NO_ERROR, ApiError, Decision, Turn
from blumfeld.cluster.image.configs import ConfigResource, ConfigResourceType
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_configs import AlterConfigsRequest, AlterConfigsResponse
from blumfeld.protocol.messages.incremental_alter_configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from blumfeld.protocol.messages.metadata_log import ConfigRecord

if TYPE_CHECKING:
    from blumfeld.protocol.schema import Record


class Operation(IntEnum):
    """What is done to one config."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


def incremental_alter_configs(
    turn: Turn, request: IncrementalAlterConfigsRequest
) -> Decision[IncrementalAlterConfigsResponse]:
    """Set, delete, append to and subtract from configs (KIP-339)."""
    records: list[Record] = []
    responses: list[IncrementalAlterConfigsResponse.Resource] = []
    counts = Counter((wanted.resource_type, wanted.resource_name) for wanted in request.resources)
    for wanted in request.resources:
        resource = ConfigResource(wanted.resource_type, wanted.resource_name)
        error = _why_not_this_resource(resource, counts[resource])
        if not error.is_failure:
            default = partial(turn.settings.configs.default, turn.image, resource)
            changes = incremental_changes(resource, turn.image.configs.of(resource), wanted.configs, default)
            error = changes if isinstance(changes, ApiError) else _change(turn, resource, changes, records)
        responses.append(
            IncrementalAlterConfigsResponse.Resource(
                error_code=error.code,
                error_message=error.message,
                resource_type=resource.type,
                resource_name=resource.name,
            )
        )
    return Decision([] if request.validate_only else records, IncrementalAlterConfigsResponse(responses=responses))


def alter_configs(turn: Turn, request: AlterConfigsRequest) -> Decision[AlterConfigsResponse]:
    """Replace all configs of each resource: what is not named goes."""
    records: list[Record] = []
    responses: list[AlterConfigsResponse.Resource] = []
    counts = Counter((wanted.resource_type, wanted.resource_name) for wanted in request.resources)
    for wanted in request.resources:
        resource = ConfigResource(wanted.resource_type, wanted.resource_name)
        error = _why_not_this_resource(resource, counts[resource])
        if not error.is_failure:
            changes: dict[str, str | None] = dict.fromkeys(turn.image.configs.of(resource))
            changes.update({config.name: config.value for config in wanted.configs})
            error = _change(turn, resource, changes, records)
        responses.append(
            AlterConfigsResponse.Resource(
                error_code=error.code,
                error_message=error.message,
                resource_type=resource.type,
                resource_name=resource.name,
            )
        )
    return Decision([] if request.validate_only else records, AlterConfigsResponse(responses=responses))


def _why_not_this_resource(resource: ConfigResource, count: int) -> ApiError:
    if count > 1:
        return ApiError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
    if type_name(resource.type) == ConfigResourceType.UNKNOWN.name:
        return ApiError(ErrorCode.UNSUPPORTED_VERSION, f"Unknown resource type {resource.type}.")
    return NO_ERROR


def incremental_changes(
    resource: ConfigResource,
    present: Mapping[str, str],
    configs: Sequence[IncrementalAlterConfigsRequest.Resource.Config],
    default: Callable[[str], str | None],
) -> dict[str, str | None] | ApiError:
    """What the operations amount to: new values by name, None deletes. `default`: what lists grow and shrink from."""
    changes: dict[str, str | None] = {}
    for config in configs:
        name, value = config.name, config.value
        match config.config_operation:
            case Operation.SET:
                changes[name] = value
            case Operation.DELETE:
                changes[name] = None
            case Operation.APPEND | Operation.SUBTRACT as code:
                operation = Operation(code)
                if not is_list(resource, name):
                    return ApiError(
                        ErrorCode.INVALID_CONFIG,
                        f"Can't {operation.name} to key {name} because its type is not LIST.",
                    )
                standing = present.get(name)
                changes[name] = _combined(
                    operation, (default(name) if standing is None else standing) or "", value or ""
                )
            case unknown:
                return ApiError(ErrorCode.INVALID_REQUEST, f"Unknown operations type {unknown}")
    return changes


def _combined(operation: Operation, standing: str, value: str) -> str:
    members = [member for member in standing.split(",") if member]
    for member in value.split(","):
        if operation is Operation.APPEND:
            if member not in members:
                members.append(member)
        elif member in members:
            members.remove(member)
    return ",".join(members)


def _change(turn: Turn, resource: ConfigResource, changes: Mapping[str, str | None], records: list[Record]) -> ApiError:
    present = turn.image.configs.of(resource)
    merged = {**present, **changes}
    error = turn.settings.configs.validate(
        turn.image, resource, {name: value for name, value in merged.items() if value is not None}
    )
    if error.is_failure:
        return error
    error = _why_not_existing(turn, resource)
    if error.is_failure:
        return error
    made = [
        ConfigRecord(resource_type=resource.type, resource_name=resource.name, name=name, value=value)
        for name, value in changes.items()
        if value != present.get(name) or resource.type == ConfigResourceType.BROKER
    ]
    if len(records) + len(made) > MAX_RECORDS_PER_OPERATION:
        return ApiError(ErrorCode.POLICY_VIOLATION, "Excessively large number of configs per request.")
    records.extend(made)
    return NO_ERROR


def _why_not_existing(turn: Turn, resource: ConfigResource) -> ApiError:
    """A topic, or a broker where one is named, must exist; groups and metrics subscriptions may come later."""
    if resource.type == ConfigResourceType.TOPIC:
        if turn.image.topics.get(resource.name) is None:
            return ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{resource.name}' does not exist.")
    elif resource.type == ConfigResourceType.BROKER and resource.name:
        broker_id = int(resource.name)
        known = broker_id in turn.image.cluster.brokers or broker_id in turn.settings.voter_ids
        if not known:
            return ApiError(ErrorCode.BROKER_ID_NOT_REGISTERED, f"No node with id {broker_id} found.")
    return NO_ERROR
