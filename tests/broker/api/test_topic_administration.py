"""CreateTopics, DeleteTopics, CreatePartitions, and the requests that are only passed on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from blumfeld.broker.api.alter_partition_reassignments import alter_partition_reassignments
from blumfeld.broker.api.create_partitions import create_partitions
from blumfeld.broker.api.create_topics import create_topics
from blumfeld.broker.api.delete_topics import delete_topics
from blumfeld.broker.api.elect_leaders import elect_leaders
from blumfeld.broker.api.list_partition_reassignments import list_partition_reassignments
from blumfeld.broker.api.unregister_broker import unregister_broker
from blumfeld.broker.api.update_features import update_features
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from blumfeld.protocol.messages.create_partitions import CreatePartitionsRequest
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.delete_topics import DeleteTopicsRequest
from blumfeld.protocol.messages.elect_leaders import ElectLeadersRequest
from blumfeld.protocol.messages.list_partition_reassignments import ListPartitionReassignmentsRequest
from blumfeld.protocol.messages.unregister_broker import UnregisterBrokerRequest
from blumfeld.protocol.messages.update_features import UpdateFeaturesRequest
from blumfeld.protocol.primitives import ZERO_UUID
from tests.broker.api.admin_story import Admin
from tests.cluster.controller.story import new_topic


@pytest.fixture
def admin() -> Admin:
    return Admin().with_brokers(1, 2)


def creation(*names: str, **changes: Any) -> CreateTopicsRequest:
    return CreateTopicsRequest(topics=[new_topic(name, 1, 1) for name in names], **changes)


async def answered_only_after_catching_up(admin: Admin, asking: asyncio.Future[Any]) -> Any:
    await asyncio.sleep(0.02)
    assert not asking.done()
    admin.catch_up()
    return await asking


async def test_a_new_topic_can_be_used_when_the_answer_is_there(admin: Admin) -> None:
    admin.behind = True
    asking = asyncio.ensure_future(admin.ask(create_topics, creation("orders")))
    response = await answered_only_after_catching_up(admin, asking)
    assert [(t.name, t.error_code) for t in response.topics] == [("orders", ErrorCode.NONE)]
    assert admin.broker.image.topics.get("orders") is not None


async def test_the_answer_comes_when_the_clients_time_is_over(admin: Admin) -> None:
    admin.behind = True
    response = await admin.ask(create_topics, creation("orders", timeout_ms=30))
    assert response.topics[0].error_code == ErrorCode.NONE


async def test_refusals_and_dry_runs_are_answered_at_once(admin: Admin) -> None:
    admin.behind = True
    response = await admin.ask(create_topics, creation("orders", validate_only=True))
    assert response.topics[0].error_code == ErrorCode.NONE
    response = await admin.ask(create_topics, creation("a b"))
    assert response.topics[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


@pytest.mark.parametrize("version", range(2, 8))
async def test_every_version_of_create_topics(admin: Admin, version: int) -> None:
    response = await admin.ask(create_topics, creation(f"topic-{version}"), version)
    assert response.topics[0].error_code == ErrorCode.NONE


async def test_a_deleted_topic_is_gone_when_the_answer_is_there(admin: Admin) -> None:
    admin.with_topic("orders", 1, 1)
    admin.behind = True
    request = DeleteTopicsRequest(
        topics=[DeleteTopicsRequest.Topic(name="orders", topic_id=ZERO_UUID)], timeout_ms=5000
    )
    asking = asyncio.ensure_future(admin.ask(delete_topics, request))
    response = await answered_only_after_catching_up(admin, asking)
    assert [(t.name, t.error_code) for t in response.responses] == [("orders", ErrorCode.NONE)]
    assert admin.broker.image.topics.get("orders") is None


async def test_new_partitions_are_there_when_the_answer_is(admin: Admin) -> None:
    admin.with_topic("orders", 1, 1)
    admin.behind = True
    topic = CreatePartitionsRequest.Topic(name="orders", count=3, assignments=None)
    request = CreatePartitionsRequest(topics=[topic], timeout_ms=5000, validate_only=False)
    asking = asyncio.ensure_future(admin.ask(create_partitions, request))
    response = await answered_only_after_catching_up(admin, asking)
    assert response.results[0].error_code == ErrorCode.NONE
    assert len(admin.broker.image.topics.by_name["orders"].partitions) == 3


async def test_other_requests_are_passed_on(admin: Admin) -> None:
    admin.with_topic("orders", assignments=[[1, 2]])
    elect = ElectLeadersRequest(topic_partitions=[ElectLeadersRequest.TopicPartitions(topic="orders", partitions=[0])])
    response = await admin.ask(elect_leaders, elect)
    assert response.replica_election_results[0].partition_result[0].error_code == ErrorCode.ELECTION_NOT_NEEDED
    move = AlterPartitionReassignmentsRequest(
        topics=[
            AlterPartitionReassignmentsRequest.Topic(
                name="orders",
                partitions=[AlterPartitionReassignmentsRequest.Topic.Partition(partition_index=0, replicas=[2, 1])],
            )
        ]
    )
    response = await admin.ask(alter_partition_reassignments, move)
    assert response.responses[0].partitions[0].error_code == ErrorCode.NONE
    assert (await admin.ask(list_partition_reassignments, ListPartitionReassignmentsRequest())).topics == []
    assert (await admin.ask(unregister_broker, UnregisterBrokerRequest(broker_id=7))).error_code == (
        ErrorCode.BROKER_ID_NOT_REGISTERED
    )
    assert (await admin.ask(update_features, UpdateFeaturesRequest(feature_updates=[]))).error_code == ErrorCode.NONE


async def test_without_a_controller_everything_times_out(admin: Admin) -> None:
    admin.channel.is_there = False
    response = await admin.ask(create_topics, creation("orders"))
    assert [t.error_code for t in response.topics] == [ErrorCode.REQUEST_TIMED_OUT]
    request = DeleteTopicsRequest(topic_names=["orders"], timeout_ms=1)
    response = await admin.ask(delete_topics, request, 5)
    assert [(t.name, t.error_code) for t in response.responses] == [("orders", ErrorCode.REQUEST_TIMED_OUT)]
    response = await admin.ask(unregister_broker, UnregisterBrokerRequest(broker_id=7))
    assert (response.error_code, response.error_message) == (
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.REQUEST_TIMED_OUT.text,
    )
    elect = ElectLeadersRequest(topic_partitions=[ElectLeadersRequest.TopicPartitions(topic="orders", partitions=[0])])
    response = await admin.ask(elect_leaders, elect)
    assert response.error_code == ErrorCode.REQUEST_TIMED_OUT
