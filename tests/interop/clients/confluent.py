"""confluent-kafka (librdkafka)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from tests.interop.clients.face import PATIENCE_S, Client, Got, Membership, Sent, TooLarge
from tests.interop.clients.polling import PollingMember


class ConfluentMember(PollingMember):
    def __init__(self, servers: str, membership: Membership) -> None:
        self._settings: dict[str, Any] = {
            "bootstrap.servers": servers,
            "group.id": membership.group,
            "enable.auto.commit": False,
            "auto.offset.reset": membership.reset,
            "session.timeout.ms": membership.session_timeout_ms,
            "heartbeat.interval.ms": 200,
            "fetch.wait.max.ms": 100,
        }
        if membership.instance is not None:
            self._settings["group.instance.id"] = membership.instance
        if membership.cooperates:
            self._settings["partition.assignment.strategy"] = "cooperative-sticky"
        self._topic = membership.topic
        self._consumer: Any = None
        super().__init__()

    def open(self) -> None:
        self._consumer = Consumer(self._settings)
        self._consumer.subscribe([self._topic])

    def poll(self) -> tuple[list[Got], frozenset[tuple[str, int]]]:
        got = []
        for message in self._consumer.consume(100, timeout=0.05):
            if message.error() is None:
                got.append(_got(message))
        return got, frozenset((tp.topic, tp.partition) for tp in self._consumer.assignment())

    def commit_now(self, *, wait: bool) -> None:
        try:
            self._consumer.commit(asynchronous=not wait)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                raise
        if not wait:
            self.poll()

    def leave(self) -> None:
        self._consumer.close()


class Confluent(Client):
    name = "confluent-kafka"

    def produce(
        self,
        topic: str,
        records: Sequence[Sent],
        *,
        acks: str = "all",
        codec: str = "none",
        idempotent: bool = False,
        max_request_bytes: int = 1_000_000,
    ) -> list[tuple[int, int]]:
        settings: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "compression.type": codec,
            "message.max.bytes": max_request_bytes,
            "linger.ms": 5,
        }
        if idempotent:
            settings["enable.idempotence"] = True
        else:
            settings["acks"] = acks
        producer = Producer(settings)
        placed: list[tuple[int, int] | None] = [None] * len(records)
        failures: list[KafkaError] = []

        def report(position: int) -> Any:
            def delivered(error: KafkaError | None, message: Any) -> None:
                if error is not None:
                    failures.append(error)
                else:
                    placed[position] = (message.partition(), message.offset())

            return delivered

        for position, r in enumerate(records):
            options: dict[str, Any] = {}
            if r.partition is not None:
                options["partition"] = r.partition
            if r.timestamp_ms is not None:
                options["timestamp"] = r.timestamp_ms
            producer.produce(
                topic,
                value=r.value,
                key=r.key,
                headers=list(r.headers),
                on_delivery=report(position),
                **options,
            )
        assert producer.flush(PATIENCE_S) == 0
        if any(f.code() == KafkaError.MSG_SIZE_TOO_LARGE for f in failures):
            raise TooLarge
        assert not failures, failures
        return [p for p in placed if p is not None]

    def _consumer(self) -> Any:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "unused",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "fetch.message.max.bytes": 4 << 20,
            }
        )

    def consume(self, topic: str, partitions: Sequence[int], count: int, *, start: str | int = "earliest") -> list[Got]:
        places = {"earliest": OFFSET_BEGINNING, "latest": OFFSET_END}
        offset = places[start] if isinstance(start, str) else start
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(topic, p, offset) for p in partitions])
            return _poll_until(consumer, count)
        finally:
            consumer.close()

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        consumer = self._consumer()
        try:
            found = consumer.offsets_for_times([TopicPartition(topic, partition, timestamp_ms)], timeout=PATIENCE_S)[0]
            return int(found.offset) if found.offset >= 0 else None
        finally:
            consumer.close()

    def produce_after_seek_to_end(self, topic: str, value: bytes) -> list[Got]:
        consumer = self._consumer()
        try:
            end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=PATIENCE_S)[1]
            consumer.assign([TopicPartition(topic, 0, end)])
            self.produce(topic, [Sent(value, partition=0)])
            return _poll_until(consumer, 1)
        finally:
            consumer.close()

    def member(self, membership: Membership) -> ConfluentMember:
        return ConfluentMember(self.bootstrap_servers, membership)

    @cached_property
    def _handle(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers})

    def _admin(self) -> AdminClient:
        """The same one each time: an answer is lost with the handle it was asked through."""
        return self._handle

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        self._admin().create_topics([topic])[name].result(PATIENCE_S)

    def delete_topic(self, name: str) -> None:
        self._admin().delete_topics([name])[name].result(PATIENCE_S)

    def list_topics(self) -> set[str]:
        return set(self._admin().list_topics(timeout=PATIENCE_S).topics)

    def partition_count(self, topic: str) -> int:
        described = self._admin().describe_topics(TopicCollection([topic]))[topic].result(PATIENCE_S)
        return len(described.partitions)

    def topic_config(self, topic: str) -> Mapping[str, Any]:
        return self._config(ConfigResource.Type.TOPIC, topic)

    def broker_config(self, broker_id: int) -> Mapping[str, Any]:
        return self._config(ConfigResource.Type.BROKER, str(broker_id))

    def _config(self, kind: ConfigResource.Type, name: str) -> Mapping[str, Any]:
        resource = ConfigResource(kind, name)
        found = self._admin().describe_configs([resource])[resource].result(PATIENCE_S)
        return {name: entry.value for name, entry in found.items()}

    def broker_ids(self) -> set[int]:
        return {node.id for node in self._admin().describe_cluster().result(PATIENCE_S).nodes}

    def groups(self) -> set[str]:
        return {g.group_id for g in self._admin().list_consumer_groups().result(PATIENCE_S).valid}

    def group_members(self, group: str) -> int:
        return len(self._admin().describe_consumer_groups([group])[group].result(PATIENCE_S).members)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        found = (
            self._admin().list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(PATIENCE_S)
        )
        return {tp.partition: tp.offset for tp in found.topic_partitions if tp.topic == topic}


def _poll_until(consumer: Any, count: int) -> list[Got]:
    got: list[Got] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < count and time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is not None:
            assert message.error() is None, message.error()
            got.append(_got(message))
    return got


def _got(message: Any) -> Got:
    return Got(
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.timestamp()[1],
        tuple(message.headers() or ()),
    )
