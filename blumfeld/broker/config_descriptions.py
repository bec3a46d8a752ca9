"""Configs of groups and of client metrics subscriptions, described as DescribeConfigs wants them.

Owns the few options such resources have; those of brokers and topics are rows of the options table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from blumfeld.config.describe import ConfigEntry, Synonym
from blumfeld.config.sources import Source
from blumfeld.config.values import Type

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
        yield _entry(row, configs.get(row.name), config.text(row.default), Source.GROUP)


def describe_client_metrics(configs: Mapping[str, str]) -> Iterator[ConfigEntry]:
    """A subscription's configs."""
    for row in _CLIENT_METRICS:
        yield _entry(row, configs.get(row.name), row.default, Source.CLIENT_METRICS)


def _entry(row: _Row, value: str | None, default: str | None, source: Source) -> ConfigEntry:
    given = value is not None
    synonyms = (Synonym(row.name, value, source),) if given else ()
    return ConfigEntry(
        name=row.name,
        value=value if given else default,
        source=source if given else Source.DEFAULT,
        read_only=False,
        sensitive=False,
        type=row.type,
        synonyms=synonyms,
        documentation=row.text,
    )
