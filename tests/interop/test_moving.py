"""A data directory moves between us and Apache Kafka, either way: every record, offset and group is there.

Apache Kafka takes the place of our only broker with our `__cluster_metadata-0`, its voters and its snapshots; and our
broker that of an Apache Kafka at metadata.version 25, under the same server.properties.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from blumfeld.config.sources import load
from blumfeld.env.clock import SystemClock
from blumfeld.env.disk import RealDisk
from blumfeld.env.entropy import SystemEntropy
from blumfeld.launch.plan import PLAN_FILE, Plan
from blumfeld.launch.process import BrokerProcess
from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.records import Record, build_batch, read_records
from blumfeld.storage.compaction import Limits, Round, assess
from blumfeld.storage.log import Log
from blumfeld.storage.manager import LogManager
from blumfeld.testing import Cluster
from blumfeld.testing.kafka import Kafka
from tests.interop.clients.confluent import Confluent
from tests.interop.clients.face import Sent
from tests.interop.java import require_java
from tests.interop.kafka import SHORT_SESSION, ApacheKafka
from tests.storage.builders import marker

pytestmark = pytest.mark.java

OURS = {
    "log.index.interval.bytes": "512",
    "log.cleaner.enable": "false",
    "offsets.topic.num.partitions": "3",
    "metadata.log.max.record.bytes.between.snapshots": "2000",
}
COMPACT = {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0"}
THEIRS = {"log.index.interval.bytes": "512"}
QUICK_CLEANER = {"log.cleaner.backoff.ms": "50", "log.cleaner.threads": "1"}
AT_KAFKA_4_0 = ("--release-version", "4.0", "--feature", "group.version=0", "--feature", "transaction.version=0")
NO_INDEX_YET = re.compile(r"partition=(empty|__consumer_offsets)-\d+, .*Could not find offset index file")
"""An empty segment of ours has no indexes: Kafka makes them, with a line that looks worse than it is."""
GROUP = "movers"
Told = tuple[Any, ...]


# What a cluster tells.


def told(kafka: Kafka, *, read_committed: bool = False) -> dict[str, list[Told]]:
    """Every record of every topic."""
    return {
        topic: sorted(
            (r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
            for r in kafka.consume(topic, read_committed=read_committed)
        )
        for topic in kafka.topics()
    }


def everything(kafka: Kafka) -> dict[str, Any]:
    topics = kafka.topics()
    return {
        "records": told(kafka),
        "committed records": told(kafka, read_committed=True),
        "ends": {topic: kafka.offsets(topic) for topic in topics},
        "starts": {topic: kafka.offsets(topic, -2) for topic in topics},
        "group": kafka.committed(GROUP),
    }


# A life at our broker.


def live(cluster: Cluster) -> None:
    """Topics, records of all codecs, a group, deleted records, a deleted topic, more partitions, a changed config."""
    kafka, client = cluster.kafka, Confluent(cluster.bootstrap_servers)
    kafka.topic("plain", partitions=3, config={"segment.bytes": "1048576"})
    for codec in client.codecs:
        records = [
            Sent(b"%s-%d" % (codec.encode(), n) * 40, key=b"k%d" % n, headers=(("codec", codec.encode()),))
            for n in range(200)
        ]
        client.produce("plain", records, codec=codec, idempotent=True)
    big = [Sent(bytes([n]) * 40_000, key=b"big%d" % n, partition=0) for n in range(100)]
    client.produce("plain", big)
    kafka.topic("empty", partitions=2)
    kafka.topic("gone")
    kafka.produce("gone", b"bye")
    kafka.delete_topic("gone")
    kafka.topic("compacted", config=COMPACT)
    kafka.topic("for-both-cleaners", config=COMPACT)
    kafka.topic("transactions")
    commit(cluster.bootstrap_servers, {0: 7, 1: 9})
    trim(cluster.bootstrap_servers, "plain", 2, 20)


def commit(servers: str, offsets: Mapping[int, int]) -> None:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": GROUP})
    consumer.commit(offsets=[TopicPartition("plain", p, o) for p, o in offsets.items()], asynchronous=False)
    consumer.close()


def trim(servers: str, topic: str, partition: int, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for future in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        future.result(60)


@contextmanager
def logs_of(data: Path) -> Iterator[LogManager]:
    """The logs of the broker that stopped, to write what no client may."""
    plan = Plan.load(str(data / PLAN_FILE))
    config = load(profile=plan.profile, planned=plan.properties(1))
    manager = LogManager(config, RealDisk(), SystemClock(), SystemEntropy())
    manager.open(plan.cluster_id, 1)
    epoch = manager.clean_shutdown_broker_epoch
    assert epoch >= 0, "the broker did not stop cleanly"
    yield manager
    manager.close(epoch)


def log_of(manager: LogManager, topic: str, overrides: Mapping[str, str] | None = None) -> Log:
    log = manager.get(topic, 0)
    assert log is not None
    if overrides is not None:
        manager.update_topic_config(topic, overrides)
    return log


def append(log: Log, data: bytes | bytearray, origin: Any = "client") -> None:
    result = log.append_as_leader(data, 0, now_ms=SystemClock().time_ms(), origin=origin)
    assert not result.error, result
    log.update_high_watermark(log.log_end_offset)


def transact(log: Log) -> None:
    """Six producers' transactions interleave, commit and abort; the last one stays open."""
    now, rng = SystemClock().time_ms(), random.Random(5)
    sequences = dict.fromkeys(range(1, 7), 0)
    begun: set[int] = set()

    def write(producer: int) -> None:
        records = [Record(i, now, b"k%d" % i, b"%d-%d" % (producer, sequences[producer] + i)) for i in range(3)]
        identity: dict[str, Any] = {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequences[producer]}
        append(log, build_batch(records, transactional=True, **identity))
        sequences[producer] += 3
        begun.add(producer)

    def end(producer: int) -> None:
        append(log, marker(commit=rng.random() < 0.5, producer_id=producer, timestamp=now), "coordinator")
        begun.remove(producer)

    for _ in range(80):
        producer = rng.randrange(1, 7)
        (end if producer in begun and rng.random() < 0.5 else write)(producer)
    for producer in sorted(begun):
        end(producer)
    write(6)


def overwrite(log: Log) -> None:
    """The same keys again and again, with tombstones among them, over several segments."""
    now, rng = SystemClock().time_ms(), random.Random(6)
    for turn in range(60):
        records = []
        for i in range(20):
            key = (turn * 7 + i * 11) % 90
            value = None if (turn + i) % 9 == 0 else rng.randbytes(3_000)
            records.append(Record(i, now + turn, b"key-%d" % key, value))
        append(log, build_batch(records, codec=turn % 5))
    assert len(log.segments) > 2


def compact(log: Log) -> int:
    """A round over all of it; the first offset that was not cleaned."""
    now_ms = SystemClock().time_ms()
    due = assess(log, 0, now_ms)
    assert due is not None
    before = log.size
    for step in Round(due, now_ms, Limits(1 << 20, 65_536)).steps():
        step()
    assert log.size < before
    return due.upper


def records_in(log: Log) -> list[Told]:
    found: list[Told] = []
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        result = log.read(offset, 1 << 20)
        batches = (result.cold() if result.cold is not None else result).records
        for batch in iterate_batches(batches):
            found += [(0, r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in read_records(batch)]
            offset = batch.next_offset
    return found


# Ours, then Kafka's, then ours.


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_apache_kafka_serves_every_record_from_our_data_directory_and_we_go_on_after_it(
    tmp_path: Path, end: str
) -> None:
    data, jars = tmp_path / "data", require_java()
    with Cluster(data=data, config=OURS) as cluster:
        live(cluster)
    with logs_of(data) as manager:
        transact(log_of(manager, "transactions"))
        overwrite(log_of(manager, "compacted", COMPACT))
        dirty_bytes = log_of(manager, "compacted").size
    with Cluster(data=data, config={**OURS, **QUICK_CLEANER, "log.cleaner.enable": "true"}) as cluster:
        wait_until_cleaned(cluster.kafka, data / "1", "compacted 0 ")
    with logs_of(data) as manager:
        assert log_of(manager, "compacted").size < dirty_bytes / 2
        overwrite(log_of(manager, "for-both-cleaners", COMPACT))
    with Cluster(data=data, config=OURS) as cluster:
        cluster.kafka.produce("plain", *[b"after the restart %d" % n for n in range(50)], partition=1)
        expected = everything(cluster.kafka)
        assert len(expected["records"]["plain"]) > 1_000
        assert len(expected["committed records"]["transactions"]) < len(expected["records"]["transactions"])
        assert expected["group"] == {("plain", 0): 7, ("plain", 1): 9}
        assert expected["starts"]["plain"][2] == 20
        if end == "killed":
            cluster.broker.kill()
    upper = clean_a_copy(data, tmp_path / "copy", expected)
    snapshots = sorted(path.name for path in (data / "1" / "__cluster_metadata-0").glob("*.checkpoint"))
    assert snapshots[-1] > "00000000000000000001", "Kafka is to begin from a snapshot of ours"

    with ApacheKafka.in_place_of(tmp_path / "kafka", jars, data, properties=QUICK_CLEANER) as theirs:
        with Kafka(theirs.bootstrap_servers) as kafka:
            wait_until_cleaned(kafka, theirs.data, f"for-both-cleaners 0 {upper}")
            assert everything(kafka) == expected
            placed = kafka.produce("plain", b"by Kafka", partition=0)
            commit(theirs.bootstrap_servers, {0: 8})
        errors = [line for line in theirs.log.read_text().splitlines() if line.startswith("ERROR")]
        assert [line for line in errors if not NO_INDEX_YET.search(line)] == []

    with Cluster(data=data, config=OURS) as cluster:
        found = everything(cluster.kafka)
        assert found["records"]["plain"][placed[0][1]][4] == b"by Kafka"
        assert found["group"] == {("plain", 0): 8, ("plain", 1): 9}
        for topic in ("compacted", "transactions", "for-both-cleaners"):
            assert found["records"][topic] == expected["records"][topic]
            assert found["committed records"][topic] == expected["committed records"][topic]


def wait_until_cleaned(kafka: Kafka, directory: Path, line: str) -> None:
    """Until a broker has written that into its cleaner-offset-checkpoint."""
    checkpoint = directory / "cleaner-offset-checkpoint"
    kafka.wait_until(lambda: checkpoint.exists() and line in checkpoint.read_text(), f"it says {line!r}", 120)


def clean_a_copy(data: Path, copy: Path, expected: dict[str, Any]) -> int:
    """Compact a copy of one log, and expect Kafka's cleaner to leave the same of it; up to where it is cleaned."""
    shutil.copytree(data / "1" / "for-both-cleaners-0", copy / "for-both-cleaners-0")
    config = load(settings=[f"log.dirs={copy}", "log.segment.bytes=1048576", "log.cleanup.policy=compact"])
    manager = LogManager(config, RealDisk(), SystemClock(), SystemEntropy())
    manager.open("a copy", 1)
    log = log_of(manager, "for-both-cleaners")
    log.update_high_watermark(log.log_end_offset)
    upper = compact(log)
    expected["records"]["for-both-cleaners"] = records_in(log)
    expected["committed records"]["for-both-cleaners"] = records_in(log)
    manager.close()
    return upper


# Kafka's, then ours, then Kafka's.


def our_broker(theirs: ApacheKafka, directory: Path) -> BrokerProcess:
    """Our broker under the server.properties of an Apache Kafka."""
    return BrokerProcess(
        ["up", "--config", str(theirs.settings)],
        ready_file=str(directory / "ready"),
        log_file=str(directory / "ours.log"),
    )


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_our_broker_serves_every_record_from_apache_kafkas_data_directory_and_kafka_goes_on_after_it(
    tmp_path: Path, end: str
) -> None:
    jars = require_java()
    theirs = ApacheKafka(tmp_path / "kafka", jars, properties=THEIRS, format_options=AT_KAFKA_4_0)
    with theirs, Kafka(theirs.bootstrap_servers) as kafka:
        client = Confluent(theirs.bootstrap_servers)
        client.create_topic("plain", 3, {"segment.bytes": "1048576"})
        for codec in client.codecs:
            records = [Sent(b"%s-%d" % (codec.encode(), n) * 40, key=b"k%d" % n) for n in range(200)]
            client.produce("plain", records, codec=codec, idempotent=True)
        client.produce("plain", [Sent(bytes([n]) * 40_000, partition=0) for n in range(100)])
        client.create_topic("transactions", 1)
        transact_as_a_client(theirs.bootstrap_servers, "transactions")
        commit(theirs.bootstrap_servers, {0: 7, 1: 9})
        if end == "stopped":  # Kafka puts a log's start on the disk once a minute: a kill would undo this
            trim(theirs.bootstrap_servers, "plain", 2, 20)
        expected = everything(kafka)
        if end == "killed":
            theirs.kill()
    assert len(expected["records"]["plain"]) > 1_000
    assert len(expected["committed records"]["transactions"]) < len(expected["records"]["transactions"])

    ours = our_broker(theirs, tmp_path)
    ours.start()
    try:
        with Kafka(ours.wait_ready(60).bootstrap_servers) as kafka:
            assert everything(kafka) == expected
            kafka.produce("plain", b"by us", partition=0)
            commit(theirs.bootstrap_servers, {0: 8})
            expected = everything(kafka)
    finally:
        code = ours.stop()
    assert code == 0, ours.tail()

    again = ApacheKafka(
        tmp_path / "kafka",
        jars,
        ports=(theirs.port, theirs.controller_port),
        properties={**THEIRS, **SHORT_SESSION},
        format_options=None,
    )
    with again, Kafka(again.bootstrap_servers) as kafka:
        assert everything(kafka) == expected


def transact_as_a_client(servers: str, topic: str) -> None:
    """Two producers, transaction after transaction, every third aborted."""
    for name in ("one", "two"):
        producer = Producer({"bootstrap.servers": servers, "transactional.id": name})
        producer.init_transactions()
        for number in range(9):
            producer.begin_transaction()
            for part in range(3):
                producer.produce(topic, f"{name}-{number}-{part}".encode())
            if number % 3 == 2:
                producer.flush()
                producer.abort_transaction()
            else:
                producer.commit_transaction()


def test_a_directory_of_a_newer_metadata_version_is_refused_and_kafka_still_starts_on_it(tmp_path: Path) -> None:
    jars = require_java()
    theirs = ApacheKafka(tmp_path / "kafka", jars)
    with theirs, Kafka(theirs.bootstrap_servers) as kafka:
        kafka.topic("t")
        kafka.produce("t", b"1", b"2")
    ours = our_broker(theirs, tmp_path)
    ours.start()
    assert ours.wait(60) == 1
    said = ours.tail()
    assert "metadata.version at level" in said
    assert "kafka-features.sh downgrade --release-version 4.0" in said
    assert "Traceback" not in said
    again = ApacheKafka(tmp_path / "kafka", jars, ports=(theirs.port, theirs.controller_port), format_options=None)
    with again, Kafka(again.bootstrap_servers) as kafka:
        assert [record.value for record in kafka.consume("t")] == [b"1", b"2"]
