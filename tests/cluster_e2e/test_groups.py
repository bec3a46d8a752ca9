"""Groups outlive their coordinator: members stay, commits are kept, every record is seen."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException
from kafka import KafkaConsumer as PythonConsumer
from kafka.errors import KafkaConnectionError

from blumfeld.testing import Cluster
from blumfeld.testing.kafka import unique_name
from tests.cluster_e2e.steady import SteadyProducer
from tests.cluster_e2e.story import assert_exact, wait_for_isr, wait_until


class ConfluentMember:
    """A member that polls and commits in a thread of its own."""

    def __init__(self, servers: str, group: str, topic: str) -> None:
        self.seen: list[int] = []
        self._ending = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 300,
                "log_level": 0,
            }
        )
        self._consumer.subscribe([topic])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.is_set():
            messages = [m for m in self._consumer.consume(500, 0.1) if m.error() is None]
            if messages:
                self.seen.extend(int(m.value()) for m in messages)
                try:
                    self._consumer.commit(asynchronous=False)
                except KafkaException:
                    continue  # the coordinator is gone: the next commit says more
        self._consumer.close()

    def finish(self) -> None:
        self._ending.set()
        self._thread.join(30)


class PythonMember:
    """The same by kafka-python."""

    def __init__(self, servers: str, group: str, topic: str) -> None:
        self.seen: list[int] = []
        self._ending = threading.Event()
        self._consumer: Any = PythonConsumer(
            topic,
            bootstrap_servers=servers,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=True,
            auto_commit_interval_ms=100,
            session_timeout_ms=6000,
            heartbeat_interval_ms=300,
            request_timeout_ms=7000,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                found = self._consumer.poll(100)
            except KafkaConnectionError:  # no broker answers at the moment: applications poll again
                continue
            for records in found.values():
                self.seen.extend(int(record.value) for record in records)
        self._consumer.close()

    def finish(self) -> None:
        self._ending.set()
        self._thread.join(30)


def coordinator(cluster: Cluster, group: str) -> int:
    kafka = cluster.kafka
    return int(kafka._run(kafka._cluster.coordinator(group)))


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("kind", [ConfluentMember, PythonMember])
def test_a_group_goes_on_when_its_coordinator_is_gone(cluster: Cluster, kind: Any, how: str) -> None:
    topic, group = cluster.kafka.topic(partitions=1), unique_name("group")
    wait_for_isr(cluster, topic)
    with SteadyProducer(cluster.bootstrap_servers, topic) as producer:
        member = kind(cluster.bootstrap_servers, group, topic)
        wait_until(lambda: len(member.seen) > 20, "the member reads")
        wait_until(lambda: cluster.kafka.committed(group).get((topic, 0), 0) > 0, "it commits")
        before = cluster.kafka.committed(group)[topic, 0]
        first = coordinator(cluster, group)
        if how == "killed":
            cluster.brokers[first].kill()
        else:
            assert cluster.brokers[first].stop() == 0
        wait_until(lambda: coordinator(cluster, group) != first, "another broker coordinates")
        assert cluster.kafka.committed(group)[topic, 0] >= before
        wait_until(lambda: cluster.kafka.committed(group)[topic, 0] > before + 50, "commits go on")
        cluster.brokers[first].restart()
        wait_for_isr(cluster, topic)
    wait_until(lambda: len(set(member.seen)) == len(producer.acknowledged), "the member has read everything")
    member.finish()
    assert_exact(cluster, topic, producer)
