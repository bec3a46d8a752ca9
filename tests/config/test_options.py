"""The table itself: rows that agree with one another and, where it runs here, with Apache Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest

from blumfeld.config.options import BROKER_OPTIONS, SECTIONS, TOPIC_OPTIONS, is_known
from blumfeld.config.sources import is_own
from blumfeld.config.values import Dynamic, Type, format_value

_RECORDED = {
    # name: type, default, dynamic, as Apache Kafka 4.3.1 prints them
    "log.segment.bytes": ("INT", "1073741824", Dynamic.CLUSTER_WIDE),
    "log.retention.ms": ("LONG", None, Dynamic.CLUSTER_WIDE),
    "log.retention.hours": ("INT", "168", Dynamic.READ_ONLY),
    "log.cleaner.io.max.bytes.per.second": ("DOUBLE", "1.7976931348623157E308", Dynamic.CLUSTER_WIDE),
    "log.cleanup.policy": ("LIST", "delete", Dynamic.CLUSTER_WIDE),
    "message.max.bytes": ("INT", "1048588", Dynamic.CLUSTER_WIDE),
    "fetch.max.bytes": ("INT", "57671680", Dynamic.READ_ONLY),
    "listeners": ("LIST", "PLAINTEXT://:9092", Dynamic.PER_BROKER),
    "offsets.topic.replication.factor": ("SHORT", "3", Dynamic.READ_ONLY),
    "unclean.leader.election.enable": ("BOOLEAN", "false", Dynamic.CLUSTER_WIDE),
    "metadata.max.retention.bytes": ("LONG", "104857600", Dynamic.READ_ONLY),
}


def test_names_types_and_defaults_are_apache_kafkas() -> None:
    for name, (kind, default, dynamic) in _RECORDED.items():
        row = BROKER_OPTIONS[name]
        assert (row.type.name, format_value(row, row.default), row.dynamic) == (kind, default, dynamic), name


def test_synonyms_exist_and_have_the_topic_options_kind_of_value() -> None:
    numbers = {Type.INT, Type.LONG, Type.SHORT}
    for row in TOPIC_OPTIONS.values():
        for name, factor in row.synonyms:
            broker = BROKER_OPTIONS[name]
            assert broker.type is row.type or {broker.type, row.type} <= numbers
            assert factor == 1 or broker.type in numbers
            if factor == 1 and len(row.synonyms) == 1:
                assert (broker.default, broker.valid) == (row.default, row.valid), name


def test_texts_are_sentences_and_of_one_line() -> None:
    for table in (BROKER_OPTIONS, TOPIC_OPTIONS):
        for row in table.values():
            assert row.text[0].isupper(), row.name
            assert row.text.endswith((".", "…", ")")), row.name
            assert "\n" not in row.text
            assert "|" not in row.text


def test_an_option_with_effect_is_read_somewhere_and_one_without_nowhere() -> None:
    package = Path(__file__).parents[2] / "blumfeld"
    sources = [path for path in package.rglob("*.py") if path.parent.name != "tables"]
    text = "\n".join(path.read_text() for path in sources)
    defaults = {name for row in TOPIC_OPTIONS.values() if row.effect for name, _ in row.synonyms}
    read = {name for name in BROKER_OPTIONS if f'"{name}"' in text or name in defaults}
    assert {name for name, row in BROKER_OPTIONS.items() if row.effect} == read


def test_own_options_say_so_in_their_names() -> None:
    own = {row.name for row in BROKER_OPTIONS.values() if is_own(row)}
    assert own == {row.name for row in SECTIONS["Blumfeld's own"]}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("log.dirs", True),
        ("listener.name.internal.max.connections", True),
        ("listener.name.internal.nonsense", False),
        ("log.dirz", False),
    ],
)
def test_known_names(name: str, known: bool) -> None:
    assert is_known(name) is known
