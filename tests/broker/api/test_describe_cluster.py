"""DescribeCluster, DescribeTopicPartitions, ListConfigResources."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.broker.api.describe_cluster import describe_cluster
from blumfeld.broker.api.describe_topic_partitions import describe_topic_partitions
from blumfeld.broker.api.list_config_resources import list_config_resources
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_cluster import DescribeClusterRequest
from blumfeld.protocol.messages.describe_topic_partitions import DescribeTopicPartitionsRequest
from blumfeld.protocol.messages.list_config_resources import ListConfigResourcesRequest
from blumfeld.protocol.messages.metadata_log import ConfigRecord
from tests.broker.api.admin_story import Admin
from tests.cluster.controller.test_features import register_controller


@pytest.fixture
def admin() -> Admin:
    return Admin(properties={"controller.listener.names": "CONTROLLER"}).with_brokers(1, 2)


def cluster(**changes: Any) -> DescribeClusterRequest:
    return DescribeClusterRequest(**{"include_cluster_authorized_operations": False, **changes})


async def test_brokers_are_described_fenced_ones_on_request(admin: Admin) -> None:
    admin.controller.fence(2)
    admin.catch_up()
    response = await admin.ask(describe_cluster, cluster())
    assert [(b.broker_id, b.host, b.port) for b in response.brokers] == [(1, "localhost", 19092)]
    assert (response.controller_id, response.cluster_authorized_operations) == (1, -(2**31))
    response = await admin.ask(
        describe_cluster, cluster(include_fenced_brokers=True, include_cluster_authorized_operations=True)
    )
    assert [(b.broker_id, b.is_fenced) for b in response.brokers] == [(1, False), (2, True)]
    assert response.cluster_authorized_operations == 8096


async def test_controllers_are_described_by_controller_listeners(admin: Admin) -> None:
    register_controller(admin.controller, 9, (7, 30))
    admin.catch_up()
    admin.listener = "CONTROLLER"
    response = await admin.ask(describe_cluster, cluster(endpoint_type=2))
    assert [(b.broker_id, b.host, b.port) for b in response.brokers] == [(9, "h", 1)]
    assert (response.controller_id, response.endpoint_type) == (9, 2)
    admin.channel.leader_id = 8
    assert (await admin.ask(describe_cluster, cluster(endpoint_type=2))).controller_id == -1


async def test_the_wrong_kind_of_endpoint_is_told(admin: Admin) -> None:
    response = await admin.ask(describe_cluster, cluster(endpoint_type=2))
    assert (response.error_code, response.error_message) == (
        ErrorCode.MISMATCHED_ENDPOINT_TYPE,
        "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
    )
    response = await admin.ask(describe_cluster, cluster(endpoint_type=3))
    assert response.error_code == ErrorCode.UNSUPPORTED_ENDPOINT_TYPE
    admin.listener = "CONTROLLER"
    assert (await admin.ask(describe_cluster, cluster(), 0)).error_code == ErrorCode.INVALID_REQUEST


# DescribeTopicPartitions


def topics(*names: str, cursor: tuple[str, int] | None = None, limit: int = 2000) -> DescribeTopicPartitionsRequest:
    return DescribeTopicPartitionsRequest(
        topics=[DescribeTopicPartitionsRequest.Topic(name=name) for name in names],
        response_partition_limit=limit,
        cursor=None
        if cursor is None
        else DescribeTopicPartitionsRequest.Cursor(topic_name=cursor[0], partition_index=cursor[1]),
    )


def shape(response: Any) -> list[tuple[str, list[int]]]:
    return [(t.name, [p.partition_index for p in t.partitions]) for t in response.topics]


async def test_topics_are_described_in_order_and_in_portions(admin: Admin) -> None:
    admin.with_topic("b", 3, 1).with_topic("a", 2, 1).with_topic("c", 1, 1)
    response = await admin.ask(describe_topic_partitions, topics())
    assert shape(response) == [("a", [0, 1]), ("b", [0, 1, 2]), ("c", [0])]
    assert response.next_cursor is None
    assert response.topics[0].topic_authorized_operations == 3576
    cursor: tuple[str, int] | None = None
    portions = []
    while True:
        response = await admin.ask(describe_topic_partitions, topics(cursor=cursor, limit=2))
        portions.append(shape(response))
        if response.next_cursor is None:
            break
        cursor = (response.next_cursor.topic_name, response.next_cursor.partition_index)
    assert portions == [[("a", [0, 1])], [("b", [0, 1])], [("b", [2]), ("c", [0])]]


async def test_unknown_topics_are_told_only_when_named(admin: Admin) -> None:
    admin.with_topic("a", 1, 1)
    response = await admin.ask(describe_topic_partitions, topics("nowhere", "a", "a b"))
    assert [(t.name, t.error_code) for t in response.topics] == [
        ("a", ErrorCode.NONE),
        ("a b", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("nowhere", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    assert {t.topic_authorized_operations for t in response.topics} == {3576}


@pytest.mark.parametrize("cursor", [("b", 0), ("a", -1)])
async def test_a_cursor_that_makes_no_sense_is_refused(admin: Admin, cursor: tuple[str, int]) -> None:
    admin.with_topic("a", 1, 1)
    response = await admin.ask(describe_topic_partitions, topics("a", cursor=cursor))
    assert [(t.name, t.error_code) for t in response.topics] == [("a", ErrorCode.INVALID_REQUEST)]


# ListConfigResources


async def test_resources_are_listed_by_type(admin: Admin) -> None:
    admin.with_topic("orders", 1, 1)
    admin.controller.append(
        [
            ConfigRecord(resource_type=32, resource_name="group", name="a", value="1"),
            ConfigRecord(resource_type=16, resource_name="metrics", name="a", value="1"),
        ]
    )
    admin.catch_up()
    response = await admin.ask(list_config_resources, ListConfigResourcesRequest())
    assert {(r.resource_type, r.resource_name) for r in response.config_resources} == {
        (2, "orders"),
        (4, "1"),
        (4, "2"),
        (8, "1"),
        (8, "2"),
        (16, "metrics"),
        (32, "group"),
    }
    response = await admin.ask(list_config_resources, ListConfigResourcesRequest(resource_types=[2]))
    assert [r.resource_name for r in response.config_resources] == ["orders"]
    response = await admin.ask(list_config_resources, ListConfigResourcesRequest(), 0)
    assert [r.resource_name for r in response.config_resources] == ["metrics"]
    response = await admin.ask(list_config_resources, ListConfigResourcesRequest(resource_types=[77]))
    assert response.error_code == ErrorCode.UNSUPPORTED_VERSION
