"""What DescribeConfigs answers of brokers and topics."""

from __future__ import annotations

from blumfeld.config.describe import ConfigEntry, Synonym, describe_broker, describe_topic
from blumfeld.config.options import BROKER_OPTIONS
from blumfeld.config.sources import Config, Source, load
from blumfeld.config.values import Type


def broker(config: Config, name: str) -> ConfigEntry:
    return next(entry for entry in describe_broker(config) if entry.name == name)


def topic(config: Config, overrides: dict[str, str], name: str) -> ConfigEntry:
    return next(entry for entry in describe_topic(config, overrides) if entry.name == name)


def test_a_broker_option_tells_every_source_strongest_first() -> None:
    config = load(settings=["max.connections=100"]).with_dynamic({"max.connections": "50"}, {"max.connections": "20"})
    entry = broker(config, "max.connections")
    assert (entry.value, entry.source, entry.is_default) == ("20", Source.DYNAMIC_BROKER, False)
    assert (entry.read_only, entry.sensitive, entry.type) == (False, False, Type.INT)
    assert entry.synonyms == (
        Synonym("max.connections", "20", Source.DYNAMIC_BROKER),
        Synonym("max.connections", "50", Source.DYNAMIC_DEFAULT_BROKER),
        Synonym("max.connections", "100", Source.STATIC_BROKER),
        Synonym("max.connections", "2147483647", Source.DEFAULT),
    )
    assert entry.documentation == BROKER_OPTIONS["max.connections"].text


def test_an_option_that_nobody_set_is_a_default() -> None:
    entry = broker(Config(), "num.partitions")
    assert (entry.value, entry.source, entry.is_default, entry.read_only) == ("1", Source.DEFAULT, True, True)
    unset = broker(Config(), "log.retention.ms")
    assert (unset.value, unset.source, unset.synonyms) == (None, Source.DEFAULT, ())


def test_every_broker_option_is_described_by_name() -> None:
    names = [entry.name for entry in describe_broker(Config())]
    assert names == sorted(BROKER_OPTIONS)


def test_a_topic_option_tells_its_own_value_and_the_brokers() -> None:
    config = load(settings=["log.retention.hours=5"])
    entry = topic(config, {"retention.ms": "1000"}, "retention.ms")
    assert (entry.value, entry.source, entry.read_only) == ("1000", Source.DYNAMIC_TOPIC, False)
    assert entry.synonyms == (
        Synonym("retention.ms", "1000", Source.DYNAMIC_TOPIC),
        Synonym("log.retention.hours", "5", Source.STATIC_BROKER),
    ), "the default of hours is not told, as Apache Kafka does not"
    plain = topic(config, {}, "retention.ms")
    assert (plain.value, plain.source, plain.is_default) == ("18000000", Source.STATIC_BROKER, False)


def test_properties_in_other_units_are_synonyms_of_one_that_is_given() -> None:
    config = load(settings=["log.retention.ms=7"])
    given = Synonym("log.retention.ms", "7", Source.STATIC_BROKER)
    hours = Synonym("log.retention.hours", "168", Source.DEFAULT)
    assert topic(config, {}, "retention.ms").synonyms == (given, hours)
    broker = {entry.name: entry.synonyms for entry in describe_broker(config)}
    assert broker["log.retention.ms"] == (given, hours)
    assert broker["log.retention.hours"] == (hours,)
    assert broker["log.retention.minutes"] == ()


def test_values_are_written_as_apache_kafka_writes_them() -> None:
    overrides = {"cleanup.policy": "compact, delete", "min.cleanable.dirty.ratio": "1", "retention.ms": "later"}
    values = {entry.name: entry.value for entry in describe_topic(Config(), overrides)}
    assert values["cleanup.policy"] == "compact,delete"
    assert values["min.cleanable.dirty.ratio"] == "1.0"
    assert values["retention.ms"] == "later"  # by a newer node, perhaps: shown as it is
    assert (values["preallocate"], values["compression.type"]) == ("false", "producer")
    assert "internal.segment.bytes" not in values


def test_an_internal_option_is_shown_once_it_is_set() -> None:
    assert topic(Config(), {"internal.segment.bytes": "500"}, "internal.segment.bytes").value == "500"
