"""min.insync.replicas=2 of three: one broker may be missing; with two missing acks=all is refused, acks=1 goes on."""

from __future__ import annotations

import time

import pytest

from blumfeld.client.errors import RequestFailed
from blumfeld.protocol.errors import ErrorCode
from blumfeld.testing import Cluster, Kafka
from tests.cluster_e2e.story import active_controller, put_leader_on, wait_for_isr, wait_until


def test_with_one_broker_missing_all_goes_on(cluster: Cluster) -> None:
    topic = put_leader_on(cluster, 1)
    cluster.brokers[3].kill()
    cluster.kafka.produce(topic, b"two in sync")
    wait_for_isr(cluster, topic, [1, 2])
    cluster.brokers[3].restart()
    wait_for_isr(cluster, topic)


def test_a_topic_wants_more_than_there_are(cluster: Cluster) -> None:
    topic = put_leader_on(cluster, 1, config={"min.insync.replicas": "3"})
    cluster.kafka.produce(topic, b"three in sync")
    cluster.brokers[3].kill()
    wait_for_isr(cluster, topic, [1, 2], at=1)  # before its leader knows, a record is refused after it is appended
    with Kafka(cluster.bootstrap_servers, timeout_s=3.0) as kafka:
        with pytest.raises(RequestFailed) as refused:
            kafka.produce(topic, b"never")
        assert refused.value.code == ErrorCode.NOT_ENOUGH_REPLICAS
        kafka.produce(topic, b"one is enough", acks=1)
        # Below min.insync.replicas the high watermark stands still: nobody reads what could be lost.
        assert [r.value for r in kafka.consume(topic)] == [b"three in sync"]
    cluster.brokers[3].restart()
    wait_for_isr(cluster, topic)
    wait_until(lambda: len(cluster.kafka.consume(topic)) == 2, "with three in sync the rest is committed")
    assert [r.value for r in cluster.kafka.consume(topic)] == [b"three in sync", b"one is enough"]


def test_with_two_brokers_missing_nothing_is_acknowledged_and_nothing_is_lost(cluster: Cluster) -> None:
    topic = put_leader_on(cluster, 1)
    cluster.kafka.produce(topic, b"before")
    cluster.brokers[2].kill()
    wait_for_isr(cluster, topic, [1, 3])
    cluster.brokers[3].kill()
    with Kafka(cluster.bootstrap_servers, timeout_s=1.0) as kafka:
        started = time.monotonic()
        with pytest.raises(Exception):  # noqa: B017  which one depends on who is asked when
            kafka.produce(topic, b"not acknowledged")
        assert time.monotonic() - started < 30
    cluster.brokers[3].restart()
    cluster.kafka.produce(topic, b"after")
    cluster.brokers[2].restart()
    wait_for_isr(cluster, topic)
    values = [record.value for record in cluster.kafka.consume(topic)]
    assert values[0] == b"before"
    assert values[-1] == b"after"
    assert active_controller(cluster) in cluster.brokers
