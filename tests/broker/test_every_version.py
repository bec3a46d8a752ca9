"""Every API in every version that the broker announces: a plain request is answered, and in that version's shape.

A handler that sets a field which its caller's version lacks would close the connection; this finds it for all of them,
on a broker with a topic, records, a group and a committed offset, so that answers are not empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from blumfeld.broker.table import SERVED
from blumfeld.cluster.link import Link
from blumfeld.env.environment import Env
from blumfeld.protocol.keys import ApiKey, request_class
from blumfeld.protocol.messages.consumer_protocol import ConsumerProtocolSubscription
from blumfeld.protocol.primitives import ZERO_UUID
from blumfeld.protocol.records import Record, build_batch
from blumfeld.protocol.schema import Request
from blumfeld.testing import Cluster

PRODUCE_REFUSED = (0, 1, 2)
CASES = [
    (ApiKey(key), version)
    for key, api in SERVED.items()
    for version in range(api.first_version, api.last_version + 1)
    if not (key == ApiKey.PRODUCE and version in PRODUCE_REFUSED)
]


class Scene:
    """One broker with something of everything, and the requests that ask for it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        kafka = cluster.kafka
        self.topic = kafka.topic(partitions=2)
        kafka.produce(self.topic, b"value", key=b"key")
        topic = kafka._run(kafka._cluster.topic(self.topic))
        self.topic_id = topic.topic_id
        self.epoch = topic.partitions[0].leader_epoch
        self.sequence = 0

    async def ask(self, request: Request, version: int) -> Any:
        host, _, port = self.cluster.bootstrap_servers.partition(":")
        link = Link(Env.real(), host, int(port), client_id="every-version", request_timeout_ms=60_000)
        try:
            return await link.send(request, max_version=version)
        finally:
            link.close()
            await asyncio.sleep(0)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Cluster() as cluster:
        yield Scene(cluster)


def build(kind: type[Request], **fields: Any) -> Request:
    return kind(**fields)


def named(scene: Scene, kind: type[Any], version: int, by_id: int, **fields: Any) -> Any:
    """A topic entry by name, or by id from version `by_id` on."""
    field = "topic" if "topic" in kind.__slots__ else "name"
    identity = {"topic_id": scene.topic_id} if version >= by_id else {field: scene.topic}
    return kind(**identity, **fields)


def produce(scene: Scene, kind: Any, version: int) -> Request:
    batch = build_batch([Record(0, 1_700_000_000_000, b"k", b"v")])
    partitions = [kind.Topic.Partition(index=0, records=batch), kind.Topic.Partition(index=77, records=batch)]
    topic = named(scene, kind.Topic, version, 13, partition_data=partitions)
    return build(kind, acks=1, timeout_ms=1000, topic_data=[topic])


def fetch(scene: Scene, kind: Any, version: int) -> Request:
    def partition(index: int, offset: int) -> Any:
        return kind.Topic.Partition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)

    topic = named(scene, kind.Topic, version, 13, partitions=[partition(0, 0), partition(1, 999), partition(9, 0)])
    isolation = {"isolation_level": 1}
    session = {"session_id": 0, "session_epoch": 0} if version >= 7 else {}
    return build(kind, max_wait_ms=0, min_bytes=0, topics=[topic], **isolation, **session)


def list_offsets(scene: Scene, kind: Any, version: int) -> Request:
    partitions = [kind.Topic.Partition(partition_index=p, timestamp=t) for p, t in ((0, -1), (1, 0), (9, -2))]
    return build(kind, replica_id=-1, topics=[kind.Topic(name=scene.topic, partitions=partitions)])


def metadata(scene: Scene, kind: Any, version: int) -> Request:
    topics = [kind.Topic(name=scene.topic), kind.Topic(name="no-such-topic")]
    more = {"allow_auto_topic_creation": False} if version >= 4 else {}
    return build(kind, topics=topics[: 1 if version < 4 else 2], **more)


def offset_commit(scene: Scene, kind: Any, version: int) -> Request:
    partitions = [kind.Topic.Partition(partition_index=p, committed_offset=3, committed_metadata="m") for p in (0, 9)]
    topic = named(scene, kind.Topic, version, 10, partitions=partitions)
    return build(kind, group_id="committed", topics=[topic])


def offset_fetch(scene: Scene, kind: Any, version: int) -> Request:
    if version >= 8:
        topic = named(scene, kind.Group.Topic, version, 10, partition_indexes=[0, 9])
        groups = [kind.Group(group_id="committed", topics=[topic]), kind.Group(group_id="other", topics=None)]
        return build(kind, groups=groups)
    return build(kind, group_id="committed", topics=[kind.Topic(name=scene.topic, partition_indexes=[0, 9])])


def find_coordinator(scene: Scene, kind: Any, version: int) -> Request:
    return build(kind, coordinator_keys=["g", ""]) if version >= 4 else build(kind, key="g")


def join_group(scene: Scene, kind: Any, version: int) -> Request:
    subscription = b"\x00\x01" + ConsumerProtocolSubscription(topics=[scene.topic]).encode(1)
    protocols = [kind.Protocol(name="range", metadata=subscription)]
    more = {"rebalance_timeout_ms": 1000} if version >= 1 else {}
    return build(
        kind,
        group_id=f"join-{version}",
        session_timeout_ms=6000,
        member_id="",
        protocol_type="consumer",
        protocols=protocols,
        **more,
    )


def with_group(**fields: Any) -> Callable[[Scene, Any, int], Request]:
    return lambda scene, kind, version: build(kind, group_id="no-such-group", **fields)


def leave_group(scene: Scene, kind: Any, version: int) -> Request:
    if version >= 3:
        members = [kind.Member(member_id="m", group_instance_id=None), kind.Member(member_id="", group_instance_id="i")]
        return build(kind, group_id="g", members=members)
    return build(kind, group_id="g", member_id="m")


def create_topics(scene: Scene, kind: Any, version: int) -> Request:
    def topic(name: str, **more: Any) -> Any:
        fields = {"num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": [], **more}
        return kind.Topic(name=name, **fields)

    config = kind.Topic.Config(name="retention.ms", value="1000")
    topics = [topic(f"made-{version}", configs=[config]), topic(scene.topic), topic("bad/name")]
    return build(kind, topics=topics, timeout_ms=5000)


def delete_topics(scene: Scene, kind: Any, version: int) -> Request:
    if version >= 6:
        topics = [kind.Topic(name="nothing", topic_id=ZERO_UUID), kind.Topic(name=None, topic_id=b"x" * 16)]
        return build(kind, topics=topics, timeout_ms=1000)
    return build(kind, topic_names=["nothing"], timeout_ms=1000)


def delete_records(scene: Scene, kind: Any, version: int) -> Request:
    partitions = [kind.Topic.Partition(partition_index=p, offset=0) for p in (0, 9)]
    return build(kind, topics=[kind.Topic(name=scene.topic, partitions=partitions)], timeout_ms=1000)


def init_producer_id(scene: Scene, kind: Any, version: int) -> Request:
    return build(kind, transactional_id=None, transaction_timeout_ms=1000)


def offset_for_leader_epoch(scene: Scene, kind: Any, version: int) -> Request:
    partitions = [kind.Topic.Partition(partition=p, leader_epoch=scene.epoch) for p in (0, 9)]
    replica = {"replica_id": -1} if version >= 3 else {}
    return build(kind, topics=[kind.Topic(topic=scene.topic, partitions=partitions)], **replica)


def describe_configs(scene: Scene, kind: Any, version: int) -> Request:
    def resource(kind_of: int, name: str) -> Any:
        return kind.Resource(resource_type=kind_of, resource_name=name, configuration_keys=None)

    more = {"include_documentation": True} if version >= 3 else {}
    resources = [resource(2, scene.topic), resource(2, "nothing"), resource(4, "1"), resource(99, "what")]
    return build(kind, resources=resources, include_synonyms=True, **more)


def alter_configs(scene: Scene, kind: Any, version: int) -> Request:
    configs = [kind.Resource.Config(name="retention.ms", value="777")]
    resources = [
        kind.Resource(resource_type=2, resource_name=name, configs=configs) for name in (scene.topic, "nothing")
    ]
    return build(kind, resources=resources, validate_only=True)


def incremental_alter_configs(scene: Scene, kind: Any, version: int) -> Request:
    configs = [kind.Resource.Config(name="retention.ms", config_operation=0, value="777")]
    resources = [
        kind.Resource(resource_type=2, resource_name=name, configs=configs) for name in (scene.topic, "nothing")
    ]
    return build(kind, resources=resources, validate_only=True)


def create_partitions(scene: Scene, kind: Any, version: int) -> Request:
    topics = [kind.Topic(name=name, count=3, assignments=None) for name in (scene.topic, "nothing")]
    return build(kind, topics=topics, timeout_ms=1000, validate_only=True)


def offset_delete(scene: Scene, kind: Any, version: int) -> Request:
    partitions = [kind.Topic.Partition(partition_index=0)]
    return build(kind, group_id="nothing", topics=[kind.Topic(name=scene.topic, partitions=partitions)])


def describe_topic_partitions(scene: Scene, kind: Any, version: int) -> Request:
    return build(kind, topics=[kind.Topic(name=scene.topic), kind.Topic(name="nothing")])


def describe_producers(scene: Scene, kind: Any, version: int) -> Request:
    return build(kind, topics=[kind.Topic(name=scene.topic, partition_indexes=[0, 9])])


def describe_quorum(scene: Scene, kind: Any, version: int) -> Request:
    topic = kind.Topic(topic_name="__cluster_metadata", partitions=[kind.Topic.Partition(partition_index=0)])
    return build(kind, topics=[topic])


def update_features(scene: Scene, kind: Any, version: int) -> Request:
    update = kind.FeatureUpdate(feature="nothing", max_version_level=1)
    more = {"validate_only": True} if version >= 1 else {}
    return build(kind, feature_updates=[update], **more)


def elect_leaders(scene: Scene, kind: Any, version: int) -> Request:
    topics = [kind.TopicPartitions(topic=scene.topic, partitions=[0, 9])]
    return build(kind, topic_partitions=topics, timeout_ms=1000)


def alter_partition_reassignments(scene: Scene, kind: Any, version: int) -> Request:
    partition = kind.Topic.Partition(partition_index=0, replicas=None)
    return build(kind, topics=[kind.Topic(name=scene.topic, partitions=[partition])], timeout_ms=1000)


REQUESTS: dict[ApiKey, Callable[[Scene, Any, int], Request]] = {
    ApiKey.PRODUCE: produce,
    ApiKey.FETCH: fetch,
    ApiKey.LIST_OFFSETS: list_offsets,
    ApiKey.METADATA: metadata,
    ApiKey.OFFSET_COMMIT: offset_commit,
    ApiKey.OFFSET_FETCH: offset_fetch,
    ApiKey.FIND_COORDINATOR: find_coordinator,
    ApiKey.JOIN_GROUP: join_group,
    ApiKey.HEARTBEAT: with_group(generation_id=1, member_id="m"),
    ApiKey.LEAVE_GROUP: leave_group,
    ApiKey.SYNC_GROUP: with_group(generation_id=1, member_id="m", assignments=[]),
    ApiKey.DESCRIBE_GROUPS: lambda _, kind, version: build(kind, groups=["committed", "nothing"]),
    ApiKey.LIST_GROUPS: lambda _, kind, version: build(kind),
    ApiKey.API_VERSIONS: lambda _, kind, version: build(
        kind, **({"client_software_name": "t", "client_software_version": "1"} if version >= 3 else {})
    ),
    ApiKey.CREATE_TOPICS: create_topics,
    ApiKey.DELETE_TOPICS: delete_topics,
    ApiKey.DELETE_RECORDS: delete_records,
    ApiKey.INIT_PRODUCER_ID: init_producer_id,
    ApiKey.OFFSET_FOR_LEADER_EPOCH: offset_for_leader_epoch,
    ApiKey.DESCRIBE_CONFIGS: describe_configs,
    ApiKey.ALTER_CONFIGS: alter_configs,
    ApiKey.DESCRIBE_LOG_DIRS: lambda _, kind, version: build(kind, topics=None),
    ApiKey.CREATE_PARTITIONS: create_partitions,
    ApiKey.DELETE_GROUPS: lambda _, kind, version: build(kind, groups_names=["nothing"]),
    ApiKey.ELECT_LEADERS: elect_leaders,
    ApiKey.INCREMENTAL_ALTER_CONFIGS: incremental_alter_configs,
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: alter_partition_reassignments,
    ApiKey.LIST_PARTITION_REASSIGNMENTS: lambda _, kind, version: build(kind, topics=None, timeout_ms=1000),
    ApiKey.OFFSET_DELETE: offset_delete,
    ApiKey.DESCRIBE_QUORUM: describe_quorum,
    ApiKey.UPDATE_FEATURES: update_features,
    ApiKey.DESCRIBE_CLUSTER: lambda _, kind, version: build(kind),
    ApiKey.DESCRIBE_PRODUCERS: describe_producers,
    ApiKey.UNREGISTER_BROKER: lambda _, kind, version: build(kind, broker_id=77),
    ApiKey.LIST_CONFIG_RESOURCES: lambda _, kind, version: build(kind),
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: describe_topic_partitions,
}


def test_there_is_a_request_for_everything_that_is_served() -> None:
    assert {ApiKey(key) for key in SERVED} == set(REQUESTS)


@pytest.mark.parametrize(("key", "version"), CASES, ids=[f"{key.name}-{version}" for key, version in CASES])
async def test_an_answer_in_every_version(scene: Scene, key: ApiKey, version: int) -> None:
    request = REQUESTS[key](scene, request_class(key), version)
    asking: Awaitable[Any] = scene.ask(request, version)
    response = await asking
    assert type(response) is type(request).RESPONSE
