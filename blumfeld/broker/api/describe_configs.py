"""DescribeConfigs 1–4: configs of topics, brokers, groups and client metrics, and their sources (KIP-226, KIP-569).

A broker describes itself; clients ask each broker about its own configs. Differs from Apache Kafka: there are no
broker loggers to describe (an error says so), and options that only Apache Kafka has are not among those described.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from blumfeld.broker.config_descriptions import describe_client_metrics, describe_group
from blumfeld.cluster.controller.config_rules import type_name
from blumfeld.cluster.controller.decision import ApiError
from blumfeld.cluster.controller.topic_names import invalid_topic_name
from blumfeld.cluster.image.configs import ConfigResource, ConfigResourceType
from blumfeld.config.describe import ConfigEntry, describe_broker, describe_topic
from blumfeld.config.sources import Config, Source
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Context, Member

_Result = DescribeConfigsResponse.Result
_Config = DescribeConfigsResponse.Result.Config


def describe_configs(member: Member, context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    """A result for each resource."""
    del context
    config = current_config(member)
    return DescribeConfigsResponse(results=[_result(member, config, request, wanted) for wanted in request.resources])


def current_config(member: Member) -> Config:
    """This broker's configuration under the cluster's dynamic configs."""
    configs = member.image.configs
    cluster, own = configs.cluster_defaults, configs.of_broker(member.node_id)
    return member.config.with_dynamic(cluster, own) if cluster or own else member.config


def _result(
    member: Member, config: Config, request: DescribeConfigsRequest, wanted: DescribeConfigsRequest.Resource
) -> _Result:
    resource = ConfigResource(wanted.resource_type, wanted.resource_name)
    found = _entries(member, config, resource)
    if isinstance(found, ApiError):
        return _Result(
            error_code=found.code,
            error_message=found.message,
            resource_type=resource.type,
            resource_name=resource.name,
            configs=[],
        )
    names = set(wanted.configuration_keys or ())
    return _Result(
        error_code=ErrorCode.NONE,
        error_message="",
        resource_type=resource.type,
        resource_name=resource.name,
        configs=[_config(entry, request) for entry in found if not names or entry.name in names],
    )


def _config(entry: ConfigEntry, request: DescribeConfigsRequest) -> _Config:
    synonyms = entry.synonyms if request.include_synonyms else ()
    return _Config(
        name=entry.name,
        value=entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        is_sensitive=entry.sensitive,
        synonyms=[_Config.Synonym(name=s.name, value=s.value, source=s.source) for s in synonyms],
        config_type=entry.type,
        documentation=entry.documentation if request.include_documentation else None,
    )


def _entries(member: Member, config: Config, resource: ConfigResource) -> Iterable[ConfigEntry] | ApiError:
    match resource.type:
        case ConfigResourceType.TOPIC:
            return _topic(member, config, resource.name)
        case ConfigResourceType.BROKER:
            return _broker(member, config, resource.name)
        case ConfigResourceType.BROKER_LOGGER:
            error = _why_not_this_broker(member, resource.name, "")
            return error or ApiError(ErrorCode.INVALID_REQUEST, "This broker's loggers cannot be described.")
        case ConfigResourceType.CLIENT_METRICS:
            if not resource.name:
                return ApiError(ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty")
            return describe_client_metrics(member.image.configs.of(resource))
        case ConfigResourceType.GROUP:
            if not resource.name:
                return ApiError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
            return describe_group(config, member.image.configs.of(resource))
        case other:
            return ApiError(ErrorCode.INVALID_REQUEST, f"Unexpected resource type {type_name(other)}")


def _topic(member: Member, config: Config, name: str) -> Iterable[ConfigEntry] | ApiError:
    invalid = invalid_topic_name(name)
    if invalid is not None:
        return ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION, invalid)
    if member.image.topics.get(name) is None:
        return ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "")
    return describe_topic(config, member.image.configs.of_topic(name))


def _broker(member: Member, config: Config, name: str) -> Iterable[ConfigEntry] | ApiError:
    if name:
        return _why_not_this_broker(member, name, " or empty string,") or describe_broker(config)
    defaults = member.image.configs.cluster_defaults
    return [_as_cluster_default(entry) for entry in describe_broker(config) if entry.name in defaults]


def _as_cluster_default(entry: ConfigEntry) -> ConfigEntry:
    """The entry as it is for all brokers: only what is set for all of them counts."""
    synonyms = tuple(s for s in entry.synonyms if s.source is Source.DYNAMIC_DEFAULT_BROKER)
    value = synonyms[0].value if synonyms else entry.value
    return entry._replace(value=value, source=Source.DYNAMIC_DEFAULT_BROKER, synonyms=synonyms)


def _why_not_this_broker(member: Member, name: str, or_empty: str) -> ApiError | None:
    if not name:
        return ApiError(ErrorCode.INVALID_REQUEST, "Broker id must not be empty")
    try:
        node_id = int(name, 10)
    except ValueError:
        return ApiError(ErrorCode.INVALID_REQUEST, f"Broker id must be an integer, but it is: {name}")
    if node_id == member.node_id:
        return None
    message = f"Unexpected broker id, expected {member.node_id}{or_empty} but received {name}"
    return ApiError(ErrorCode.INVALID_REQUEST, message)
