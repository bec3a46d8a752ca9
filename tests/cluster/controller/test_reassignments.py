"""Reassignments: begun, changed, completed, cancelled, listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from blumfeld.protocol.messages.list_partition_reassignments import ListPartitionReassignmentsRequest
from tests.cluster.controller.story import Controller, uuid


@pytest.fixture
def controller() -> Controller:
    return Controller().with_brokers(1, 2, 3, 4).with_topic("orders", assignments=[[1, 2, 3], [2, 3, 1]])


def reassign(
    controller: Controller, replicas: Sequence[int] | None, index: int = 0, name: str = "orders", **changes: Any
) -> tuple[ErrorCode, str | None]:
    partition = AlterPartitionReassignmentsRequest.Topic.Partition(
        partition_index=index, replicas=None if replicas is None else list(replicas)
    )
    request = AlterPartitionReassignmentsRequest(
        topics=[AlterPartitionReassignmentsRequest.Topic(name=name, partitions=[partition])], **changes
    )
    response = controller.send(request)
    assert response.error_code == ErrorCode.NONE
    answer = response.responses[0].partitions[0]
    return ErrorCode(answer.error_code), answer.error_message


def test_a_reassignment_lasts_until_the_new_replica_is_in_sync(controller: Controller) -> None:
    assert reassign(controller, [1, 2, 4]) == (ErrorCode.NONE, None)
    partition = controller.partition("orders")
    assert (partition.replicas, partition.adding_replicas, partition.removing_replicas) == ((1, 2, 4, 3), (4,), (3,))
    assert (partition.isr, partition.leader_epoch) == ((1, 2, 3), 0)
    assert partition.directory(4) == uuid(1004)
    answer = controller.alter_isr("orders", [1, 2, 3, 4])
    assert (answer.error_code, answer.isr) == (ErrorCode.NONE, [1, 2, 4])
    partition = controller.partition("orders")
    assert (partition.replicas, partition.isr) == ((1, 2, 4), (1, 2, 4))
    assert partition.directories == (uuid(1001), uuid(1002), uuid(1004))
    assert not partition.is_reassigning
    assert (partition.leader, partition.leader_epoch) == (1, 1)  # a replica went: the leader's epoch rises


def test_only_an_order_changes_at_once(controller: Controller) -> None:
    reassign(controller, [3, 2, 1])
    partition = controller.partition("orders")
    assert (partition.replicas, partition.leader, partition.is_reassigning) == ((3, 2, 1), 1, False)


def test_fewer_replicas_are_taken_at_once_where_all_that_stay_are_in_sync(controller: Controller) -> None:
    reassign(controller, [1, 2])
    partition = controller.partition("orders")
    assert (partition.replicas, partition.isr, partition.is_reassigning) == ((1, 2), (1, 2), False)


def test_a_smaller_isr_than_need_be_is_never_made(controller: Controller) -> None:
    controller.alter_isr("orders", [1, 3])
    reassign(controller, [1, 2])
    partition = controller.partition("orders")
    assert (partition.replicas, partition.isr, partition.removing_replicas) == ((1, 2, 3), (1, 3), (3,))
    controller.alter_isr("orders", [1, 3, 2])
    assert controller.partition("orders").replicas == (1, 2)


def test_a_reassignment_can_be_changed_and_turned_back(controller: Controller) -> None:
    reassign(controller, [1, 2, 4])
    reassign(controller, [1, 2, 3])
    partition = controller.partition("orders")
    assert (partition.replicas, partition.is_reassigning) == ((1, 2, 3), False)


def test_a_reassignment_can_be_cancelled(controller: Controller) -> None:
    reassign(controller, [4])
    assert controller.partition("orders").replicas == (4, 1, 2, 3)
    assert reassign(controller, None) == (ErrorCode.NONE, None)
    partition = controller.partition("orders")
    assert (partition.replicas, partition.isr, partition.is_reassigning) == ((1, 2, 3), (1, 2, 3), False)
    assert reassign(controller, None)[0] is ErrorCode.NO_REASSIGNMENT_IN_PROGRESS


def test_cancelling_needs_a_replica_in_sync_of_those_before(controller: Controller) -> None:
    controller = Controller().with_brokers(1, 2, 3).with_topic("orders", assignments=[[1]])
    reassign(controller, [2, 3])
    controller.alter_isr("orders", [1, 2])
    controller.fence(1)
    assert controller.partition("orders").isr == (2,)
    error, message = reassign(controller, None)
    assert error is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert message == (
        "Unable to revert partition assignment for orders:0 because it would require an unclean leader election."
    )


def test_the_replication_factor_may_be_kept_from_changing(controller: Controller) -> None:
    error, message = reassign(controller, [1, 2], allow_replication_factor_change=False)
    assert (error, message) == (
        ErrorCode.INVALID_REPLICATION_FACTOR,
        "The replication factor is changed from 3 to 2",
    )
    assert reassign(controller, [4, 2, 1], allow_replication_factor_change=False)[0] is ErrorCode.NONE


def test_reassignments_refused(controller: Controller) -> None:
    assert reassign(controller, [1], name="nowhere") == (
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "Unable to find a topic named nowhere.",
    )
    assert reassign(controller, [1], 7) == (
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "Unable to find partition orders:7.",
    )
    assert reassign(controller, [1, 8])[0] is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert reassign(controller, [])[0] is ErrorCode.INVALID_REPLICA_ASSIGNMENT


def test_a_partition_that_is_wanted_in_two_places_is_refused_and_stays(controller: Controller) -> None:
    wanted = AlterPartitionReassignmentsRequest.Topic.Partition
    parts = [
        wanted(partition_index=0, replicas=[1, 2, 4]),
        wanted(partition_index=1, replicas=[3, 2, 1]),
        wanted(partition_index=1, replicas=[3, 2, 1]),
        wanted(partition_index=0, replicas=[3]),
    ]
    topic = AlterPartitionReassignmentsRequest.Topic(name="orders", partitions=parts)
    response = controller.send(AlterPartitionReassignmentsRequest(topics=[topic]))
    codes = [ErrorCode(answer.error_code) for answer in response.responses[0].partitions]
    assert codes == [ErrorCode.INVALID_REQUEST, ErrorCode.NONE, ErrorCode.NONE, ErrorCode.INVALID_REQUEST]
    assert controller.partition("orders").partition_epoch == 0


def test_reassignments_are_listed_while_they_last(controller: Controller) -> None:
    reassign(controller, [1, 2, 4])
    [topic] = controller.send(ListPartitionReassignmentsRequest(topics=None)).topics
    [partition] = topic.partitions
    assert (topic.name, partition.partition_index, partition.replicas) == ("orders", 0, [1, 2, 4, 3])
    assert (partition.adding_replicas, partition.removing_replicas) == ([4], [3])
    named = [
        ListPartitionReassignmentsRequest.Topic(name="orders", partition_indexes=[0, 1, 9]),
        ListPartitionReassignmentsRequest.Topic(name="nowhere", partition_indexes=[0]),
    ]
    assert [t.name for t in controller.send(ListPartitionReassignmentsRequest(topics=named)).topics] == ["orders"]
    controller.alter_isr("orders", [1, 2, 3, 4])
    assert controller.send(ListPartitionReassignmentsRequest(topics=None)).topics == []
