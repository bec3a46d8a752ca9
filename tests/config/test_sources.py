"""Sources of configuration: which wins, where a value comes from, how each is written."""

from __future__ import annotations

import pytest

from blumfeld.config.options import BROKER_OPTIONS
from blumfeld.config.sources import (
    Config,
    Layer,
    environment_properties,
    load,
    parse_properties,
    parse_settings,
    variable_of,
)
from blumfeld.config.values import ConfigError

_NAME = "num.partitions"


def test_the_later_source_wins() -> None:
    file = ("server.properties", f"{_NAME}=3")
    environment = {"KAFKA_NUM_PARTITIONS": "4"}
    settings = [f"{_NAME}=5"]
    steps = [
        (Config(), 1, "default"),
        (load(file=file), 3, "server.properties"),
        (load(file=file, environment=environment), 4, "environment"),
        (load(file=file, environment=environment, settings=settings), 5, "--set"),
        (load(file=file, settings=settings).with_dynamic({_NAME: "6"}, {}), 6, "dynamic config of the cluster"),
        (load().with_dynamic({_NAME: "6"}, {_NAME: "7"}), 7, "dynamic config of this broker"),
    ]
    for config, value, origin in steps:
        assert (config.int(_NAME), config.origin(_NAME)) == (value, origin)
    assert Config().is_given(_NAME) is False
    assert [setting.origin for setting in steps[3][0].settings(_NAME)] == ["--set", "environment", "server.properties"]


def test_a_profile_is_weaker_than_everything_but_the_defaults() -> None:
    name = "group.initial.rebalance.delay.ms"
    assert Config().int(name) == load(profile="none").int(name) == load(profile="durable").int(name) == 3_000
    assert load(profile="test").int(name) == 150
    assert load(profile="test").origin(name) == "profile test"
    assert load(profile="test", file=("f", f"{name}=9")).int(name) == 9
    with pytest.raises(ConfigError, match=r"'fast' .* one of test, dev, durable, none"):
        load(profile="fast")


@pytest.mark.parametrize(
    ("profile", "brokers", "replicas", "min_in_sync"),
    [("test", 1, 1, 1), ("test", 2, 2, 1), ("dev", 5, 3, 1), ("durable", 3, 3, 2), ("durable", 1, 1, 1)],
)
def test_replication_of_a_profile_fits_the_configured_brokers(
    profile: str, brokers: int, replicas: int, min_in_sync: int
) -> None:
    config = load(profile=profile, brokers=brokers)
    assert config.int("default.replication.factor") == replicas
    assert config.int("offsets.topic.replication.factor") == replicas
    assert config.int("transaction.state.log.replication.factor") == replicas
    assert config.int("transaction.state.log.min.isr") <= replicas
    assert config.int("min.insync.replicas") == min_in_sync


@pytest.mark.parametrize(
    ("sources", "origin"),
    [
        ({"file": ("my.properties", "num.partitions=none")}, "my.properties"),
        ({"environment": {"KAFKA_NUM_PARTITIONS": "none"}}, "environment"),
        ({"settings": ["num.partitions=none"]}, "--set"),
    ],
)
def test_a_wrong_value_is_refused_by_every_source(sources: dict[str, object], origin: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(**sources)  # type: ignore[arg-type]
    assert (
        str(refusal.value) == f"num.partitions: 'none' ({origin}) is not allowed; it must be a whole number, at least 1"
    )


def test_an_unknown_property_is_kept_and_warned_of() -> None:
    config = load(settings=["log.segment.byte=1", "remote.log.reader.threads=2"])
    assert config.unknown == {"log.segment.byte": "1", "remote.log.reader.threads": "2"}
    assert config.warnings == [
        "log.segment.byte (--set) is not known here and has no effect; did you mean log.segment.bytes?",
        "remote.log.reader.threads (--set) is not known here and has no effect",
    ]
    listener = load(settings=["listener.name.internal.max.connections=2"])
    assert (listener.warnings, len(listener.unknown)) == ([], 1)


def test_dynamic_configs_replace_earlier_ones_and_pass_over_what_is_not_allowed() -> None:
    static = load(settings=["max.connections=9"])
    config = static.with_dynamic({"max.connections": "5"}, {"num.partitions": "4"})
    assert (config.int("max.connections"), config.int("num.partitions")) == (5, 4)
    later = config.with_dynamic({"max.connections": "many"}, {})
    assert (later.int("max.connections"), later.int("num.partitions")) == (9, 1)
    assert "'many'" in later.warnings[-1]
    assert static.int("max.connections") == 9


def test_one_more_layer_goes_on_top() -> None:
    config = load(settings=["num.partitions=2"]).with_layer(Layer("launch", {"num.partitions": "3", "node.id": "7"}))
    assert (config.int("num.partitions"), config.node_id, config.origin("node.id")) == (3, 7, "launch")


def test_values_come_with_their_type() -> None:
    config = load(settings=["broker.rack=r1", "log.retention.ms=-1"])
    assert config.int("num.partitions") == config["num.partitions"] == 1
    assert config.long("connections.max.idle.ms") == 600_000
    assert config.short("offsets.topic.replication.factor") == 1
    assert config.double("log.cleaner.min.cleanable.ratio") == 0.5
    assert config.bool("auto.create.topics.enable") is True
    assert config.str("compression.type") == "producer"
    assert config.list("log.cleanup.policy") == ["delete"]
    assert config.list("advertised.listeners") == []
    assert (config.optional_str("broker.rack"), config.optional_str("metadata.log.dir")) == ("r1", None)
    assert (config.optional_int("log.retention.ms"), config.optional_int("log.roll.ms")) == (-1, None)
    assert (config.text("log.cleaner.min.cleanable.ratio"), config.text("log.roll.ms")) == ("0.5", None)
    assert len(config) == len(BROKER_OPTIONS) == len(list(config))
    with pytest.raises(AssertionError):
        config.int("compression.type")


def test_old_names_stand_in_where_the_new_ones_are_not_set() -> None:
    assert (load().node_id, load(settings=["broker.id=3"]).node_id) == (None, 3)
    assert load(settings=["broker.id=3", "node.id=4"]).node_id == 4
    assert load(settings=["log.dir=/a"]).log_dirs == ["/a"]
    assert load(settings=["log.dir=/a", "log.dirs=/b,/c"]).log_dirs == ["/b", "/c"]


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("KAFKA_LOG_SEGMENT_BYTES", "log.segment.bytes"),
        ("KAFKA_SSL_KEYSTORE__LOCATION", "ssl.keystore_location"),
        ("KAFKA_A___B_C__D", "a-b.c_d"),
        ("KAFKA_NODE_ID", "node.id"),
    ],
)
def test_variables_follow_the_rule_of_apaches_image(variable: str, name: str) -> None:
    assert environment_properties({variable: "x"}) == {name: "x"}
    assert variable_of(name) == variable


def test_every_option_can_be_given_by_its_variable() -> None:
    for name in BROKER_OPTIONS:
        assert environment_properties({variable_of(name): "x"}) == {name: "x"}


def test_variables_that_are_no_properties_are_left_out() -> None:
    environment = {"KAFKA_HEAP_OPTS": "-Xmx1g", "PATH": "/bin", "KAFKA_BOOTSTRAP_SERVERS": "x:1", "KAFKAESQUE": "1"}
    assert environment_properties(environment) == {}
    assert environment_properties({"KAFKA_CREATE_TOPICS": "a:1:1"}) == {"blumfeld.create.topics": "a:1:1"}


def test_properties_files_are_read_as_java_reads_them() -> None:
    text = """
# a comment
! another one
node.id = 1
  process.roles=broker,controller
listeners: PLAINTEXT://:9092,\\
    CONTROLLER://:9093
empty=
flag
spaced   value with spaces
back\\=slash=a\\\\b
escaped=tab\\there \\u00e9
last=no newline at the end"""
    assert parse_properties(text) == {
        "node.id": "1",
        "process.roles": "broker,controller",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "empty": "",
        "flag": "",
        "spaced": "value with spaces",
        "back=slash": "a\\b",
        "escaped": "tab\there é",
        "last": "no newline at the end",
    }
    assert parse_properties("a=1\\") == {"a": "1"}


def test_settings_are_name_and_value() -> None:
    assert parse_settings(["a=1", "b=x=y", "a=2"]) == {"a": "2", "b": "x=y"}
    for wrong in ("a", "=1"):
        with pytest.raises(ConfigError, match="written as name=value"):
            parse_settings([wrong])
