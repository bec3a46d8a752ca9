"""The options table as a page of the documentation.

Owns the page's form; the facts are the table's. `python -m blumfeld.config.document > docs/configuration.md` writes it,
and a test fails where the file is not what this module makes.
"""

from __future__ import annotations

import sys

from blumfeld.config.options import SECTIONS, TOPIC_OPTIONS
from blumfeld.config.profiles import PROFILES, profile_properties
from blumfeld.config.sources import variable_of
from blumfeld.config.values import Dynamic, Option, format_value

_HEAD = """# Configuration

This page is made from the options table (`blumfeld/config/tables/`): `python -m blumfeld.config.document` prints it.

Names, types, defaults and ranges are Apache Kafka 4's, but for those that begin with `blumfeld.`. Values come from
these sources; the later wins:

1. the defaults below,
2. the profile (`--profile`),
3. a properties file (`--config server.properties`),
4. the environment: `KAFKA_` and the name in capitals, with `.` written `_`, `_` written `__` and `-` written `___`
   (`KAFKA_LOG_SEGMENT_BYTES`); `KAFKA_CREATE_TOPICS` makes topics at the start,
5. the command line (`--set log.segment.bytes=1048576`),
6. dynamic configs of the cluster, then of the broker, set by AlterConfigs.

A property that is not known here is accepted with a warning. A value that is not allowed stops the start with an error
that names the property, the value, its source and what is allowed. A property marked † is known and checked, so that an
existing file works, but nothing here depends on it.

*Change* says whether a running broker's value can be altered: for one broker, for all (cluster), or not at all (–).
"""

_PROFILES = """## Profiles

`dev` is what `blumfeld up` takes, `test` the fixture, `durable` the container image, `none` is Apache Kafka's bare
defaults. Replication factors are those of a cluster configured with three brokers or more; with fewer they are the
number of brokers, because nothing could be created otherwise.

"""
_CHANGE = {Dynamic.READ_ONLY: "–", Dynamic.PER_BROKER: "broker", Dynamic.CLUSTER_WIDE: "cluster"}
_DASH = "–"


def markdown() -> str:
    """The whole page."""
    parts = [_HEAD, _PROFILES + _profile_table()]
    parts += [f"## {title}\n\n" + _broker_table(options) for title, options in SECTIONS.items()]
    parts.append("## Topics\n\nA topic without a value of its own takes the broker's.\n\n" + _topic_table())
    return "\n".join(parts)


def _profile_table() -> str:
    columns = {name: profile_properties(name, 3) for name in PROFILES if name != "none"}
    names = sorted({name for properties in columns.values() for name in properties})
    lines = ["| property | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name in names:
        cells = [properties.get(name, _DASH) for properties in columns.values()]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _broker_table(options: tuple[Option, ...]) -> str:
    lines = ["| property | type | default | allowed | change | |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{option.name}`{_mark(option)} | {option.type.name.lower()} | {_default(option)} | {_allowed(option)} "
        f"| {_CHANGE[option.dynamic]} | {option.text} |"
        for option in sorted(options, key=lambda option: option.name)
    ]
    return "\n".join(lines) + "\n"


def _topic_table() -> str:
    lines = ["| property | type | default | allowed | broker's property | |", "|---|---|---|---|---|---|"]
    for name in sorted(TOPIC_OPTIONS):
        option = TOPIC_OPTIONS[name]
        synonyms = ", ".join(f"`{synonym}`" for synonym, _ in option.synonyms) or _DASH
        lines.append(
            f"| `{name}`{_mark(option)} | {option.type.name.lower()} | {_default(option)} | {_allowed(option)} "
            f"| {synonyms} | {option.text} |"
        )
    return "\n".join(lines) + "\n"


def _mark(option: Option) -> str:
    return "" if option.effect else " †"


def _default(option: Option) -> str:
    text = format_value(option, option.default)
    return f"`{text}`" if text else _DASH


def _allowed(option: Option) -> str:
    return _DASH if option.valid is None else str(option.valid)


def describe_option(option: Option) -> str:
    """One option in a few lines of plain text: for `blumfeld config NAME`."""
    lines = [
        f"{option.name} ({option.type.name.lower()})",
        f"  {option.text}",
        f"  default: {format_value(option, option.default) or 'none'}",
        f"  allowed: {option.allowed}",
        f"  environment: {variable_of(option.name)}",
    ]
    if not option.effect:
        lines.append("  known, but nothing here depends on it")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(markdown())
