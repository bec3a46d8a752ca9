"""DeleteTopics, CreatePartitions, AssignReplicasToDirs."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.cluster.controller import create_partitions
from blumfeld.cluster.controller.assignments import place
from blumfeld.cluster.controller.decision import Turn
from blumfeld.cluster.image.directories import LOST_DIRECTORY
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.assign_replicas_to_dirs import AssignReplicasToDirsRequest
from blumfeld.protocol.messages.create_partitions import CreatePartitionsRequest
from blumfeld.protocol.messages.delete_topics import DeleteTopicsRequest
from blumfeld.protocol.primitives import ZERO_UUID
from tests.cluster.controller.story import Controller, uuid


@pytest.fixture
def controller() -> Controller:
    return Controller().with_brokers(1, 2, 3).with_topic("orders", 2, 2, configs={"retention.ms": "5"})


# DeleteTopics


def delete(controller: Controller, *topics: tuple[str | None, bytes]) -> list[tuple[Any, ...]]:
    wanted = [DeleteTopicsRequest.Topic(name=name, topic_id=topic_id) for name, topic_id in topics]
    response = controller.send(DeleteTopicsRequest(topics=wanted, timeout_ms=1000))
    return [(t.name, ErrorCode(t.error_code).name, t.error_message) for t in response.responses]


def test_a_topic_goes_with_its_partitions_and_configs(controller: Controller) -> None:
    response = controller.send(DeleteTopicsRequest(topic_names=["orders"], timeout_ms=1000), version=5)
    assert [(t.name, t.error_code) for t in response.responses] == [("orders", ErrorCode.NONE)]
    assert len(controller.written) == 1
    assert not controller.image.topics.by_name
    assert not controller.image.topics.by_id
    assert not controller.image.configs.of_topic("orders")
    assert controller.create("orders", 1, 1).error_code == ErrorCode.NONE


def test_a_topic_is_deleted_by_its_id(controller: Controller) -> None:
    assert delete(controller, (None, controller.topic_id("orders"))) == [("orders", "NONE", None)]


def test_what_cannot_be_deleted_is_told_one_by_one(controller: Controller) -> None:
    controller.with_topic("a", 1, 1).with_topic("b", 1, 1)
    topic_id = controller.topic_id("orders")
    answers = delete(
        controller,
        (None, ZERO_UUID),
        ("orders", topic_id),
        ("nowhere", ZERO_UUID),
        (None, uuid(5)),
        ("a", ZERO_UUID),
        ("a", ZERO_UUID),
        ("b", ZERO_UUID),
    )
    assert {(name, error) for name, error, _ in answers} == {
        (None, "INVALID_REQUEST"),
        ("orders", "INVALID_REQUEST"),
        ("nowhere", "UNKNOWN_TOPIC_OR_PARTITION"),
        (None, "UNKNOWN_TOPIC_ID"),
        ("a", "INVALID_REQUEST"),
        ("b", "NONE"),
    }
    assert set(controller.image.topics.by_name) == {"orders", "a"}


def test_a_topic_named_by_name_and_by_id_is_not_deleted(controller: Controller) -> None:
    answers = delete(controller, (None, controller.topic_id("orders")), ("orders", ZERO_UUID))
    assert answers == [
        ("orders", "INVALID_REQUEST", "The provided topic name maps to an ID that was already supplied.")
    ]


def test_deletion_can_be_disabled() -> None:
    controller = Controller({"delete.topic.enable": "false"}).with_brokers(1).with_topic("orders", 1, 1)
    assert delete(controller, ("orders", ZERO_UUID))[0][1] == "TOPIC_DELETION_DISABLED"
    response = controller.send(DeleteTopicsRequest(topic_names=["orders"], timeout_ms=1), version=2)
    assert response.responses[0].error_code == ErrorCode.INVALID_REQUEST
    assert controller.image.topics.get("orders") is not None


# CreatePartitions


def grow(
    controller: Controller, name: str, count: int, assignments: Any = None, **changes: bool
) -> tuple[ErrorCode, Any]:
    topic = CreatePartitionsRequest.Topic(
        name=name,
        count=count,
        assignments=None
        if assignments is None
        else [CreatePartitionsRequest.Topic.Assignment(broker_ids=replicas) for replicas in assignments],
    )
    request = CreatePartitionsRequest(
        topics=[topic], timeout_ms=1000, validate_only=changes.get("validate_only", False)
    )
    [result] = controller.send(request).results
    return ErrorCode(result.error_code), result.error_message


def test_a_topic_grows_with_its_own_replication_factor(controller: Controller) -> None:
    assert grow(controller, "orders", 5) == (ErrorCode.NONE, None)
    assert [len(controller.partition("orders", n).replicas) for n in range(5)] == [2] * 5
    assert len(controller.written) == 3


def test_a_topic_grows_by_hand(controller: Controller) -> None:
    assert grow(controller, "orders", 4, [[3, 1], [1, 2]]) == (ErrorCode.NONE, None)
    assert controller.partition("orders", 2).replicas == (3, 1)
    assert controller.partition("orders", 3).leader == 1


def test_validate_only_grows_nothing(controller: Controller) -> None:
    assert grow(controller, "orders", 5, validate_only=True) == (ErrorCode.NONE, None)
    assert controller.written == []


@pytest.mark.parametrize(
    ("name", "count", "assignments", "code", "message"),
    [
        ("nowhere", 3, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None),
        ("orders", 2, None, ErrorCode.INVALID_PARTITIONS, "Topic already has 2 partition(s)."),
        (
            "orders",
            1,
            None,
            ErrorCode.INVALID_PARTITIONS,
            "The topic orders currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            "orders",
            4,
            [[1, 2]],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            "orders",
            3,
            [[1]],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            (
                "The manual partition assignment includes a partition with 1 replica(s), but this is not consistent"
                " with previous partitions, which have 2 replica(s)."
            ),
        ),
        ("orders", 20_000, None, ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request."),
    ],
)
def test_growth_refused(
    controller: Controller, name: str, count: int, assignments: Any, code: ErrorCode, message: str | None
) -> None:
    assert grow(controller, name, count, assignments) == (code, message)
    assert controller.written == []


def test_a_topic_named_twice_does_not_grow(controller: Controller) -> None:
    topic = CreatePartitionsRequest.Topic(name="orders", count=5, assignments=None)
    response = controller.send(CreatePartitionsRequest(topics=[topic, topic], timeout_ms=1, validate_only=False))
    assert [(r.name, r.error_code, r.error_message) for r in response.results] == [
        ("orders", ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
    ]


def test_no_replicas_are_placed_for_more_partitions_than_one_request_may_make(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[int] = []

    def count(turn: Turn, wanted: int, factor: int) -> Any:
        placed.append(wanted)
        return place(turn, wanted, factor)

    monkeypatch.setattr(create_partitions, "place", count)
    names = [f"topic{number}" for number in range(5)]
    for name in names:
        controller.with_topic(name, assignments=[[1]])
    topics = [CreatePartitionsRequest.Topic(name=name, count=6_001, assignments=None) for name in names]
    response = controller.send(CreatePartitionsRequest(topics=topics, timeout_ms=1, validate_only=True))
    assert [r.error_code for r in response.results] == [ErrorCode.NONE] + [ErrorCode.POLICY_VIOLATION] * 4
    assert placed == [6_000]


# AssignReplicasToDirs


def assign(
    controller: Controller, broker_id: int, directory: bytes, *partitions: tuple[bytes, int], **changes: int
) -> Any:
    request = AssignReplicasToDirsRequest(
        broker_id=broker_id,
        broker_epoch=changes.get("broker_epoch", controller.epoch_of(broker_id)),
        directories=[
            AssignReplicasToDirsRequest.Directory(
                id=directory,
                topics=[
                    AssignReplicasToDirsRequest.Directory.Topic(
                        topic_id=topic_id,
                        partitions=[AssignReplicasToDirsRequest.Directory.Topic.Partition(partition_index=index)],
                    )
                    for topic_id, index in partitions
                ],
            )
        ],
    )
    response = controller.send(request)
    if response.error_code:
        return ErrorCode(response.error_code)
    return [
        ErrorCode(partition.error_code)
        for answer in response.directories
        for topic in answer.topics
        for partition in topic.partitions
    ]


def test_a_broker_says_where_its_replicas_lie() -> None:
    controller = Controller()
    controller.register(1, log_dirs=[uuid(11), uuid(12)])
    controller.unfence(1)
    controller.with_topic("orders", 2, 1)
    assert controller.partition("orders").directories == (ZERO_UUID,)
    topic_id = controller.topic_id("orders")
    assert assign(controller, 1, uuid(12), (topic_id, 0), (uuid(3), 0), (topic_id, 9)) == [
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert controller.partition("orders").directories == (uuid(12),)
    assert controller.partition("orders").leader_epoch == 0
    assert assign(controller, 1, uuid(12), broker_epoch=0) is ErrorCode.STALE_BROKER_EPOCH


def test_a_replica_in_a_directory_that_is_gone_leads_no_more(controller: Controller) -> None:
    controller.with_topic("pairs", assignments=[[1, 2]])
    assert assign(controller, 1, uuid(666), (controller.topic_id("pairs"), 0)) == [ErrorCode.NONE]
    partition = controller.partition("pairs")
    assert (partition.leader, partition.isr) == (2, (2,))
    assert assign(controller, 3, uuid(1003), (controller.topic_id("pairs"), 0)) == [ErrorCode.NOT_LEADER_OR_FOLLOWER]


def test_a_replica_that_was_lost_and_is_found_leads_again_where_nobody_does() -> None:
    controller = Controller().with_brokers(1).with_topic("orders", assignments=[[1]])
    topic_id = controller.topic_id("orders")
    assign(controller, 1, LOST_DIRECTORY, (topic_id, 0))
    assert (controller.partition("orders").leader, controller.partition("orders").isr) == (-1, (1,))
    assign(controller, 1, uuid(1001), (topic_id, 0))
    assert (controller.partition("orders").leader, controller.partition("orders").isr) == (1, (1,))
