"""kafka-python: transactions and administration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    AbortTransactionSpec,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kafka.structs import OffsetAndMetadata

from tests.interop.golden.common import GROUP, TOPIC, Step

PARTITION = TopicPartition(TOPIC, 0)
OTHER = "golden-other"


def steps(servers: str) -> Iterator[Step]:
    yield "transactions", lambda: transactions(servers)
    admin = KafkaAdminClient(bootstrap_servers=servers)
    topic = ConfigResource(ConfigResourceType.TOPIC, TOPIC, {"retention.ms": "3600000"})
    user = "golden-user"
    yield "create partitions", lambda: admin.create_partitions({TOPIC: NewPartitions(3)})
    yield "alter configs", lambda: admin.alter_configs([topic])
    yield "alter configs, the old way", lambda: admin.alter_configs([topic], incremental=False)
    yield "describe configs", lambda: admin.describe_configs([topic], include_synonyms=True)
    yield "config resources", admin.list_config_resources
    yield "delete records", lambda: admin.delete_records({PARTITION: 1})
    yield "log dirs", admin.describe_log_dirs
    yield "move log dir", lambda: move_log_dir(admin)
    yield "quorum", admin.describe_metadata_quorum
    yield "features", admin.describe_features
    yield "update features", lambda: admin.update_features({"transaction.version": 2}, validate_only=True)
    yield "topic partitions", lambda: admin.describe_topic_partitions([TOPIC])
    yield "offsets", lambda: admin.list_partition_offsets({PARTITION: OffsetSpec.LATEST})
    yield "elect", lambda: admin.elect_leaders(0, {TOPIC: [0]})
    yield "reassign", lambda: admin.alter_partition_reassignments({PARTITION: [1]})
    yield "reassignments", admin.list_partition_reassignments
    yield "producers", lambda: admin.describe_producers([PARTITION])
    yield "list transactions", admin.list_transactions
    yield "abort a producer's", lambda: admin.abort_transaction(AbortTransactionSpec(PARTITION, 999, 0))
    yield "describe transactions", lambda: admin.describe_transactions(["golden-transaction"])
    yield "create acl", lambda: admin.create_acls([acl()])
    yield "describe acls", lambda: admin.describe_acls(acl_filter())
    yield "delete acls", lambda: admin.delete_acls([acl_filter()])
    upsertion = UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_256, "secret", iterations=4096)
    yield "scram", lambda: admin.alter_user_scram_credentials([upsertion])
    yield "describe scram", lambda: admin.describe_user_scram_credentials([user])
    deletion = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_256)
    yield "delete scram", lambda: admin.alter_user_scram_credentials([deletion])
    yield "alter offsets", lambda: admin.alter_group_offsets(GROUP, {PARTITION: OffsetAndMetadata(1, "", -1)})
    yield "delete offsets", lambda: admin.delete_group_offsets(GROUP, [PARTITION])
    yield "list offsets of groups", lambda: admin.list_group_offsets({GROUP: None})
    yield "delete group", lambda: admin.delete_groups([GROUP])
    yield "create a topic with assignment", lambda: admin.create_topics([NewTopic(OTHER, replica_assignments={0: [1]})])
    yield "delete it", lambda: admin.delete_topics([OTHER])
    yield "close", admin.close


def transactions(servers: str) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=servers, group_id=f"{GROUP}-transactional", isolation_level="read_committed"
    )
    producer = KafkaProducer(bootstrap_servers=servers, transactional_id="golden-transaction")
    try:
        consumer.subscribe([TOPIC])
        for _ in range(100):
            consumer.poll(timeout_ms=50)
            if consumer.assignment():
                break
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(TOPIC, b"within", partition=0).get(timeout=10)
        position = {PARTITION: OffsetAndMetadata(1, "", -1)}
        producer.send_offsets_to_transaction(position, consumer.group_metadata())
        producer.commit_transaction()
        producer.begin_transaction()
        producer.send(TOPIC, b"never", partition=0).get(timeout=10)
        producer.abort_transaction()
        consumer.poll(timeout_ms=500)
    finally:
        producer.close()
        consumer.close()


def move_log_dir(admin: Any) -> None:
    directory = admin.describe_log_dirs()[0]["log_dirs"][0]["log_dir"]
    admin.alter_replica_log_dirs({(TOPIC, 0, 1): directory})


def acl() -> ACL:
    pattern = ResourcePattern(ResourceType.TOPIC, TOPIC)
    return ACL("User:golden", "*", ACLOperation.READ, ACLPermissionType.ALLOW, pattern)


def acl_filter() -> ACLFilter:
    pattern = ResourcePatternFilter(ResourceType.TOPIC, TOPIC, ACLResourcePatternType.LITERAL)
    return ACLFilter("User:golden", "*", ACLOperation.ANY, ACLPermissionType.ANY, pattern)
