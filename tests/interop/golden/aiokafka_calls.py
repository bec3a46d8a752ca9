"""aiokafka: transactions and administration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

from tests.interop.golden.common import GROUP, TOPIC, Step

PARTITION = TopicPartition(TOPIC, 0)


def steps(servers: str) -> Iterator[Step]:
    yield "transactions", lambda: asyncio.run(transactions(servers))
    yield "administration", lambda: asyncio.run(administration(servers))


async def transactions(servers: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id="golden-transaction")
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=servers, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await producer.start()
    await consumer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(TOPIC, b"within", partition=0)
            await producer.send_offsets_to_transaction({PARTITION: OffsetAndMetadata(1, "")}, f"{GROUP}-transactional")
        await producer.begin_transaction()
        await producer.send_and_wait(TOPIC, b"never", partition=0)
        await producer.abort_transaction()
        await asyncio.wait_for(consumer.getone(), 15)
    finally:
        await consumer.stop()
        await producer.stop()


async def administration(servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        topic = ConfigResource(ConfigResourceType.TOPIC, TOPIC, {"retention.ms": "3600000"})
        await admin.create_partitions({TOPIC: NewPartitions(3)})
        await admin.alter_configs([topic])
        await admin.describe_configs([topic], include_synonyms=True)
        await admin.delete_records({PARTITION: RecordsToDelete(1)})
        await admin.describe_cluster()
        await admin.describe_topics([TOPIC])
        await admin.list_consumer_groups()
        await admin.describe_consumer_groups([GROUP])
        await admin.list_consumer_group_offsets(GROUP)
    finally:
        await admin.close()
