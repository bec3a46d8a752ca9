"""CreateTopics: what becomes of a topic, and why one is refused."""

from __future__ import annotations

import time

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.metadata_log import ConfigRecord, PartitionRecord, TopicRecord
from tests.cluster.controller.story import Controller, new_topic, uuid


@pytest.fixture
def controller() -> Controller:
    return Controller().with_brokers(1, 2, 3)


def test_a_topic_starts_with_all_replicas_in_sync_and_its_first_replica_leading(controller: Controller) -> None:
    result = controller.create("orders", 4, 3)
    assert (result.error_code, result.num_partitions, result.replication_factor) == (ErrorCode.NONE, 4, 3)
    for index in range(4):
        partition = controller.partition("orders", index)
        assert sorted(partition.replicas) == [1, 2, 3]
        assert partition.isr == partition.replicas
        assert partition.leader == partition.replicas[0]
        assert (partition.leader_epoch, partition.partition_epoch) == (0, 0)
        assert partition.directories == tuple(uuid(1000 + replica) for replica in partition.replicas)
    assert controller.topic_id("orders") == result.topic_id
    assert len({controller.partition("orders", index).leader for index in range(3)}) == 3


def test_records_are_written_in_kafkas_order(controller: Controller) -> None:
    controller.create("orders", 2, 1, configs={"retention.ms": "1000"})
    assert [type(record) for record in controller.written] == [
        TopicRecord,
        ConfigRecord,
        PartitionRecord,
        PartitionRecord,
    ]


def test_minus_one_takes_the_controllers_defaults() -> None:
    controller = Controller({"num.partitions": "5", "default.replication.factor": "2"}).with_brokers(1, 2)
    result = controller.create("orders")
    assert (result.num_partitions, result.replication_factor) == (5, 2)


def test_configs_are_stored_and_described_with_their_source(controller: Controller) -> None:
    result = controller.create("orders", 1, 1, configs={"retention.ms": "1000", "cleanup.policy": "compact"})
    assert controller.image.configs.of_topic("orders") == {"retention.ms": "1000", "cleanup.policy": "compact"}
    described = {config.name: config for config in result.configs or []}
    assert (described["retention.ms"].value, described["retention.ms"].config_source) == ("1000", 1)
    assert (described["segment.bytes"].value, described["segment.bytes"].config_source) == ("1073741824", 5)
    assert list(described) == sorted(described)


def test_validate_only_answers_and_writes_nothing(controller: Controller) -> None:
    assert controller.create("orders", 1, 1, validate_only=True).error_code == ErrorCode.NONE
    assert controller.written == []
    assert controller.image.topics.get("orders") is None


def test_a_manual_assignment_is_kept_and_fenced_replicas_are_not_in_sync(controller: Controller) -> None:
    controller.fence(2)
    result = controller.create("orders", assignments=[[2, 1, 3], [3, 2, 1]])
    assert result.error_code == ErrorCode.NONE
    first = controller.partition("orders", 0)
    assert (first.replicas, first.isr, first.leader) == ((2, 1, 3), (1, 3), 1)
    assert controller.partition("orders", 1).isr == (3, 1)


def test_a_fenced_broker_gets_replicas_but_no_leadership(controller: Controller) -> None:
    controller.fence(2)
    controller.create("orders", 6, 3)
    for index in range(6):
        partition = controller.partition("orders", index)
        assert 2 in partition.replicas
        assert partition.replicas[0] != 2
        assert 2 not in partition.isr


REFUSALS = {
    "exists": (("taken", 1, 1), {}, ErrorCode.TOPIC_ALREADY_EXISTS, "Topic 'taken' already exists."),
    "collides": (
        ("some_name", 1, 1),
        {},
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        "Topic 'some_name' collides with existing topic: some.name",
    ),
    "empty name": (
        ("", 1, 1),
        {},
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        "Topic name is invalid: the empty string is not allowed",
    ),
    "dots": ((".", 1, 1), {}, ErrorCode.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: '.' is not allowed"),
    "characters": (
        ("a b", 1, 1),
        {},
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
    ),
    "long name": (
        ("x" * 250, 1, 1),
        {},
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        f"Topic name is invalid: the length of '{'x' * 250}' is longer than the max allowed length 249",
    ),
    "zero partitions": (
        ("new", 0, 1),
        {},
        ErrorCode.INVALID_PARTITIONS,
        "Number of partitions was set to an invalid non-positive value.",
    ),
    "zero replicas": (
        ("new", 1, 0),
        {},
        ErrorCode.INVALID_REPLICATION_FACTOR,
        "Replication factor must be larger than 0, or -1 to use the default value.",
    ),
    "too many replicas": (
        ("new", 1, 4),
        {},
        ErrorCode.INVALID_REPLICATION_FACTOR,
        (
            "Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because"
            " only 3 broker(s) are registered or some brokers have all their log directories cordoned."
        ),
    ),
    "assignment and count": (
        ("new", 1, -1),
        {"assignments": [[1]]},
        ErrorCode.INVALID_REQUEST,
        "A manual partition assignment was specified, but numPartitions was not set to -1.",
    ),
    "assignment and factor": (
        ("new", -1, 1),
        {"assignments": [[1]]},
        ErrorCode.INVALID_REQUEST,
        "A manual partition assignment was specified, but replication factor was not set to -1.",
    ),
    "unknown broker": (
        ("new",),
        {"assignments": [[1, 7]]},
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        "The manual partition assignment includes broker 7, but no such broker is registered.",
    ),
    "broker twice": (
        ("new",),
        {"assignments": [[1, 1]]},
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        "The manual partition assignment includes the broker 1 more than once.",
    ),
    "uneven assignment": (
        ("new",),
        {"assignments": [[1, 2], [3]]},
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        (
            "The manual partition assignment includes a partition with 1 replica(s), but this is not consistent with"
            " previous partitions, which have 2 replica(s)."
        ),
    ),
    "empty assignment": (
        ("new",),
        {"assignments": [[]]},
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        "The manual partition assignment includes an empty replica list.",
    ),
    "unknown config": (
        ("new", 1, 1),
        {"configs": {"retention.milliseconds": "1"}},
        ErrorCode.INVALID_CONFIG,
        "Unknown topic config name: retention.milliseconds",
    ),
    "null config": (
        ("new", 1, 1),
        {"configs": {"retention.ms": None}},
        ErrorCode.INVALID_CONFIG,
        "Null value not supported for topic configs: retention.ms",
    ),
    "no number": (
        ("new", 1, 1),
        {"configs": {"retention.ms": "abc"}},
        ErrorCode.INVALID_CONFIG,
        "Invalid value abc for configuration retention.ms: Not a number of type LONG",
    ),
    "below range": (
        ("new", 1, 1),
        {"configs": {"retention.ms": "-2"}},
        ErrorCode.INVALID_CONFIG,
        "Invalid value -2 for configuration retention.ms: Value must be at least -1",
    ),
    "above range": (
        ("new", 1, 1),
        {"configs": {"min.cleanable.dirty.ratio": "1.5"}},
        ErrorCode.INVALID_CONFIG,
        "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
    ),
    "no boolean": (
        ("new", 1, 1),
        {"configs": {"preallocate": "yes"}},
        ErrorCode.INVALID_CONFIG,
        "Invalid value yes for configuration preallocate: Expected value to be either true or false",
    ),
    "no such choice": (
        ("new", 1, 1),
        {"configs": {"cleanup.policy": "shred"}},
        ErrorCode.INVALID_CONFIG,
        "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
    ),
    "contradiction": (
        ("new", 1, 1),
        {"configs": {"min.compaction.lag.ms": "20", "max.compaction.lag.ms": "10"}},
        ErrorCode.INVALID_CONFIG,
        "conflict topic config setting min.compaction.lag.ms (20) > max.compaction.lag.ms (10)",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_kafkas(controller: Controller, case: str) -> None:
    controller.with_topic("taken", 1, 1).with_topic("some.name", 1, 1)
    arguments, named, code, message = REFUSALS[case]
    result = controller.create(*arguments, **named)  # type: ignore[arg-type]
    assert (ErrorCode(result.error_code), result.error_message) == (code, message)
    assert controller.written == []


def test_the_whole_of_an_assignment_may_be_fenced(controller: Controller) -> None:
    controller.fence(2)
    result = controller.create("new", assignments=[[1], [2]])
    assert result.error_code == ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert result.error_message == (
        "All brokers specified in the manual partition assignment for partition 1 are fenced or in controlled shutdown."
    )


def test_partition_numbers_of_an_assignment_must_be_consecutive(controller: Controller) -> None:
    topic = new_topic("new", assignments=[[1], [2]])
    topic.assignments[1].partition_index = 2
    [result] = controller.send(CreateTopicsRequest(topics=[topic])).topics
    assert result.error_message == "partitions should be a consecutive 0-based integer sequence"
    topic.assignments[1].partition_index = 0
    [result] = controller.send(CreateTopicsRequest(topics=[topic])).topics
    assert result.error_message == "Found multiple manual partition assignments for partition 0"


def test_without_an_active_broker_no_topic_is_made() -> None:
    controller = Controller().with_brokers(1)
    controller.fence(1)
    result = controller.create("new", 1, 1)
    assert result.error_code == ErrorCode.INVALID_REPLICATION_FACTOR
    assert result.error_message == (
        "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log"
        " directories cordoned."
    )


def test_one_topic_refused_does_not_stop_the_others(controller: Controller) -> None:
    request = CreateTopicsRequest(topics=[new_topic("good", 1, 1), new_topic("bad", 1, 9), new_topic("fine", 1, 1)])
    response = controller.send(request)
    assert [(t.name, t.error_code) for t in response.topics] == [
        ("good", ErrorCode.NONE),
        ("bad", ErrorCode.INVALID_REPLICATION_FACTOR),
        ("fine", ErrorCode.NONE),
    ]
    assert set(controller.image.topics.by_name) == {"good", "fine"}


def test_a_name_given_twice_is_refused_once_and_the_metadata_topic_always(controller: Controller) -> None:
    names = ["twice", "once", "twice", "__cluster_metadata"]
    response = controller.send(CreateTopicsRequest(topics=[new_topic(name, 1, 1) for name in names]))
    assert [(t.name, t.error_code, t.error_message) for t in response.topics] == [
        ("once", ErrorCode.NONE, None),
        ("twice", ErrorCode.INVALID_REQUEST, "Duplicate topic name."),
        (
            "__cluster_metadata",
            ErrorCode.INVALID_REQUEST,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
    ]


def test_ten_thousand_partitions_are_the_most_for_one_request(controller: Controller) -> None:
    assert controller.create("big", 10_000, 1).error_code == ErrorCode.NONE
    result = controller.create("bigger", 10_001, 1)
    assert result.error_code == ErrorCode.POLICY_VIOLATION
    assert result.error_message == "Excessively large number of partitions per request."


def test_a_thousand_topics_are_decided_and_replayed_quickly(controller: Controller) -> None:
    request = CreateTopicsRequest(topics=[new_topic(f"topic-{n}", 1, 1) for n in range(1000)])
    started = time.process_time()
    response = controller.send(request)
    elapsed = time.process_time() - started
    assert len(response.topics) == len(controller.image.topics.by_name) == 1000
    assert elapsed < 1.0  # about 0.15 s; Apache Kafka takes 0.46 s end to end
