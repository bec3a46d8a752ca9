"""Dynamic configs by resource, exactly as set: no defaults, no validation.

Must never know what an option means (`config/options.py` does). Invariant: a resource without configs is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from blumfeld.protocol.messages.metadata_log import ConfigRecord
from blumfeld.protocol.schema import Record


class ConfigResourceType(IntEnum):
    """Kafka's resource types."""

    UNKNOWN = 0
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigResource(NamedTuple):
    """What a config belongs to. A broker resource with an empty name is the cluster-wide default."""

    type: int
    name: str

    @classmethod
    def topic(cls, name: str) -> ConfigResource:
        return cls(ConfigResourceType.TOPIC, name)

    @classmethod
    def broker(cls, broker_id: int | None) -> ConfigResource:
        return cls(ConfigResourceType.BROKER, "" if broker_id is None else str(broker_id))


_NONE: Mapping[str, str] = {}


class ConfigsImage(NamedTuple):
    """Configs by resource."""

    resources: Mapping[ConfigResource, Mapping[str, str]] = {}

    def of(self, resource: ConfigResource) -> Mapping[str, str]:
        return self.resources.get(resource, _NONE)

    def of_topic(self, name: str) -> Mapping[str, str]:
        return self.resources.get(ConfigResource(ConfigResourceType.TOPIC, name), _NONE)

    def of_broker(self, broker_id: int) -> Mapping[str, str]:
        """What is set for this broker alone, without the cluster-wide defaults."""
        return self.resources.get(ConfigResource(ConfigResourceType.BROKER, str(broker_id)), _NONE)

    @property
    def cluster_defaults(self) -> Mapping[str, str]:
        """What is set for all brokers."""
        return self.resources.get(ConfigResource(ConfigResourceType.BROKER, ""), _NONE)

    def to_records(self) -> Iterator[Record]:
        for resource, configs in self.resources.items():
            for name, value in configs.items():
                yield ConfigRecord(resource_type=resource.type, resource_name=resource.name, name=name, value=value)


class ConfigsDelta:
    """Replays config records over `image`. `changed` maps a resource to its changes; None deletes a config."""

    __slots__ = ("changed", "image")

    def __init__(self, image: ConfigsImage) -> None:
        self.image = image
        self.changed: dict[ConfigResource, dict[str, str | None]] = {}

    def replay_config(self, record: ConfigRecord) -> None:
        resource = ConfigResource(record.resource_type, record.resource_name)
        self.changed.setdefault(resource, {})[record.name] = record.value

    def replay_topic_removed(self, name: str) -> None:
        """A removed topic's configs go with it, without records of their own."""
        resource = ConfigResource.topic(name)
        standing: dict[str, str | None] = dict.fromkeys(self.image.of(resource))
        if standing:
            self.changed[resource] = standing
        else:
            self.changed.pop(resource, None)

    def apply(self) -> ConfigsImage:
        resources = dict(self.image.resources)
        for resource, changes in self.changed.items():
            merged = {**resources.get(resource, _NONE), **changes}
            configs = {name: value for name, value in merged.items() if value is not None}
            if configs:
                resources[resource] = configs
            else:
                resources.pop(resource, None)
        return ConfigsImage(resources)
