"""Any broker is a door to the whole cluster."""

from __future__ import annotations

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from kafka import KafkaConsumer as PythonConsumer
from kafka import KafkaProducer as PythonProducer

from blumfeld.testing import Cluster
from tests.cluster_e2e.steady import SteadyProducer
from tests.cluster_e2e.story import assert_exact, leader, put_leader_on, wait_for_isr, wait_until


@pytest.mark.parametrize("door", [1, 2, 3])
def test_partitions_of_every_leader_are_reached_through_any_broker(cluster: Cluster, door: int) -> None:
    topic = cluster.kafka.topic(partitions=6)
    assert set(cluster.kafka.leaders(topic).values()) == {1, 2, 3}
    server = f"{cluster.brokers[door].host}:{cluster.brokers[door].port}"
    producer = PythonProducer(bootstrap_servers=server, acks="all")
    for partition in range(6):
        assert producer.send(topic, b"python", partition=partition).get(60).partition == partition
    producer.close()
    consumer = PythonConsumer(topic, bootstrap_servers=server, auto_offset_reset="earliest", consumer_timeout_ms=60_000)
    found = {record.partition for _, record in zip(range(6), consumer, strict=False)}
    consumer.close()
    assert found == set(range(6))


def test_a_client_goes_on_when_the_broker_it_started_from_dies(cluster: Cluster) -> None:
    door = cluster.brokers[2]
    topic = put_leader_on(cluster, 1)
    wait_for_isr(cluster, topic)
    consumer = Consumer({"bootstrap.servers": f"{door.host}:{door.port}", "group.id": "by-assignment", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    seen: list[int] = []

    def read() -> int:
        seen.extend(int(message.value()) for message in consumer.consume(1000, 0.1) if message.error() is None)
        return len(seen)

    with SteadyProducer(f"{door.host}:{door.port}", topic) as producer:
        producer.wait_for_acks(20)
        wait_until(lambda: read() > 10, "the consumer reads")
        door.kill()
        producer.wait_for_acks(100)
        cluster.brokers[1].kill()  # now the leader: the client has to learn of broker 3 as leader from broker 3 itself
        cluster.brokers[2].restart()
        wait_until(lambda: leader(cluster, topic) != 1, "another broker leads")
        producer.wait_for_acks(100)
        cluster.brokers[1].restart()
    wait_until(lambda: read() == len(producer.acknowledged), "the consumer reads everything")
    consumer.close()
    assert seen == sorted(seen)
    assert_exact(cluster, topic, producer)
