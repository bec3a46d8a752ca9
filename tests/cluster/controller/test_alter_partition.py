"""AlterPartition: which proposals of a leader are taken, and what the others are told."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.cluster.image.directories import LOST_DIRECTORY
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_partition import AlterPartitionRequest
from blumfeld.protocol.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from blumfeld.protocol.messages.metadata_log import PartitionChangeRecord
from tests.cluster.controller.story import Controller, uuid


@pytest.fixture
def controller() -> Controller:
    return Controller().with_brokers(1, 2, 3, 4).with_topic("orders", assignments=[[1, 2, 3]])


def test_a_leader_shrinks_and_grows_its_isr(controller: Controller) -> None:
    answer = controller.alter_isr("orders", [1, 2])
    assert (answer.error_code, answer.isr, answer.partition_epoch) == (ErrorCode.NONE, [1, 2], 1)
    assert (answer.leader_id, answer.leader_epoch) == (1, 0)
    answer = controller.alter_isr("orders", [1, 2, 3])
    assert (answer.isr, answer.partition_epoch, answer.leader_epoch) == ([1, 2, 3], 2, 0)


def test_the_same_isr_again_is_answered_without_a_record(controller: Controller) -> None:
    answer = controller.alter_isr("orders", [1, 2, 3])
    assert (answer.error_code, answer.partition_epoch) == (ErrorCode.NONE, 0)
    assert controller.written == []


def test_version_two_names_members_without_epochs(controller: Controller) -> None:
    proposal = AlterPartitionRequest.Topic.Partition(
        partition_index=0, leader_epoch=0, new_isr=[1, 3], partition_epoch=0
    )
    request = AlterPartitionRequest(
        broker_id=1,
        broker_epoch=controller.epoch_of(1),
        topics=[AlterPartitionRequest.Topic(topic_id=controller.topic_id("orders"), partitions=[proposal])],
    )
    response = controller.send(request, version=2)
    assert response.topics[0].partitions[0].isr == [1, 3]


REFUSED: dict[str, tuple[list[int], dict[str, Any], ErrorCode]] = {
    "newer leader epoch": ([1], {"leader_epoch": 1}, ErrorCode.NOT_CONTROLLER),
    "newer partition epoch": ([1], {"partition_epoch": 9}, ErrorCode.NOT_CONTROLLER),
    "older leader epoch": ([1], {"leader_epoch": -1}, ErrorCode.FENCED_LEADER_EPOCH),
    "older partition epoch": ([1], {"partition_epoch": -1}, ErrorCode.INVALID_UPDATE_VERSION),
    "not the leader": ([1, 2], {"broker_id": 2}, ErrorCode.INVALID_REQUEST),
    "without the leader": ([2, 3], {}, ErrorCode.INVALID_REQUEST),
    "nobody": ([], {}, ErrorCode.INVALID_REQUEST),
    "no replica": ([1, 4], {}, ErrorCode.INVALID_REQUEST),
    "member twice": ([1, 1], {}, ErrorCode.INVALID_REQUEST),
    "becoming unclean": ([1], {"leader_recovery_state": 1}, ErrorCode.INVALID_REQUEST),
    "recovery state": ([1], {"leader_recovery_state": 5}, ErrorCode.INVALID_REQUEST),
    "other incarnation": ([1, 2], {"member_epochs": {2: 1}}, ErrorCode.INELIGIBLE_REPLICA),
    "no such partition": ([1], {"partition_index": 7}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
}


@pytest.mark.parametrize("case", REFUSED)
def test_proposals_refused(controller: Controller, case: str) -> None:
    isr, changes, code = REFUSED[case]
    answer = controller.alter_isr("orders", isr, **changes)
    assert ErrorCode(answer.error_code) is code
    assert controller.written == []


def test_fenced_and_leaving_replicas_are_ineligible(controller: Controller) -> None:
    controller.fence(2)
    assert controller.alter_isr("orders", [1, 2, 3]).error_code == ErrorCode.INELIGIBLE_REPLICA
    controller.unfence(2)
    controller.with_topic("other", assignments=[[2]])
    controller.heartbeat(2, want_shut_down=True)
    assert controller.alter_isr("orders", [1, 2, 3]).error_code == ErrorCode.INELIGIBLE_REPLICA


def test_replicas_in_a_directory_that_failed_are_ineligible(controller: Controller) -> None:
    controller.alter_isr("orders", [1, 3])
    lost = [*controller.partition("orders").directories]
    lost[1] = LOST_DIRECTORY
    controller.append([PartitionChangeRecord(partition_id=0, topic_id=controller.topic_id("orders"), directories=lost)])
    assert controller.alter_isr("orders", [1, 2, 3]).error_code == ErrorCode.INELIGIBLE_REPLICA


def test_a_broker_epoch_of_minus_one_skips_the_check(controller: Controller) -> None:
    controller.alter_isr("orders", [1, 2])
    assert controller.alter_isr("orders", [1, 2, 3], member_epochs={3: -1}).error_code == ErrorCode.NONE


def test_a_stale_broker_is_refused_as_a_whole(controller: Controller) -> None:
    response = controller.alter_isr("orders", [1], broker_epoch=0)
    assert (response.error_code, response.topics) == (ErrorCode.STALE_BROKER_EPOCH, [])


def test_an_unknown_topic_id_is_told_for_each_partition(controller: Controller) -> None:
    proposal = AlterPartitionRequest.Topic.Partition(partition_index=0, leader_epoch=0, partition_epoch=0)
    request = AlterPartitionRequest(
        broker_id=1,
        broker_epoch=controller.epoch_of(1),
        topics=[AlterPartitionRequest.Topic(topic_id=uuid(5), partitions=[proposal])],
    )
    response = controller.send(request)
    assert response.topics[0].partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_completing_a_reassignment_may_take_leadership_away(controller: Controller) -> None:
    controller.send(
        AlterPartitionReassignmentsRequest(
            topics=[
                AlterPartitionReassignmentsRequest.Topic(
                    name="orders",
                    partitions=[
                        AlterPartitionReassignmentsRequest.Topic.Partition(partition_index=0, replicas=[4, 2, 3])
                    ],
                )
            ]
        )
    )
    assert controller.partition("orders").replicas == (4, 2, 3, 1)
    answer = controller.alter_isr("orders", [1, 2, 3, 4])
    assert answer.error_code == ErrorCode.NEW_LEADER_ELECTED
    partition = controller.partition("orders")
    assert (partition.replicas, partition.leader, partition.is_reassigning) == ((4, 2, 3), 4, False)
    assert sorted(partition.isr) == [2, 3, 4]
