"""Metadata: brokers and addresses, topics and their errors, automatic creation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from blumfeld.broker.api.metadata import metadata
from blumfeld.broker.recently_fenced import NAMED_S
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.broker_registration import BrokerRegistrationRequest
from blumfeld.protocol.messages.metadata import MetadataRequest
from tests.broker.api.admin_story import Admin
from tests.cluster.controller.story import CLUSTER_ID, uuid


@pytest.fixture
def admin() -> Admin:
    return Admin().with_brokers(1, 2, racks={1: "a"})


def named(*names: str, **changes: Any) -> MetadataRequest:
    return MetadataRequest(topics=[MetadataRequest.Topic(name=name) for name in names], **changes)


async def test_brokers_are_told_as_the_client_can_reach_them(admin: Admin) -> None:
    response = await admin.ask(metadata, named())
    assert [(b.node_id, b.host, b.port, b.rack) for b in response.brokers] == [
        (1, "localhost", 19092, "a"),  # what the client dialled
        (2, "localhost", 9002, None),  # the same machine, its own port
    ]
    assert (response.cluster_id, response.controller_id) == (CLUSTER_ID, 1)


async def test_advertised_listeners_override_what_was_dialled() -> None:
    admin = Admin(properties={"advertised.listeners": "PLAINTEXT://example.org:1234"}).with_brokers(1, 2)
    response = await admin.ask(metadata, named())
    assert [(b.host, b.port) for b in response.brokers] == [("localhost", 9001), ("localhost", 9002)]


async def test_a_broker_on_another_machine_keeps_its_own_host(admin: Admin) -> None:
    elsewhere = [
        BrokerRegistrationRequest.Listener(name="PLAINTEXT", host="far.example.org", port=9092, security_protocol=0)
    ]
    admin.with_brokers(3, listeners=elsewhere)
    response = await admin.ask(metadata, named())
    assert [(b.host, b.port) for b in response.brokers][2] == ("far.example.org", 9092)


async def test_fenced_brokers_and_those_without_the_listener_are_left_out(admin: Admin) -> None:
    admin.controller.fence(2)
    admin.catch_up()
    admin.clock.advance(NAMED_S)
    assert [b.node_id for b in (await admin.ask(metadata, named())).brokers] == [1]
    admin.listener = "EXTERNAL"
    response = await admin.ask(metadata, named())
    assert (response.brokers, response.controller_id) == ([], -1)


async def test_a_broker_that_was_just_fenced_is_named_beside_the_new_leaders(admin: Admin) -> None:
    admin.with_topic("orders", assignments=[[2, 1]])
    admin.controller.fence(2)
    admin.catch_up()
    response = await admin.ask(metadata, named("orders"))
    [partition] = response.topics[0].partitions
    assert (partition.leader_id, partition.offline_replicas, response.controller_id) == (1, [2], 1)
    assert [(b.node_id, b.port) for b in response.brokers] == [(1, 19092), (2, 9002)]


async def test_a_new_incarnation_is_not_named_until_it_is_unfenced(admin: Admin) -> None:
    admin.controller.fence(2)
    admin.catch_up()
    admin.controller.now += 60  # the session is over
    assert admin.controller.register(2, incarnation=uuid(77)).error_code == ErrorCode.NONE
    admin.catch_up()
    assert [b.node_id for b in (await admin.ask(metadata, named())).brokers] == [1]
    admin.controller.unfence(2)
    admin.catch_up()
    assert [b.node_id for b in (await admin.ask(metadata, named())).brokers] == [1, 2]


async def test_a_topic_by_name(admin: Admin) -> None:
    admin.with_topic("orders", assignments=[[1, 2], [2, 1]])
    response = await admin.ask(metadata, named("orders"))
    [topic] = response.topics
    assert (topic.error_code, topic.name, topic.is_internal) == (ErrorCode.NONE, "orders", False)
    assert topic.topic_id == admin.controller.topic_id("orders")
    assert [
        (p.partition_index, p.leader_id, p.leader_epoch, p.replica_nodes, p.isr_nodes) for p in topic.partitions
    ] == [
        (0, 1, 0, [1, 2], [1, 2]),
        (1, 2, 0, [2, 1], [2, 1]),
    ]
    assert topic.topic_authorized_operations == -(2**31)


async def test_topics_by_id(admin: Admin) -> None:
    admin.with_topic("orders", 1, 1)
    known, unknown = admin.controller.topic_id("orders"), uuid(5)
    wanted = [MetadataRequest.Topic(topic_id=topic_id, name=None) for topic_id in (known, unknown)]
    response = await admin.ask(metadata, MetadataRequest(topics=wanted))
    assert [(t.error_code, t.name, t.topic_id) for t in response.topics] == [
        (ErrorCode.NONE, "orders", known),
        (ErrorCode.UNKNOWN_TOPIC_ID, None, unknown),
    ]


@pytest.mark.parametrize(("version", "topics"), [(0, []), (1, None), (13, None)])
async def test_all_topics(admin: Admin, version: int, topics: Any) -> None:
    admin.with_topic("orders", 1, 1).with_topic("users", 1, 1)
    response = await admin.ask(metadata, MetadataRequest(topics=topics), version)
    assert sorted(t.name for t in response.topics) == ["orders", "users"]
    if version > 0:
        assert (await admin.ask(metadata, MetadataRequest(topics=[]), version)).topics == []


@pytest.mark.parametrize("version", [10, 11])
async def test_ids_and_null_names_are_refused_where_they_cannot_be_asked_for(admin: Admin, version: int) -> None:
    for topic in (MetadataRequest.Topic(name=None), MetadataRequest.Topic(name="orders", topic_id=uuid(5))):
        response = await admin.ask(metadata, MetadataRequest(topics=[topic]), version)
        assert [t.error_code for t in response.topics] == [ErrorCode.INVALID_REQUEST]


async def test_errors_of_partitions(admin: Admin) -> None:
    admin.with_topic("pairs", assignments=[[1, 2]]).with_topic("single", assignments=[[2]])
    admin.controller.fence(2)
    admin.catch_up()
    first, second = [t.partitions[0] for t in (await admin.ask(metadata, named("pairs", "single"))).topics]
    assert (first.error_code, first.leader_id, first.offline_replicas) == (ErrorCode.NONE, 1, [2])
    assert (second.error_code, second.leader_id) == (ErrorCode.LEADER_NOT_AVAILABLE, -1)
    assert (second.isr_nodes, second.offline_replicas) == ([2], [2])
    admin.listener = "EXTERNAL"
    [partition] = (await admin.ask(metadata, named("pairs"))).topics[0].partitions
    assert (partition.error_code, partition.leader_id) == (ErrorCode.LISTENER_NOT_FOUND, -1)
    [partition] = (await admin.ask(metadata, named("pairs"), 5)).topics[0].partitions
    assert partition.error_code == ErrorCode.LEADER_NOT_AVAILABLE


async def test_the_oldest_clients_are_told_of_replicas_that_are_away(admin: Admin) -> None:
    admin.with_topic("orders", assignments=[[1, 2]])
    admin.controller.fence(2)
    admin.catch_up()
    [partition] = (await admin.ask(metadata, named("orders"), 0)).topics[0].partitions
    assert (partition.error_code, partition.replica_nodes) == (ErrorCode.REPLICA_NOT_AVAILABLE, [1])


async def test_authorized_operations_are_told_when_asked_for(admin: Admin) -> None:
    admin.with_topic("orders", 1, 1)
    request = named("orders", include_topic_authorized_operations=True)
    assert (await admin.ask(metadata, request)).topics[0].topic_authorized_operations == 3576
    request = named(include_cluster_authorized_operations=True)
    assert (await admin.ask(metadata, request, 8)).cluster_authorized_operations == 8096


# Automatic creation


async def test_a_topic_that_is_asked_for_is_made_and_described_in_the_same_answer(admin: Admin) -> None:
    response = await admin.ask(metadata, named("new", allow_auto_topic_creation=True))
    [topic] = response.topics
    assert (topic.error_code, topic.name) == (ErrorCode.NONE, "new")
    assert topic.partitions[0].leader_id in {1, 2}


async def test_this_brokers_defaults_count_where_it_was_given_any() -> None:
    admin = Admin(properties={"num.partitions": "3", "default.replication.factor": "2"}).with_brokers(1, 2)
    [topic] = (await admin.ask(metadata, named("new"))).topics
    assert [len(p.replica_nodes) for p in topic.partitions] == [2, 2, 2]
    [request] = admin.channel.asked
    assert request.topics[0].num_partitions == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("reason", ["client", "broker"])
async def test_nothing_is_made_where_client_or_broker_do_not_want_it(reason: str) -> None:
    properties = {"auto.create.topics.enable": "false"} if reason == "broker" else {}
    admin = Admin(properties=properties).with_brokers(1)
    response = await admin.ask(metadata, named("new", allow_auto_topic_creation=reason == "broker"))
    assert [t.error_code for t in response.topics] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert admin.channel.asked == []


async def test_names_that_cannot_be_are_told_and_not_made(admin: Admin) -> None:
    response = await admin.ask(metadata, named("a b", "new"))
    assert [(t.name, t.error_code) for t in response.topics] == [
        ("a b", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("new", ErrorCode.NONE),
    ]


async def test_the_answer_waits_until_the_new_topic_is_known_here(admin: Admin) -> None:
    admin.behind = True
    asking = asyncio.ensure_future(admin.ask(metadata, named("new")))
    await asyncio.sleep(0.02)
    assert not asking.done()
    admin.catch_up()
    assert (await asking).topics[0].error_code == ErrorCode.NONE


async def test_without_a_controller_the_topic_stays_unknown(admin: Admin) -> None:
    admin.channel.is_there = False
    response = await admin.ask(metadata, named("new"))
    assert [t.error_code for t in response.topics] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


async def test_a_topic_that_cannot_be_made_stays_unknown(admin: Admin) -> None:
    admin.broker.config = Admin(properties={"default.replication.factor": "5"}).broker.config
    response = await admin.ask(metadata, named("new"))
    assert [t.error_code for t in response.topics] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


async def test_the_coordinators_topic_is_its_coordinators_to_make(admin: Admin) -> None:
    response = await admin.ask(metadata, named("__consumer_offsets"))
    assert (response.topics[0].is_internal, admin.groups.topic.wanted, admin.channel.asked) == (True, 1, [])


# A leader that seems to be dying


async def test_the_answer_waits_for_the_successor_of_a_leader_whose_connection_broke(admin: Admin) -> None:
    admin.with_topic("orders", assignments=[[2, 1]])
    admin.replicas.membership.unreachable.add(2)
    asking = asyncio.ensure_future(admin.ask(metadata, named("orders")))
    await asyncio.sleep(0.03)
    assert not asking.done()
    admin.controller.fence(2)
    admin.catch_up()
    response = await asking
    assert [p.leader_id for p in response.topics[0].partitions] == [1]


async def test_it_does_not_wait_for_ever_nor_for_others(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blumfeld.broker.api.metadata.SUCCESSOR_WAIT_MS", 20)
    admin.with_topic("orders", assignments=[[2, 1]]).with_topic("users", assignments=[[1]])
    admin.replicas.membership.unreachable.add(2)
    assert (await admin.ask(metadata, named("users"))).topics[0].partitions[0].leader_id == 1
    assert (await admin.ask(metadata, named("orders"))).topics[0].partitions[0].leader_id == 2
