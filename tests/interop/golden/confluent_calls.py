"""confluent-kafka: transactions, the consumer protocol (KIP-848) and administration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    ElectionType,
    IsolationLevel,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from tests.interop.golden.common import GROUP, TOPIC, Step, wait_until

NEW_GROUP = f"{GROUP}-consumer"


def steps(servers: str) -> Iterator[Step]:
    yield "transactions", lambda: transactions(servers)
    yield "consumer group", lambda: consumer_group(servers)
    yield "check a position's epoch", lambda: seek_within_an_epoch(servers)
    admin = AdminClient({"bootstrap.servers": servers})
    partition = TopicPartition(TOPIC, 0, 1)
    topic = ConfigResource(ResourceType.TOPIC, TOPIC, set_config={"retention.ms": "3600000"})
    entry = ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
    step = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[entry])
    user, mechanism = "golden-user", ScramMechanism.SCRAM_SHA_256
    acl = AclBinding(
        *(ResourceType.TOPIC, TOPIC, ResourcePatternType.LITERAL),
        *("User:golden", "*", AclOperation.READ, AclPermissionType.ALLOW),
    )
    acls = AclBindingFilter(
        *(ResourceType.ANY, None, ResourcePatternType.ANY),
        *(None, None, AclOperation.ANY, AclPermissionType.ANY),
    )
    offsets = ConsumerGroupTopicPartitions(GROUP, [partition])
    topics = TopicCollection([TOPIC])
    scram = UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanism, 4096), b"secret")
    latest = {TopicPartition(TOPIC, 0): OffsetSpec.latest()}
    yield "create partitions", lambda: done(admin.create_partitions([NewPartitions(TOPIC, 3)]))
    yield "alter configs", lambda: done(admin.alter_configs([topic]))
    yield "alter configs by steps", lambda: done(admin.incremental_alter_configs([step]))
    yield "describe configs", lambda: done(admin.describe_configs([topic]))
    yield "describe topics", lambda: done(admin.describe_topics(topics, include_authorized_operations=True))
    yield "describe cluster", lambda: done(admin.describe_cluster(include_authorized_operations=True))
    yield "delete records", lambda: done(admin.delete_records([partition]))
    yield "offsets", lambda: done(admin.list_offsets(latest, isolation_level=IsolationLevel.READ_COMMITTED))
    yield "elect", lambda: done(admin.elect_leaders(ElectionType.PREFERRED, [partition]))
    yield "create acls", lambda: done(admin.create_acls([acl]))
    yield "describe acls", lambda: done(admin.describe_acls(acls))
    yield "delete acls", lambda: done(admin.delete_acls([acls]))
    yield "scram", lambda: done(admin.alter_user_scram_credentials([scram]))
    yield "describe scram", lambda: done(admin.describe_user_scram_credentials([user]))
    deletion = UserScramCredentialDeletion(user, mechanism)
    yield "delete scram", lambda: done(admin.alter_user_scram_credentials([deletion]))
    yield "consumer groups", lambda: done(admin.list_consumer_groups())
    yield "describe groups", lambda: done(admin.describe_consumer_groups([GROUP, NEW_GROUP]))
    yield "alter offsets", lambda: done(admin.alter_consumer_group_offsets([offsets]))
    yield (
        "list offsets of a group",
        lambda: done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP)])),
    )
    yield "delete groups", lambda: done(admin.delete_consumer_groups([GROUP]))


def done(answer: Any) -> None:
    """Wait for one future, or for each of a dictionary of them."""
    for future in answer.values() if isinstance(answer, dict) else [answer]:
        future.result(timeout=15)


def transactions(servers: str) -> None:
    settings = {"bootstrap.servers": servers, "group.id": f"{GROUP}-transactional", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "isolation.level": "read_committed", "enable.auto.commit": False})
    producer = Producer({"bootstrap.servers": servers, "transactional.id": "golden-transaction"})
    try:
        consumer.subscribe([TOPIC])
        wait_until(lambda: consumer.poll(0.1) is not None, "the consumer receives")
        producer.init_transactions(15)
        producer.begin_transaction()
        producer.produce(TOPIC, b"within", partition=0)
        position = [TopicPartition(TOPIC, 0, 1)]
        producer.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), 15)
        producer.commit_transaction(15)
        producer.begin_transaction()
        producer.produce(TOPIC, b"never", partition=0)
        producer.flush(15)
        producer.abort_transaction(15)
    finally:
        consumer.close()


def consumer_group(servers: str) -> None:
    settings = {"bootstrap.servers": servers, "group.id": NEW_GROUP, "group.protocol": "consumer"}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    try:
        consumer.subscribe([TOPIC])
        wait_until(lambda: consumer.poll(0.1) is not None, "the consumer receives")
        consumer.commit(asynchronous=False)
        consumer.committed([TopicPartition(TOPIC, 0)], timeout=15)
    finally:
        consumer.close()


def seek_within_an_epoch(servers: str) -> None:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "unused", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(TOPIC, 0, 1, leader_epoch=0)])
        wait_until(lambda: consumer.poll(0.1) is not None, "the consumer receives")
    finally:
        consumer.close()
