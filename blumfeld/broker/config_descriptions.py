"""Configs of groups and of client metrics subscriptions, described as DescribeConfigs wants them.

Owns the few options such resources have; those of brokers and topics are rows of the options table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from blumfeld.config.describe import ConfigEntry, Synonym
from blumfeld.config.options import BROKER_OPTIONS
from blumfeld.config.sources import Source
from blumfeld.config.values import Type, format_value

if TYPE_CHECKING:
    from blumfeld.config.sources import Config


class _Row(NamedTuple):
    name: str
    type: Type
    default: str
    text: str


_GROUP: Final = (
    _Row(
        "consumer.heartbeat.interval.ms",
        Type.INT,
        "group.consumer.heartbeat.interval.ms",
        "How often members of the group send heartbeats.",
    ),
    _Row(
        "consumer.session.timeout.ms",
        Type.INT,
        "group.consumer.session.timeout.ms",
        "How long a member of the group may be silent.",
    ),
)
_CLIENT_METRICS: Final = (
    _Row("interval.ms", Type.INT, "300000", "How often clients push their metrics."),
    _Row("match", Type.LIST, "", "Which clients push, as name=pattern."),
    _Row("metrics", Type.LIST, "", "The prefixes of the metrics that are pushed."),
)


def describe_group(config: Config, configs: Mapping[str, str]) -> Iterator[ConfigEntry]:
    """A group's configs; the broker's own are their defaults."""
    for row in _GROUP:
        synonyms = [Synonym(row.default, setting.text, setting.source) for setting in config.settings(row.default)]
        default = format_value(BROKER_OPTIONS[row.default], BROKER_OPTIONS[row.default].default)
        synonyms.append(Synonym(row.default, default, Source.DEFAULT))
        yield _entry(row, configs.get(row.name), synonyms, Source.GROUP)


def describe_client_metrics(configs: Mapping[str, str]) -> Iterator[ConfigEntry]:
    """A subscription's configs."""
    for row in _CLIENT_METRICS:
        entry = _entry(
            row, configs.get(row.name), [Synonym(row.name, row.default, Source.DEFAULT)], Source.CLIENT_METRICS
        )
        yield entry._replace(synonyms=entry.synonyms[:-1])


def _entry(row: _Row, value: str | None, defaults: list[Synonym], source: Source) -> ConfigEntry:
    synonyms = (*([] if value is None else [Synonym(row.name, value, source)]), *defaults)
    return ConfigEntry(
        name=row.name,
        value=synonyms[0].value,
        source=synonyms[0].source,
        read_only=False,
        sensitive=False,
        type=row.type,
        synonyms=synonyms,
        documentation=row.text,
    )
