"""Configuration of topics: overrides over the broker's defaults, and topics to make at the start.

Owns the step from broker options to topic options, and `KAFKA_CREATE_TOPICS`. Knows no topic that exists.

Invariant: `topic_config` has a value for every topic option, of the option's type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from blumfeld.config.options import TOPIC_OPTIONS
from blumfeld.config.sources import Config
from blumfeld.config.values import ConfigError, Option, Value, parse

_TOPIC_CONFIG = "topic config"
_LONGEST_NAME = 249
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def topic_default(config: Config, option: Option) -> Value:
    """The value of a topic option that the topic does not override: from its first synonym that has a value."""
    for name, factor in option.synonyms:
        value = config[name]
        if value is not None:
            if factor == 1 or not isinstance(value, int):
                return value
            return -1 if value < 0 else value * factor
    return option.default


def topic_config(config: Config, overrides: Mapping[str, str] | None = None) -> dict[str, Value]:
    """Every topic option's value for a topic with `overrides`.

    Overrides that are unknown or not allowed are passed over: they were checked when they were set, perhaps by a newer
    node. `internal.segment.bytes` goes before `segment.bytes` where it has a value.
    """
    values = {name: topic_default(config, option) for name, option in TOPIC_OPTIONS.items()}
    for name, text in (overrides or {}).items():
        option = TOPIC_OPTIONS.get(name)
        if option is not None:
            try:
                values[name] = parse(option, text, _TOPIC_CONFIG)
            except ConfigError:
                continue
    if values["internal.segment.bytes"] is not None:
        values["segment.bytes"] = values["internal.segment.bytes"]
    return values


def check_overrides(config: Config, overrides: Mapping[str, str]) -> None:
    """Raise ConfigError where a topic's (complete) overrides are unknown, not allowed, or contradict each other."""
    for name, text in overrides.items():
        option = TOPIC_OPTIONS.get(name)
        if option is None:
            raise ConfigError(name, text, _TOPIC_CONFIG, "a topic config that is known")
        parse(option, text, _TOPIC_CONFIG)
    values = topic_config(config, overrides)
    low, high = values["min.compaction.lag.ms"], values["max.compaction.lag.ms"]
    assert isinstance(low, int)
    assert isinstance(high, int)
    if low > high:
        raise ConfigError("min.compaction.lag.ms", str(low), _TOPIC_CONFIG, f"at most max.compaction.lag.ms, {high}")
    if values["remote.storage.enable"]:
        raise ConfigError("remote.storage.enable", "true", _TOPIC_CONFIG, "false: there is no remote storage here")


class NewTopic(NamedTuple):
    """A topic to make at the start. -1 partitions or replicas: the default."""

    name: str
    partitions: int
    replicas: int
    configs: dict[str, str]


def parse_create_topics(config: Config) -> list[NewTopic]:
    """The topics of `KAFKA_CREATE_TOPICS`: `name[:partitions[:replicas[:cleanup policy]]]`, separated by commas.

    Raises ConfigError.
    """
    name = "blumfeld.create.topics"
    return [_parse_new_topic(item, name, config.origin(name)) for item in config.list(name) if item]


def _parse_new_topic(item: str, name: str, origin: str) -> NewTopic:
    form = ConfigError(name, item, origin, "name[:partitions[:replicas[:cleanup policy]]], separated by commas")
    topic, *rest = item.split(":")
    if len(rest) > 3 or topic_name_error(topic) is not None:
        raise form
    counts = [-1, -1]
    for position, text in enumerate(rest[:2]):
        if text:
            if not text.isascii() or not text.isdigit() or int(text) == 0:
                raise form
            counts[position] = int(text)
    configs = {}
    if len(rest) == 3 and rest[2]:
        policy = rest[2].replace("+", ",")
        parse(TOPIC_OPTIONS["cleanup.policy"], policy, origin)
        configs["cleanup.policy"] = policy
    return NewTopic(topic, counts[0], counts[1], configs)


def topic_name_error(name: str) -> str | None:
    """Why Apache Kafka would refuse a topic of that name; None where it would not."""
    if not name:
        return "the empty string is not allowed"
    if name in (".", ".."):
        return f"'{name}' is not allowed"
    if len(name) > _LONGEST_NAME:
        return f"the length of '{name}' is longer than the max allowed length {_LONGEST_NAME}"
    if not _NAME_CHARACTERS.issuperset(name):
        return f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    return None
