"""What DescribeConfigs answers: every option with its value, its source and its synonyms.

Owns the order of synonyms and what is hidden. Pure; knows no request and no image: dynamic values come with the
`Config`.

Invariants: a sensitive value is never in an entry; the first synonym is where the value comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import dropwhile
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


_FAMILIES = {
    name: tuple(other for other, _ in option.synonyms)
    for option in TOPIC_OPTIONS.values()
    if len(option.synonyms) > 1
    for name, _ in option.synonyms
}
"""Broker properties that mean the same in different units, by each of them."""


def describe_broker(config: Config) -> Iterator[ConfigEntry]:
    """Every broker option, by name."""
    for name in sorted(BROKER_OPTIONS):
        option = BROKER_OPTIONS[name]
        family = _FAMILIES.get(name, (name,))
        synonyms = tuple(_from(name, _settings(config, family)))
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
        synonyms = _topic_synonyms(config, option)
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


def _settings(config: Config, names: Sequence[str]) -> list[Synonym]:
    """What was given for broker properties that mean the same, and their defaults: by source, then as named."""
    found = []
    for name in names:
        option = BROKER_OPTIONS[name]
        found += [Synonym(name, _shown(option, given.text), given.source) for given in config.settings(name)]
        if option.default is not None:
            found.append(Synonym(name, _shown(option, format_value(option, option.default)), Source.DEFAULT))
    return sorted(found, key=lambda synonym: synonym.source)


def _from(name: str, synonyms: list[Synonym]) -> Iterator[Synonym]:
    return dropwhile(lambda synonym: synonym.name != name, synonyms)


def _topic_synonyms(config: Config, option: Option) -> list[Synonym]:
    """The broker's properties behind a topic's.

    Defaults in other units (hours) are told, as by Apache Kafka, only where the one in the topic's unit has a value.
    """
    names = [name for name, _ in option.synonyms]
    found = _settings(config, names)
    if any(synonym.name == names[0] for synonym in found):
        return found
    return [synonym for synonym in found if synonym.source is not Source.DEFAULT]


def _shown(option: Option, text: str | None) -> str | None:
    return None if option.sensitive else text


def _normal(option: Option, text: str) -> str | None:
    try:
        return format_value(option, parse(option, text, "topic config"))
    except ConfigError:
        return text
