"""Administration through every foreign client: topics, configs, the cluster, groups."""

from __future__ import annotations

import pytest

from blumfeld.testing import Cluster
from blumfeld.testing.kafka import unique_name
from tests.interop.clients.face import Client
from tests.interop.test_groups import wait_for


def test_a_topic_is_created_described_listed_and_deleted(client: Client) -> None:
    name = unique_name("admin")
    client.create_topic(name, 4, {"retention.ms": "12345", "cleanup.policy": "compact"})
    assert client.partition_count(name) == 4
    assert name in client.list_topics()
    config = client.topic_config(name)
    assert config["retention.ms"] == "12345"
    assert config["cleanup.policy"] == "compact"
    assert config["max.message.bytes"] == "1048588"
    client.delete_topic(name)
    wait_for(lambda: name not in client.list_topics(), "the topic is gone")


def test_creating_a_topic_twice_is_refused(client: Client) -> None:
    name = unique_name("twice")
    client.create_topic(name, 1)
    with pytest.raises(Exception, match=r"(?i)exist|36"):
        client.create_topic(name, 1)


def test_a_brokers_configs_are_described(client: Client) -> None:
    config = client.broker_config(1)
    assert config["message.max.bytes"] == "1048588"
    assert config["log.cleanup.policy"] == "delete"


def test_the_cluster_is_described(client: Client) -> None:
    assert client.broker_ids() == {1}


def test_groups_are_listed_and_described(client: Client, durable_broker: Cluster) -> None:
    topic, group = durable_broker.kafka.topic(), unique_name("seen")
    member = client.join(group, topic)
    wait_for(lambda: bool(member.assignment()), "the member has its assignment")
    assert group in client.groups()
    assert client.group_members(group) == 1
    member.close()
