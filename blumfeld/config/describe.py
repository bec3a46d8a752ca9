"""What DescribeConfigs answers: every option with its value, its source and its synonyms.

Owns the order of synonyms and what is hidden. Pure; knows no request and no image: dynamic values come with the
`Config`.

Invariants: a sensitive value is never in an entry; the first synonym is where the value comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from blumfeld.config.options import BROKER_OPTIONS, TOPIC_OPTIONS
from blumfeld.config.sources import Config, Source
from blumfeld.config.topics import topic_default
from blumfeld.config.values import ConfigError, Dynamic, Option, Type, format_value, parse


class Synonym(NamedTuple):
    """One property that could give the value, from the strongest to the weakest."""

    name: str
    value: str | None
    source: Source


class ConfigEntry(NamedTuple):
    """One option as DescribeConfigs shows it. `value` is None where it has none, or is sensitive."""

    name: str
    value: str | None
    source: Source
    read_only: bool
    sensitive: bool
    type: Type
    synonyms: tuple[Synonym, ...]
    documentation: str

    @property
    def is_default(self) -> bool:
        """Whether nobody gave the option a value."""
        return self.source is Source.DEFAULT


def describe_broker(config: Config) -> Iterator[ConfigEntry]:
    """Every broker option, by name."""
    for name in sorted(BROKER_OPTIONS):
        option = BROKER_OPTIONS[name]
        synonyms = tuple(_broker_synonyms(config, option))
        yield ConfigEntry(
            name,
            _shown(option, config.text(name)),
            synonyms[0].source if synonyms else Source.DEFAULT,
            option.dynamic is Dynamic.READ_ONLY,
            option.sensitive,
            option.type,
            synonyms,
            option.text,
        )


def describe_topic(config: Config, overrides: Mapping[str, str]) -> Iterator[ConfigEntry]:
    """Every topic option, by name, of a topic with `overrides`. Internal ones are left out unless overridden."""
    for name in sorted(TOPIC_OPTIONS):
        option = TOPIC_OPTIONS[name]
        text = overrides.get(name)
        if text is None and name.startswith("internal."):
            continue
        synonyms = list(_topic_synonyms(config, option))
        if text is not None:
            text = _normal(option, text)
            synonyms.insert(0, Synonym(name, _shown(option, text), Source.DYNAMIC_TOPIC))
        else:
            text = format_value(option, topic_default(config, option))
        yield ConfigEntry(
            name,
            _shown(option, text),
            synonyms[0].source if synonyms else Source.DEFAULT,
            False,
            option.sensitive,
            option.type,
            tuple(synonyms),
            option.text,
        )


def _broker_synonyms(config: Config, option: Option) -> Iterator[Synonym]:
    for setting in config.settings(option.name):
        yield Synonym(option.name, _shown(option, setting.text), setting.source)
    if option.default is not None:
        yield Synonym(option.name, _shown(option, format_value(option, option.default)), Source.DEFAULT)


def _topic_synonyms(config: Config, option: Option) -> Iterator[Synonym]:
    """The broker property of the same unit with its default; of those in other units (hours) only what was given."""
    for position, (name, _) in enumerate(option.synonyms):
        for synonym in _broker_synonyms(config, BROKER_OPTIONS[name]):
            if position == 0 or synonym.source is not Source.DEFAULT:
                yield synonym


def _shown(option: Option, text: str | None) -> str | None:
    return None if option.sensitive else text


def _normal(option: Option, text: str) -> str | None:
    try:
        return format_value(option, parse(option, text, "topic config"))
    except ConfigError:
        return text
