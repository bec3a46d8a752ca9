"""Loads by confluent-kafka (librdkafka), the same for every peer."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

QUIET = {"log_level": 2}
"""Failures are asserted; what librdkafka says on its way (brokers that it lost, handles that close) is not shown."""
PRODUCER = {**QUIET, "linger.ms": 5, "batch.size": 64 << 10, "queue.buffering.max.messages": 500_000}
ONE_BY_ONE = {**QUIET, "linger.ms": 0, "socket.nagle.disable": True}
CONSUMER = {
    **QUIET,
    "group.id": "bench",
    "enable.auto.commit": False,
    "fetch.queue.backoff.ms": 2,  # by default a full queue puts the consumer to sleep for a second
    "queued.min.messages": 200_000,
}
CREATE_TIMEOUT_S = 30.0
GIVE_UP_S = 120.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds from produce to ack, one record in flight."""

    p50: float
    p99: float


def create_topic(servers: str, name: str, partitions: int, replicas: int = 1) -> None:
    """Create a topic, trying again while the cluster is not ready."""
    admin = AdminClient({"bootstrap.servers": servers, **QUIET})
    deadline = time.monotonic() + CREATE_TIMEOUT_S
    while True:
        try:
            admin.create_topics([NewTopic(name, partitions, replicas)])[name].result(10)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def delete_topic(servers: str, name: str) -> None:
    """Delete a topic, so that its pages don't wait to be written to the device in the loads that follow."""
    admin = AdminClient({"bootstrap.servers": servers, **QUIET})
    admin.delete_topics([name])[name].result(30)


def produce(servers: str, topic: str, partitions: int, size: int, count: int, acks: str = "1") -> float:
    """Produce `count` records of `size` bytes in turn to the partitions; records a second until all are acked."""
    producer = Producer({"bootstrap.servers": servers, "acks": acks, **PRODUCER})
    producer.list_topics(topic, timeout=10)
    value = b"x" * size
    send, poll = producer.produce, producer.poll
    failures: list[Any] = []

    def report(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(error)

    started = time.perf_counter()
    for n in range(count):
        while True:
            try:
                send(topic, value, partition=n % partitions, on_delivery=report if n % 1000 == 0 else None)
                break
            except BufferError:
                poll(0.01)
        if n % 1000 == 0:
            poll(0)
    left = producer.flush(GIVE_UP_S)
    elapsed = time.perf_counter() - started
    assert left == 0, f"{left} records are not acknowledged"
    assert not failures, failures[0]
    return count / elapsed


def consume(servers: str, topic: str, partitions: int, count: int) -> float:
    """Read `count` records from the start; records a second from the first one on, connecting left out."""
    consumer = Consumer({"bootstrap.servers": servers, **CONSUMER})
    consumer.list_topics(topic, timeout=10)  # else the topic is looked up again only after half a second
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    deadline = time.monotonic() + GIVE_UP_S
    while not consumer.consume(1, timeout=0.5):
        assert time.monotonic() < deadline, "no record came"
    started, seen = time.perf_counter(), 1
    while seen < count:
        seen += len(consumer.consume(min(10_000, count - seen), timeout=0.5))
        assert time.monotonic() < deadline, f"only {seen} of {count} records came"
    elapsed = time.perf_counter() - started
    consumer.close()
    return (seen - 1) / elapsed


def ack_latencies(servers: str, topic: str, count: int = 3000, size: int = 100, acks: str = "1") -> Latencies:
    """One record in flight, no linger; the first tenth is not counted."""
    producer = Producer({"bootstrap.servers": servers, "acks": acks, **ONE_BY_ONE})
    producer.list_topics(topic, timeout=10)
    value, times = b"x" * size, []
    for _ in range(count):
        started = time.perf_counter()
        producer.produce(topic, value, partition=0)
        assert producer.flush(10) == 0
        times.append((time.perf_counter() - started) * 1000)
    times = times[count // 10 :]
    return Latencies(statistics.median(times), statistics.quantiles(times, n=100)[98])
