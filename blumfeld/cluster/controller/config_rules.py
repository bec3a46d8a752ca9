"""What configs mean to the controller: effective values, and which may be set.

Owns the layering of dynamic configs over the static ones of this controller's node, and the validation
of dynamic configs. Must never know how they are stored (`cluster/image/configs.py`), nor what an option does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from blumfeld.cluster.controller.config_texts import why_not
from blumfeld.cluster.controller.decision import NO_ERROR, ApiError
from blumfeld.cluster.controller.other_configs import validate_client_metrics, validate_group
from blumfeld.cluster.controller.topic_names import invalid_topic_name
from blumfeld.cluster.image.configs import ConfigResource, ConfigResourceType
from blumfeld.config.describe import ConfigEntry, describe_topic
from blumfeld.config.options import BROKER_OPTIONS, TOPIC_OPTIONS
from blumfeld.config.sources import Config
from blumfeld.config.topics import topic_config, topic_default
from blumfeld.config.values import Option, Type, format_value
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.image.image import MetadataImage

MAX_VALUE_LENGTH: Final = 32_767

_NO_REMOTE_STORAGE = (
    "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
)
_UNCLEAN = "unclean.leader.election.enable"


class ConfigRules:
    """One controller's view on configs.

    Args:
        config: this node's static configuration.
        node_id: whose dynamic configs count.
    """

    def __init__(self, config: Config, node_id: int) -> None:
        self._static = config
        self._node_id = node_id
        self._seen: tuple[Mapping[str, str], Mapping[str, str]] | None = None
        self._config = config
        self._defaults: list[ConfigEntry] | None = None

    def unclean_leader_election(self, image: MetadataImage, topic: str) -> bool:
        """Whether a replica out of sync may lead this topic when no other is left."""
        value = image.configs.of_topic(topic).get(_UNCLEAN)
        if value is None:
            return self._node_config(image).bool(_UNCLEAN)
        return value.strip().lower() == "true"

    def describe_new_topic(self, image: MetadataImage, configs: Mapping[str, str]) -> list[ConfigEntry]:
        """Every option of a topic with these configs of its own, by name."""
        config = self._node_config(image)
        if self._defaults is None:
            self._defaults = list(describe_topic(config, {}))
        return list(describe_topic(config, configs)) if configs else self._defaults

    def default(self, image: MetadataImage, resource: ConfigResource, name: str) -> str | None:
        """What a config is where nothing is set for the resource; lists are appended to and subtracted from it."""
        option = option_of(resource, name)
        if option is None:
            return None
        if resource.type == ConfigResourceType.TOPIC:
            return format_value(option, topic_default(self._node_config(image), option))
        return format_value(option, option.default)

    def validate(self, image: MetadataImage, resource: ConfigResource, configs: Mapping[str, str]) -> ApiError:
        """Whether the resource may have exactly these configs."""
        for value in configs.values():
            if len(value) > MAX_VALUE_LENGTH:
                return ApiError(
                    ErrorCode.INVALID_CONFIG,
                    "The configuration value cannot be added because it exceeds the maximum value size of"
                    f" {MAX_VALUE_LENGTH} bytes.",
                )
        match resource.type:
            case ConfigResourceType.TOPIC:
                return self._validate_topic(image, resource.name, configs)
            case ConfigResourceType.BROKER:
                return _validate_broker_name(resource.name)
            case ConfigResourceType.CLIENT_METRICS:
                return validate_client_metrics(resource.name, configs)
            case ConfigResourceType.GROUP:
                return validate_group(self._node_config(image), resource.name, configs)
            case other:
                return ApiError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {type_name(other)}")

    def _validate_topic(self, image: MetadataImage, name: str, configs: Mapping[str, str]) -> ApiError:
        if not name:
            return ApiError(ErrorCode.INVALID_REQUEST, "Default topic resources are not allowed.")
        invalid = invalid_topic_name(name)
        if invalid is not None:
            return ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION, invalid)
        error = _validate_names(configs, TOPIC_OPTIONS, "Unknown topic config name: {}")
        if error.is_failure:
            return error
        for key, text in configs.items():
            reason = why_not(TOPIC_OPTIONS[key], text)
            if reason is not None:
                return ApiError(ErrorCode.INVALID_CONFIG, reason)
        if "min.compaction.lag.ms" in configs or "max.compaction.lag.ms" in configs:
            return self._validate_compaction_lag(image, configs)
        if configs.get("remote.storage.enable", "").strip().lower() == "true":
            return ApiError(ErrorCode.INVALID_CONFIG, _NO_REMOTE_STORAGE)
        return NO_ERROR

    def _validate_compaction_lag(self, image: MetadataImage, configs: Mapping[str, str]) -> ApiError:
        names = ("min.compaction.lag.ms", "max.compaction.lag.ms")
        values = topic_config(self._node_config(image), configs)
        low, high = values[names[0]], values[names[1]]
        assert isinstance(low, int)
        assert isinstance(high, int)
        if low <= high:
            return NO_ERROR
        message = f"conflict topic config setting {names[0]} ({low}) > {names[1]} ({high})"
        return ApiError(ErrorCode.INVALID_CONFIG, message)

    def _node_config(self, image: MetadataImage) -> Config:
        """This node's configuration under the dynamic configs of `image`; made anew only when those change."""
        layers = (image.configs.cluster_defaults, image.configs.of_broker(self._node_id))
        if self._seen is None or self._seen[0] is not layers[0] or self._seen[1] is not layers[1]:
            self._config = self._static.with_dynamic(*layers) if any(layers) else self._static
            self._seen = layers
            self._defaults = None
        return self._config


def option_of(resource: ConfigResource, name: str) -> Option | None:
    """The row of the options table that a resource's config belongs to."""
    if resource.type == ConfigResourceType.TOPIC:
        return TOPIC_OPTIONS.get(name)
    if resource.type == ConfigResourceType.BROKER:
        return BROKER_OPTIONS.get(name)
    return None


def is_list(resource: ConfigResource, name: str) -> bool:
    option = option_of(resource, name)
    return option is not None and option.type is Type.LIST


def type_name(resource_type: int) -> str:
    try:
        return ConfigResourceType(resource_type).name
    except ValueError:
        return ConfigResourceType.UNKNOWN.name


def _validate_names(configs: Mapping[str, str], known: object, complaint: str) -> ApiError:
    assert isinstance(known, Mapping | frozenset)
    for name in configs:
        if name not in known:
            return ApiError(ErrorCode.INVALID_CONFIG, complaint.format(name))
    return NO_ERROR


def _validate_broker_name(name: str) -> ApiError:
    if not name:
        return NO_ERROR
    try:
        broker_id = int(name, 10)
    except ValueError:
        return ApiError(ErrorCode.INVALID_REQUEST, "Unable to parse broker name as a base 10 number.")
    if broker_id < 0:
        return ApiError(ErrorCode.INVALID_REQUEST, "Invalid negative broker ID.")
    return NO_ERROR
