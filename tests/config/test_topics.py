"""Configuration of topics: overrides over the broker's, contradictions refused, topics made at the start."""

from __future__ import annotations

import pytest

from blumfeld.config.options import TOPIC_OPTIONS
from blumfeld.config.sources import Config, load
from blumfeld.config.topics import NewTopic, check_overrides, parse_create_topics, topic_config, topic_name_error
from blumfeld.config.values import ConfigError


def test_a_topic_takes_the_brokers_values_unless_it_has_its_own() -> None:
    config = load(settings=["message.max.bytes=2000", "log.cleanup.policy=compact"])
    values = topic_config(config, {"max.message.bytes": "3000"})
    assert (values["max.message.bytes"], values["cleanup.policy"]) == (3_000, ["compact"])
    assert topic_config(config)["max.message.bytes"] == 2_000
    assert set(values) == set(TOPIC_OPTIONS)


@pytest.mark.parametrize(
    ("settings", "retention_ms"),
    [
        ([], 604_800_000),
        (["log.retention.hours=2"], 7_200_000),
        (["log.retention.hours=2", "log.retention.minutes=3"], 180_000),
        (["log.retention.hours=2", "log.retention.minutes=3", "log.retention.ms=4"], 4),
        (["log.retention.hours=-1"], -1),
    ],
)
def test_the_finest_unit_that_is_set_wins(settings: list[str], retention_ms: int) -> None:
    assert topic_config(load(settings=settings))["retention.ms"] == retention_ms


def test_flushing_by_time_falls_back_to_the_schedulers_interval() -> None:
    assert topic_config(Config())["flush.ms"] == (1 << 63) - 1
    assert topic_config(load(settings=["log.flush.scheduler.interval.ms=50"]))["flush.ms"] == 50
    both = ["log.flush.scheduler.interval.ms=50", "log.flush.interval.ms=9"]
    assert topic_config(load(settings=both))["flush.ms"] == 9


def test_the_internal_segment_size_goes_below_the_public_bound() -> None:
    assert topic_config(Config(), {"internal.segment.bytes": "500"})["segment.bytes"] == 500
    assert topic_config(Config(), {"segment.bytes": "500"})["segment.bytes"] == 1 << 30


def test_overrides_that_cannot_be_are_passed_over_when_used_and_refused_when_set() -> None:
    config = Config()
    for wrong in ({"retention.ms": "soon"}, {"nonsense": "1"}, {"segment.bytes": "500"}):
        assert topic_config(config, wrong) == topic_config(config)
        with pytest.raises(ConfigError):
            check_overrides(config, wrong)
    with pytest.raises(ConfigError, match=r"at most max\.compaction\.lag\.ms, 5"):
        check_overrides(config, {"min.compaction.lag.ms": "6", "max.compaction.lag.ms": "5"})
    with pytest.raises(ConfigError, match="no remote storage"):
        check_overrides(config, {"remote.storage.enable": "true"})
    check_overrides(config, {"cleanup.policy": "compact,delete", "retention.ms": "-1"})


def test_topics_to_make_at_the_start() -> None:
    environment = {"KAFKA_CREATE_TOPICS": "orders:3:1, users:1:1:compact,plain,log:2::compact+delete"}
    assert parse_create_topics(load(environment=environment)) == [
        NewTopic("orders", 3, 1, {}),
        NewTopic("users", 1, 1, {"cleanup.policy": "compact"}),
        NewTopic("plain", -1, -1, {}),
        NewTopic("log", 2, -1, {"cleanup.policy": "compact,delete"}),
    ]
    assert parse_create_topics(Config()) == []


@pytest.mark.parametrize("item", ["a:x", "a:0", "a:1:1:compact:5", ":1", "a b:1", "a:1:1:shred", "a:-1"])
def test_topics_written_wrongly_are_refused(item: str) -> None:
    with pytest.raises(ConfigError, match="environment"):
        parse_create_topics(load(environment={"KAFKA_CREATE_TOPICS": item}))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("orders", None),
        ("a.b_c-D9", None),
        ("x" * 249, None),
        ("", "empty"),
        (".", "'.' is not allowed"),
        ("..", "not allowed"),
        ("x" * 250, "longer than the max allowed length 249"),
        ("a/b", "other than ASCII alphanumerics"),
        ("é", "other than ASCII alphanumerics"),
    ],
)
def test_names_of_topics(name: str, wrong: str | None) -> None:
    error = topic_name_error(name)
    assert error is None if wrong is None else error is not None and wrong in error
