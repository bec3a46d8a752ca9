"""Records through every foreign client: acks, keys, headers, codecs, sizes, order, positions."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnsupportedVersionError
from confluent_kafka import KafkaError as RefusedByBroker
from confluent_kafka import KafkaException, Producer
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from blumfeld.testing import Cluster
from tests.interop.clients.face import Client, Sent, TooLarge

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture
def topic(durable_broker: Cluster) -> str:
    return durable_broker.kafka.topic(partitions=3)


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_acks_setting_delivers_in_order(client: Client, durable_broker: Cluster, topic: str, acks: str) -> None:
    values = [f"{acks}-{n}".encode() for n in range(50)]
    placed = client.produce(topic, [Sent(value, partition=1) for value in values], acks=acks)
    if acks != "0":
        assert placed == [(1, n) for n in range(50)]
    got = client.consume(topic, [1], 50)
    assert [record.value for record in got] == values
    assert [record.offset for record in got] == list(range(50))


def test_records_with_one_key_share_a_partition_and_keep_their_order(client: Client, topic: str) -> None:
    records = [Sent(str(n).encode(), key=f"key-{n % 7}".encode()) for n in range(140)]
    placed = client.produce(topic, records)
    by_key: dict[bytes | None, set[int]] = {}
    for record, (partition, _) in zip(records, placed, strict=True):
        by_key.setdefault(record.key, set()).add(partition)
    assert all(len(partitions) == 1 for partitions in by_key.values())
    got = client.consume(topic, [0, 1, 2], 140)
    for key in by_key:
        assert [g.value for g in got if g.key == key] == [r.value for r in records if r.key == key]


def test_records_without_a_key_and_without_a_value(client: Client, topic: str) -> None:
    client.produce(topic, [Sent(b"plain"), Sent(None, key=b"tombstone"), Sent(b"", key=b"")])
    got = {record.key: record.value for record in client.consume(topic, [0, 1, 2], 3)}
    assert got == {None: b"plain", b"tombstone": None, b"": b""}


def test_headers_come_back_in_order(client: Client, topic: str) -> None:
    headers = (("trace", b"x"), ("again", b"1"), ("again", b"2"), ("empty", b""), ("ünïcode", "ß".encode()))
    client.produce(topic, [Sent(b"v", headers=headers, partition=0)])
    assert client.consume(topic, [0], 1)[0].headers == headers


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_comes_back_unchanged(client: Client, topic: str, codec: str) -> None:
    values = [bytes([n % 251]) * (n * 37) for n in range(60)]
    client.produce(topic, [Sent(value, partition=2) for value in values], codec=codec)
    assert [record.value for record in client.consume(topic, [2], 60)] == values


def test_what_one_client_writes_every_other_reads(durable_broker: Cluster, client: Client, topic: str) -> None:
    for codec in CODECS:
        client.produce(topic, [Sent(codec.encode() * 100, partition=0)], codec=codec)
    read = durable_broker.kafka.consume(topic, partition=0)
    assert [record.value for record in read] == [codec.encode() * 100 for codec in CODECS]


def test_the_broker_takes_exactly_max_message_bytes(client: Client, durable_broker: Cluster) -> None:
    limit = 40_000
    topic = durable_broker.kafka.topic(config={"max.message.bytes": str(limit)})
    smallest, largest = 1, limit
    # A batch of one record: what the value may be long is found from outside, and must be exact.
    overhead = _batch_overhead(limit)
    fitting = limit - overhead
    client.produce(topic, [Sent(b"x" * fitting, partition=0)], max_request_bytes=2 * limit)
    with pytest.raises(TooLarge):
        client.produce(topic, [Sent(b"x" * (fitting + 1), partition=0)], max_request_bytes=2 * limit)
    assert smallest < fitting < largest
    assert [len(r.value or b"") for r in client.consume(topic, [0], 1)] == [fitting]


def _batch_overhead(limit: int) -> int:
    """Bytes of a batch with one record of null key that are not its value, near `limit`."""
    from blumfeld.protocol.records import Record, build_batch

    length = limit - 100
    return len(build_batch([Record(0, 0, None, b"x" * length, ())])) - length


def test_consuming_from_an_offset_and_from_the_end(client: Client, topic: str) -> None:
    client.produce(topic, [Sent(str(n).encode(), partition=0) for n in range(20)])
    got = client.consume(topic, [0], 8, start=12)
    assert [record.offset for record in got] == list(range(12, 20))
    followed = client.produce_after_seek_to_end(topic, b"new")
    assert [(record.offset, record.value) for record in followed] == [(20, b"new")]


def test_offsets_by_timestamp(client: Client, topic: str) -> None:
    start = int(time.time() * 1000) - 100_000
    for n in range(10):
        client.produce(topic, [Sent(str(n).encode(), partition=0, timestamp_ms=start + n * 1000)])
    assert client.offset_at(topic, 0, start) == 0
    assert client.offset_at(topic, 0, start + 3000) == 3
    assert client.offset_at(topic, 0, start + 3001) == 4
    got = client.consume(topic, [0], 6, start=client.offset_at(topic, 0, start + 3001) or 0)
    assert [record.value for record in got] == [b"4", b"5", b"6", b"7", b"8", b"9"]
    assert [record.timestamp_ms for record in got] == [start + n * 1000 for n in range(4, 10)]


def test_an_idempotent_producer_writes_each_record_once(client: Client, durable_broker: Cluster, topic: str) -> None:
    values = [str(n).encode() for n in range(300)]
    client.produce(topic, [Sent(value, partition=0) for value in values], idempotent=True)
    assert [record.value for record in client.consume(topic, [0], 300)] == values
    [producer] = _producers(durable_broker, topic)
    assert producer.last_sequence == 299


def test_transactions_are_refused_at_once_and_for_good(durable_broker: Cluster) -> None:
    by_kafka_python = KafkaProducer(bootstrap_servers=durable_broker.bootstrap_servers, transactional_id="refused")
    with pytest.raises(KafkaError, match="UnsupportedVersionError"):  # not KafkaTimeoutError after a minute
        by_kafka_python.init_transactions()
    by_kafka_python.close()

    async def start_aiokafka() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=durable_broker.bootstrap_servers, transactional_id="refused")
        try:
            with pytest.raises(UnsupportedVersionError):
                await asyncio.wait_for(producer.start(), 60)  # it has no limit of its own
        finally:
            await producer.stop()

    asyncio.run(start_aiokafka())


def test_librdkafka_asks_for_transactions_until_its_time_is_up_and_says_why(durable_broker: Cluster) -> None:
    servers = durable_broker.bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "transactional.id": "refused", "log_level": 0})
    with pytest.raises(KafkaException) as refused:
        producer.init_transactions(3)
    assert refused.value.args[0].code() == RefusedByBroker.UNSUPPORTED_VERSION


def _producers(cluster: Cluster, topic: str) -> list[Any]:
    """Idempotent producers that the broker knows of in partition 0."""
    admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap_servers)
    try:
        [described] = admin.describe_producers([TopicPartition(topic, 0)]).values()
    finally:
        admin.close()
    return list(described.active_producers)


def test_a_topic_is_made_when_it_is_first_produced_to(client: Client, durable_broker: Cluster) -> None:
    from blumfeld.testing.kafka import unique_name

    name = unique_name("automatic")
    client.produce(name, [Sent(b"first")])
    assert name in client.list_topics()
    assert [r.value for r in client.consume(name, [0], 1)] == [b"first"]
