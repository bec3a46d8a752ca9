"""Topics made, grown, deleted and described: every way in which that is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blumfeld.protocol.messages.create_partitions import CreatePartitionsRequest
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.delete_topics import DeleteTopicsRequest
from blumfeld.protocol.messages.describe_topic_partitions import DescribeTopicPartitionsRequest
from blumfeld.protocol.messages.list_offsets import ListOffsetsRequest
from blumfeld.protocol.messages.metadata import MetadataRequest
from blumfeld.protocol.primitives import ZERO_UUID
from tests.interop.differential.script import Script

UNKNOWN_ID = b"unknown-topic-id"
ODD_NAMES = (
    "",
    ".",
    "..",
    "a b",
    "a/b",
    "é",
    "x" * 250,
    "x" * 249,
    "__consumer_offsets",
    "__cluster_metadata",
    "A.b_c-1",
)
ASSIGNMENTS: dict[str, dict[int, list[int]]] = {
    "good": {0: [1]},
    "two partitions": {0: [1], 1: [1]},
    "unknown broker": {0: [9]},
    "a broker twice": {0: [1, 1]},
    "no replicas": {0: []},
    "not from zero": {1: [1]},
    "a gap": {0: [1], 2: [1]},
    "different lengths": {0: [1], 1: [1, 9]},
    "a negative partition": {-1: [1]},
}
NEW_ASSIGNMENTS: dict[str, list[list[int]]] = {
    "good": [[1]],
    "too few": [],
    "too many": [[1], [1]],
    "unknown broker": [[9]],
    "a broker twice": [[1, 1]],
    "no replicas": [[]],
    "another factor": [[1, 9]],
}
CONFIGS: tuple[tuple[str, str | None], ...] = (
    ("no.such.config", "1"),
    ("retention.ms", "soon"),
    ("retention.ms", "-2"),
    ("retention.ms", ""),
    ("retention.ms", None),
    ("cleanup.policy", "shred"),
    ("cleanup.policy", ""),
    ("cleanup.policy", "compact,delete"),
    ("segment.bytes", "1"),
    ("segment.bytes", "99999999999"),
    ("min.insync.replicas", "0"),
    ("min.insync.replicas", "7"),
    ("compression.type", "brotli"),
    ("message.timestamp.type", "never"),
    ("min.cleanable.dirty.ratio", "2"),
    ("unclean.leader.election.enable", "maybe"),
    ("remote.storage.enable", "true"),
    ("local.retention.ms", "5"),
    ("leader.replication.throttled.replicas", "x"),
    ("leader.replication.throttled.replicas", "0:1,1:1"),
    ("follower.replication.throttled.replicas", "*"),
    ("max.compaction.lag.ms", "0"),
    ("preallocate", "TRUE"),
)
Topic: Any = CreateTopicsRequest.Topic


def topic(
    name: str,
    partitions: int = 1,
    replicas: int = 1,
    assignments: Mapping[int, list[int]] | None = None,
    configs: Mapping[str, str | None] | None = None,
) -> Any:
    """One topic of a CreateTopics request."""
    return Topic(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        assignments=[
            Topic.Assignment(partition_index=index, broker_ids=brokers)
            for index, brokers in (assignments or {}).items()
        ],
        configs=[Topic.Config(name=name, value=value) for name, value in (configs or {}).items()],
    )


def make(script: Script, *names: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> list[bytes]:
    """Make topics, wait until they have leaders, and call their ids by their names. Not part of the transcript."""
    wanted = [topic(name, partitions, configs=configs) for name in names]
    answer = script.quietly(CreateTopicsRequest(topics=wanted, timeout_ms=10_000), 7)
    assert not any(made.error_code for made in answer.topics), answer
    by_name = {made.name: made.topic_id for made in answer.topics}
    for name, topic_id in by_name.items():
        script.name(topic_id, f"id of {name}")
    script.until(lambda: has_leaders(script, names) and all(serves(script, name, partitions) for name in names))
    return [by_name[name] for name in names]


def has_leaders(script: Script, names: tuple[str, ...]) -> bool:
    asked = [MetadataRequest.Topic(name=name) for name in names]
    answer = script.quietly(MetadataRequest(topics=asked, allow_auto_topic_creation=False), 9)
    return all(
        not found.error_code and found.partitions and all(p.leader_id >= 0 for p in found.partitions)
        for found in answer.topics
    )


def serves(script: Script, name: str, partitions: int) -> bool:
    """Whether the broker has begun to lead: a moment after it has told the world."""
    asked = ListOffsetsRequest.Topic.Partition
    topic = ListOffsetsRequest.Topic(
        name=name, partitions=[asked(partition_index=index, timestamp=-1) for index in range(partitions)]
    )
    answer = script.quietly(ListOffsetsRequest(replica_id=-1, topics=[topic]), 4)
    return not any(partition.error_code for partition in answer.topics[0].partitions)


def create(script: Script) -> None:
    def ask(step: str, *topics: Any, version: int = 7, **more: Any) -> Any:
        return script.ask(
            f"create/{step}", CreateTopicsRequest(topics=list(topics), timeout_ms=10_000, **more), version
        )

    ask("nothing")
    for name in ODD_NAMES:
        ask(f"name {name[:20]!r} of {len(name)}", topic(name), validate_only=True)
    for partitions in (0, -1, -2, 2**31 - 1):
        ask(f"{partitions} partitions", topic("counted", partitions), validate_only=True)
    for replicas in (0, -1, -2, 2, 2**15 - 1):
        ask(f"{replicas} replicas", topic("counted", 1, replicas), validate_only=True)
    ask("counts left to an old version", topic("counted", -1, -1), version=3, validate_only=True)
    for title, assignment in ASSIGNMENTS.items():
        ask(f"assignment: {title}", topic("assigned", -1, -1, assignment), validate_only=True)
    ask("assignment and counts", topic("assigned", 1, 1, {0: [1]}), validate_only=True)
    ask("assignment and a replication factor", topic("assigned", -1, 1, {0: [1]}), validate_only=True)
    repeated = Topic(
        name="repeated",
        num_partitions=-1,
        replication_factor=-1,
        assignments=[Topic.Assignment(partition_index=0, broker_ids=[1])] * 2,
        configs=[],
    )
    ask("assignment: a partition twice", repeated, validate_only=True)
    for config, value in CONFIGS:
        wanted = topic("configured")
        wanted.configs = [Topic.Config(name=config, value=value)]
        ask(f"config {config}={value}", wanted, validate_only=True)
    twice = topic("configured")
    twice.configs = [Topic.Config(name="retention.ms", value=value) for value in ("1", "2")]
    ask("a config twice", twice, validate_only=True)
    ask("validate only", topic("validated", 2, 1, configs={"retention.ms": "1000"}), validate_only=True)
    made = ask("a good one", topic("created", 2, 1, configs={"retention.ms": "1000"}))
    script.name(made.topics[0].topic_id, "id of created")
    ask("exists", topic("created"))
    ask("exists, validate only", topic("created"), validate_only=True)
    ask("collides", topic("cre.ated"), topic("cre_ated"))
    ask("the same twice", topic("doubled"), topic("doubled"))
    ask("good and bad", topic("mixed-good"), topic("mixed/bad"), topic("created"))
    for version in range(2, 8):
        ask(f"version {version}", topic(f"created-{version}"), topic("created"), version=version)
    script.until(lambda: has_leaders(script, ("created", "created-7")))


def grow(script: Script) -> None:
    make(script, "grown", partitions=2)

    def ask(step: str, *topics: Any, version: int = 3, validate_only: bool = True) -> None:
        request = CreatePartitionsRequest(topics=list(topics), timeout_ms=10_000, validate_only=validate_only)
        script.ask(f"create partitions/{step}", request, version)

    def to(count: int, assignments: list[list[int]] | None = None, name: str = "grown") -> Any:
        wanted = None
        if assignments is not None:
            wanted = [CreatePartitionsRequest.Topic.Assignment(broker_ids=brokers) for brokers in assignments]
        return CreatePartitionsRequest.Topic(name=name, count=count, assignments=wanted)

    ask("nothing")
    for count in (-1, 0, 1, 2, 3, 2**31 - 1):
        ask(f"to {count}", to(count))
    ask("unknown topic", to(3, name="nothing"))
    ask("empty name", to(3, name=""))
    ask("the same topic twice", to(3), to(4))
    for title, assignments in NEW_ASSIGNMENTS.items():
        ask(f"assignment: {title}", to(3, assignments))
    ask("done", to(4), validate_only=False)
    for version in range(4):
        ask(f"version {version}", to(5), to(5, name="nothing"), version=version)


def delete(script: Script) -> None:
    first, second = make(script, "doomed-1", "doomed-2")
    make(script, "doomed-3", "doomed-4")
    deleting: Any = DeleteTopicsRequest.Topic

    def ask(step: str, *topics: Any) -> None:
        script.ask(f"delete/{step}", DeleteTopicsRequest(topics=list(topics), timeout_ms=10_000), 6)

    def by_name(name: str | None) -> Any:
        return deleting(name=name, topic_id=ZERO_UUID)

    def by_id(topic_id: bytes) -> Any:
        return deleting(name=None, topic_id=topic_id)

    ask("nothing")
    ask("unknown name", by_name("nothing"))
    ask("empty name", by_name(""))
    ask("unknown id", by_id(UNKNOWN_ID))
    ask("neither name nor id", by_name(None))
    ask("name and id", deleting(name="doomed-1", topic_id=first))
    ask("a name twice", by_name("doomed-1"), by_name("doomed-1"))
    ask("by id and by name", by_id(second), by_name("doomed-2"))
    ask("an id twice", by_id(second), by_id(second))
    ask("by id", by_id(second))
    ask("again by id", by_id(second))
    ask("by name", by_name("doomed-1"))
    ask("again by name", by_name("doomed-1"))
    for version in range(1, 6):
        request = DeleteTopicsRequest(
            topic_names=["nothing", "doomed-3"] if version == 3 else ["nothing"], timeout_ms=10_000
        )
        script.ask(f"delete/version {version}", request, version)


def metadata(script: Script) -> None:
    (known,) = make(script, "described", partitions=2)
    asked: Any = MetadataRequest.Topic

    def ask(step: str, topics: list[Any] | None, version: int = 12, **more: Any) -> None:
        request = MetadataRequest(topics=topics, allow_auto_topic_creation=False, **more)
        script.ask(f"metadata/{step}", request, version)

    ask("no topics", [])
    ask("unknown name", [asked(name="nothing")])
    ask("a name twice", [asked(name="described"), asked(name="described")])
    for name in ODD_NAMES:
        if name != "__consumer_offsets":
            ask(f"name {name[:20]!r} of {len(name)}", [asked(name=name)])
    ask("by id", [asked(name=None, topic_id=known)])
    ask("unknown id", [asked(name=None, topic_id=UNKNOWN_ID)])
    ask("neither", [asked(name=None)])
    ask("name and id", [asked(name="described", topic_id=known)])
    ask("name and id in version 11", [asked(name="described", topic_id=known)], version=11)
    ask("an id in version 11", [asked(name=None, topic_id=known)], version=11)
    ask("ids and names", [asked(name=None, topic_id=known), asked(name="described")])
    ask("operations", [asked(name="described")], version=9, include_topic_authorized_operations=True)
    ask("operations of the cluster", [asked(name="described")], version=9, include_cluster_authorized_operations=True)
    for version in range(14):
        more: Any = {"allow_auto_topic_creation": False} if version >= 4 else {}
        request = MetadataRequest(topics=[asked(name="described")], **more)
        script.ask(f"metadata/version {version}", request, version)
    created = MetadataRequest(topics=[asked(name="made-by-asking")], allow_auto_topic_creation=True)
    script.quietly(created, 9)
    script.until(lambda: has_leaders(script, ("made-by-asking",)))
    script.ask("metadata/a topic made by asking", created, 9)
    for name in ("bad/name", "", "cre.ated"):
        request = MetadataRequest(topics=[asked(name=name)], allow_auto_topic_creation=True)
        script.ask(f"metadata/making {name!r} by asking", request, 9)


def pages(script: Script) -> None:
    make(script, "paged-1", "paged-2", "paged-3", partitions=3)
    cursor: Any = DescribeTopicPartitionsRequest.Cursor

    def ask(step: str, names: list[str], limit: int = 2000, at: tuple[str, int] | None = None) -> None:
        request = DescribeTopicPartitionsRequest(
            topics=[DescribeTopicPartitionsRequest.Topic(name=name) for name in names],
            response_partition_limit=limit,
            cursor=None if at is None else cursor(topic_name=at[0], partition_index=at[1]),
        )
        script.ask(f"describe topic partitions/{step}", request, 0)

    three = ["paged-1", "paged-2", "paged-3"]
    ask("three", three)
    ask("unknown and invalid", ["nothing", "bad/name", "paged-1"])
    ask("the same twice", ["paged-1", "paged-1"])
    for limit in (-1, 0, 1, 3, 4, 8, 9):
        ask(f"at most {limit}", three, limit)
    ask("from a cursor", three, 4, ("paged-2", 1))
    ask("from a cursor at the end", three, 4, ("paged-3", 3))
    ask("from a cursor between topics", three, 4, ("paged-15", 2))
    ask("from a cursor in the first", three, 4, ("paged-1", 0))
    ask("from a negative cursor", three, 4, ("paged-1", -1))
    ask("from a cursor beyond all", three, 4, ("z", 0))
    ask("an unknown one at the limit", ["paged-1", "nothing", "paged-3"], 3)


SECTIONS = (create, grow, delete, metadata, pages)
