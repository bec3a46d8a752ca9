"""kafka-python."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaConnectionError, MessageSizeTooLargeError, RecordListTooLargeError

from tests.interop.clients.face import PATIENCE_S, Client, Got, Membership, Sent, TooLarge
from tests.interop.clients.polling import PollingMember

ACKS: dict[str, Any] = {"0": 0, "1": 1, "all": "all"}


class KafkaPythonMember(PollingMember):
    def __init__(self, servers: str, membership: Membership) -> None:
        self._settings: dict[str, Any] = {
            "bootstrap_servers": servers,
            "group_id": membership.group,
            "group_instance_id": membership.instance,
            "enable_auto_commit": False,
            "auto_offset_reset": membership.reset,
            "session_timeout_ms": membership.session_timeout_ms,
            "heartbeat_interval_ms": 200,
            "fetch_max_wait_ms": 100,
        }
        if membership.cooperates:
            self._settings["partition_assignment_strategy"] = [CooperativeStickyAssignor]
        self._topic = membership.topic
        self._consumer: Any = None
        super().__init__()

    def open(self) -> None:
        self._consumer = KafkaConsumer(self._topic, **self._settings)

    def poll(self) -> tuple[list[Got], frozenset[tuple[str, int]]]:
        try:
            found = self._consumer.poll(timeout_ms=50)
        except KafkaConnectionError:  # the broker is down for a moment: applications poll again
            found = {}
        got = [_got(record) for records in found.values() for record in records]
        return got, frozenset((tp.topic, tp.partition) for tp in self._consumer.assignment())

    def commit_now(self, *, wait: bool) -> None:
        if wait:
            self._consumer.commit()
        else:
            future = self._consumer.commit_async()
            while not future.is_done:
                self.poll()
            assert future.succeeded(), future.exception

    def leave(self) -> None:
        self._consumer.close(autocommit=False)


class KafkaPython(Client):
    name = "kafka-python"

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
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap_servers,
            acks=ACKS[acks],
            compression_type=None if codec == "none" else codec,
            enable_idempotence=idempotent,
            max_request_size=max_request_bytes,
            linger_ms=5,
        )
        try:
            futures = [
                producer.send(
                    topic,
                    value=r.value,
                    key=r.key,
                    headers=list(r.headers) or None,
                    partition=r.partition,
                    timestamp_ms=r.timestamp_ms,
                )
                for r in records
            ]
            placed = [future.get(timeout=PATIENCE_S) for future in futures]
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise TooLarge from error
        finally:
            producer.close(timeout=PATIENCE_S)
        return [(metadata.partition, metadata.offset) for metadata in placed]

    def _consumer(self) -> Any:
        return KafkaConsumer(
            bootstrap_servers=self.bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=4 << 20,
        )

    def consume(self, topic: str, partitions: Sequence[int], count: int, *, start: str | int = "earliest") -> list[Got]:
        consumer = self._consumer()
        try:
            assigned = [TopicPartition(topic, p) for p in partitions]
            consumer.assign(assigned)
            if start == "earliest":
                consumer.seek_to_beginning(*assigned)
            elif start == "latest":
                consumer.seek_to_end(*assigned)
            else:
                for tp in assigned:
                    consumer.seek(tp, start)
            return _poll_until(consumer, count)
        finally:
            consumer.close()

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        consumer = self._consumer()
        try:
            found = consumer.offsets_for_times({TopicPartition(topic, partition): timestamp_ms})
            placed = found[TopicPartition(topic, partition)]
            return None if placed is None else int(placed.offset)
        finally:
            consumer.close()

    def produce_after_seek_to_end(self, topic: str, value: bytes) -> list[Got]:
        consumer = self._consumer()
        try:
            assigned = TopicPartition(topic, 0)
            consumer.assign([assigned])
            consumer.seek_to_end(assigned)
            consumer.position(assigned)
            self.produce(topic, [Sent(value, partition=0)])
            return _poll_until(consumer, 1)
        finally:
            consumer.close()

    def member(self, membership: Membership) -> KafkaPythonMember:
        return KafkaPythonMember(self.bootstrap_servers, membership)

    def _admin(self) -> Any:
        return KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        admin = self._admin()
        try:
            return getattr(admin, method)(*arguments, **options)
        finally:
            admin.close()

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, topic_configs=dict(config or {}))
        self._ask("create_topics", [topic])

    def delete_topic(self, name: str) -> None:
        self._ask("delete_topics", [name])

    def list_topics(self) -> set[str]:
        return set(self._ask("list_topics"))

    def partition_count(self, topic: str) -> int:
        return len(self._ask("describe_topics", [topic])[0]["partitions"])

    def topic_config(self, topic: str) -> Mapping[str, Any]:
        return self._config(ConfigResourceType.TOPIC, topic)

    def broker_config(self, broker_id: int) -> Mapping[str, Any]:
        return self._config(ConfigResourceType.BROKER, str(broker_id))

    def _config(self, kind: ConfigResourceType, name: str) -> Mapping[str, Any]:
        found = self._ask("describe_configs", [ConfigResource(kind, name)], config_filter="all")
        return _flat_config(found, name)

    def broker_ids(self) -> set[int]:
        return {broker["broker_id"] for broker in self._ask("describe_cluster")["brokers"]}

    def groups(self) -> set[str]:
        return {group["group_id"] for group in self._ask("list_groups")}

    def group_members(self, group: str) -> int:
        found = self._ask("describe_groups", [group])
        described = found[group] if isinstance(found, dict) else found[0]
        return len(described["members"])

    def committed(self, group: str, topic: str) -> dict[int, int]:
        found = self._ask("list_group_offsets", group)
        offsets = found.get(group, found)
        return {tp.partition: placed.offset for tp, placed in offsets.items() if tp.topic == topic}


def _flat_config(found: Any, topic: str) -> Mapping[str, Any]:
    """{name: value}, whatever shape this release wraps it in."""
    if isinstance(found, dict) and topic in found:
        found = found[topic]
    if isinstance(found, dict) and len(found) == 1:
        found = next(iter(found.values()))
        if isinstance(found, dict) and topic in found:
            found = found[topic]
    return {name: entry["value"] if isinstance(entry, dict) else entry for name, entry in found.items()}


def _poll_until(consumer: Any, count: int) -> list[Got]:
    got: list[Got] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < count and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=100).values():
            got += [_got(record) for record in records]
    return got


def _got(record: Any) -> Got:
    return Got(
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.timestamp,
        tuple(record.headers or ()),
    )
