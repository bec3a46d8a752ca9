"""aiokafka, driven from an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from tests.interop.clients.face import PATIENCE_S, Client, Got, Member, Membership, Sent, TooLarge

ACKS: dict[str, Any] = {"0": 0, "1": 1, "all": "all"}


class _Loop:
    """One loop for all aiokafka clients of the process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True, name="aiokafka").start()

    def run(self, coroutine: Coroutine[Any, Any, Any], timeout_s: float = 2 * PATIENCE_S) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)


_shared: list[_Loop] = []


def _loop() -> _Loop:
    if not _shared:
        _shared.append(_Loop())
    return _shared[0]


class AioMember(Member):
    def __init__(self, servers: str, membership: Membership) -> None:
        self._got: list[Got] = []
        self._consumer: Any = None
        self._task: Any = None
        _loop().run(self._open(servers, membership))

    async def _open(self, servers: str, membership: Membership) -> None:
        self._consumer = AIOKafkaConsumer(
            membership.topic,
            bootstrap_servers=servers,
            group_id=membership.group,
            group_instance_id=membership.instance,
            enable_auto_commit=False,
            auto_offset_reset=membership.reset,
            session_timeout_ms=membership.session_timeout_ms,
            heartbeat_interval_ms=200,
            fetch_max_wait_ms=100,
            metadata_max_age_ms=2000,
        )
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        await self._consumer.start()
        while True:
            found = await self._consumer.getmany(timeout_ms=50)
            for records in found.values():
                self._got += [_got(record) for record in records]

    def _check(self) -> None:
        if self._task.done() and not self._task.cancelled() and self._task.exception():
            raise AssertionError("the member failed") from self._task.exception()

    def assignment(self) -> frozenset[tuple[str, int]]:
        self._check()
        return frozenset((tp.topic, tp.partition) for tp in self._consumer.assignment())

    def received(self) -> list[Got]:
        self._check()
        return list(self._got)

    def commit(self, *, wait: bool) -> None:
        # aiokafka's commit is a coroutine: awaited at once, or started and looked at later.
        future = asyncio.run_coroutine_threadsafe(self._consumer.commit(), _loop().loop)
        if wait:
            future.result(PATIENCE_S)
        else:
            future.add_done_callback(lambda done: done.result())

    def close(self) -> None:
        _loop().run(self._stop())

    async def _stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()


class Aio(Client):
    name = "aiokafka"
    can_cooperate = False

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
        placed: list[tuple[int, int]] = _loop().run(
            self._produce(topic, records, acks, codec, idempotent, max_request_bytes)
        )
        return placed

    async def _produce(
        self,
        topic: str,
        records: Sequence[Sent],
        acks: str,
        codec: str,
        idempotent: bool,
        max_request_bytes: int,
    ) -> list[tuple[int, int]]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers,
            acks=ACKS[acks],
            compression_type=None if codec == "none" else codec,
            enable_idempotence=idempotent,
            max_request_size=max_request_bytes,
            linger_ms=5,
        )
        await producer.start()
        try:
            futures = [
                await producer.send(
                    topic,
                    value=r.value,
                    key=r.key,
                    headers=list(r.headers),
                    partition=r.partition,
                    timestamp_ms=r.timestamp_ms,
                )
                for r in records
            ]
            placed = [await future for future in futures]
        except MessageSizeTooLargeError as error:
            raise TooLarge from error
        finally:
            await producer.stop()
        return [(m.partition, m.offset) if m is not None else (-1, -1) for m in placed]

    def _consumer(self) -> Any:
        return AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=4 << 20,
        )

    def consume(self, topic: str, partitions: Sequence[int], count: int, *, start: str | int = "earliest") -> list[Got]:
        async def consume() -> list[Got]:
            consumer = self._consumer()
            await consumer.start()
            try:
                assigned = [TopicPartition(topic, p) for p in partitions]
                consumer.assign(assigned)
                if start == "earliest":
                    await consumer.seek_to_beginning(*assigned)
                elif start == "latest":
                    await consumer.seek_to_end(*assigned)
                else:
                    for tp in assigned:
                        consumer.seek(tp, start)
                return await _poll_until(consumer, count)
            finally:
                await consumer.stop()

        got: list[Got] = _loop().run(consume())
        return got

    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        async def ask() -> int | None:
            consumer = self._consumer()
            await consumer.start()
            try:
                found = await consumer.offsets_for_times({TopicPartition(topic, partition): timestamp_ms})
                placed = found[TopicPartition(topic, partition)]
                return None if placed is None else int(placed.offset)
            finally:
                await consumer.stop()

        offset: int | None = _loop().run(ask())
        return offset

    def produce_after_seek_to_end(self, topic: str, value: bytes) -> list[Got]:
        async def follow() -> list[Got]:
            consumer = self._consumer()
            await consumer.start()
            try:
                assigned = TopicPartition(topic, 0)
                consumer.assign([assigned])
                await consumer.seek_to_end(assigned)
                await consumer.position(assigned)
                await self._produce(topic, [Sent(value, partition=0)], "all", "none", False, 1_000_000)
                return await _poll_until(consumer, 1)
            finally:
                await consumer.stop()

        got: list[Got] = _loop().run(follow())
        return got

    def member(self, membership: Membership) -> AioMember:
        return AioMember(self.bootstrap_servers, membership)

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        async def ask() -> Any:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
            await admin.start()
            try:
                return await getattr(admin, method)(*arguments, **options)
            finally:
                await admin.close()

        return _loop().run(ask())

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, topic_configs=dict(config or {}))
        response = self._ask("create_topics", [topic])
        assert response.topic_errors[0][1] == 0, response

    def delete_topic(self, name: str) -> None:
        response = self._ask("delete_topics", [name])
        assert response.topic_error_codes[0][1] == 0, response

    def list_topics(self) -> set[str]:
        return set(self._ask("list_topics"))

    def partition_count(self, topic: str) -> int:
        return len(self._ask("describe_topics", [topic])[0]["partitions"])

    def topic_config(self, topic: str) -> Mapping[str, Any]:
        return self._config(ConfigResourceType.TOPIC, topic)

    def broker_config(self, broker_id: int) -> Mapping[str, Any]:
        return self._config(ConfigResourceType.BROKER, str(broker_id))

    def _config(self, kind: ConfigResourceType, name: str) -> Mapping[str, Any]:
        responses = self._ask("describe_configs", [ConfigResource(kind, name)])
        return {entry[0]: entry[1] for entry in responses[0].resources[0][4]}

    def broker_ids(self) -> set[int]:
        return {broker["node_id"] for broker in self._ask("describe_cluster")["brokers"]}

    def groups(self) -> set[str]:
        return {group for group, _ in self._ask("list_consumer_groups")}

    def group_members(self, group: str) -> int:
        return len(self._ask("describe_consumer_groups", [group])[0].groups[0][5])

    def committed(self, group: str, topic: str) -> dict[int, int]:
        found = self._ask("list_consumer_group_offsets", group)
        return {tp.partition: placed.offset for tp, placed in found.items() if tp.topic == topic}


async def _poll_until(consumer: Any, count: int) -> list[Got]:
    got: list[Got] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < count and time.monotonic() < deadline:
        for records in (await consumer.getmany(timeout_ms=100)).values():
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
