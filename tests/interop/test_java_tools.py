"""Apache Kafka's own Java tools against our broker, and on our files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from blumfeld.testing import Cluster
from blumfeld.testing.kafka import unique_name
from tests.interop.java import class_path, require_java

pytestmark = pytest.mark.java

TOPIC_COMMAND = "org.apache.kafka.tools.TopicCommand"
PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
DUMP = "org.apache.kafka.tools.DumpLogSegments"


def tool(main: str, *arguments: str, stdin: str = "") -> str:
    """Run a Java tool; its standard output. Fails where the tool fails."""
    done = subprocess.run(
        [
            *("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            *("-cp", class_path(require_java()), main, *arguments),
        ],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{main} {arguments}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_topics_are_created_listed_described_altered_and_deleted(durable_broker: Cluster) -> None:
    servers, name = ("--bootstrap-server", durable_broker.bootstrap_servers), unique_name("java")
    tool(TOPIC_COMMAND, *servers, "--create", "--topic", name, "--partitions", "3", "--config", "retention.ms=1000")
    assert name in tool(TOPIC_COMMAND, *servers, "--list").splitlines()
    described = tool(TOPIC_COMMAND, *servers, "--describe", "--topic", name)
    assert "PartitionCount: 3" in described
    assert "retention.ms=1000" in described
    assert described.count("Leader: 1") == 3
    tool(TOPIC_COMMAND, *servers, "--alter", "--topic", name, "--partitions", "5")
    assert "PartitionCount: 5" in tool(TOPIC_COMMAND, *servers, "--describe", "--topic", name)
    tool(TOPIC_COMMAND, *servers, "--delete", "--topic", name)
    assert name not in tool(TOPIC_COMMAND, *servers, "--list").splitlines()


def test_the_console_producer_and_consumer_with_a_group(durable_broker: Cluster) -> None:
    servers = ("--bootstrap-server", durable_broker.bootstrap_servers)
    topic, group = durable_broker.kafka.topic(), unique_name("java-group")
    lines = [f"line-{n}" for n in range(200)]
    settings = ("--command-property", "compression.type=zstd", "--command-property", "enable.idempotence=true")
    tool(PRODUCER, *servers, "--topic", topic, *settings, stdin="\n".join(lines) + "\n")
    options = ("--from-beginning", "--max-messages", "200", "--timeout-ms", "60000", "--group", group)
    assert tool(CONSUMER, *servers, "--topic", topic, *options).splitlines() == lines
    described = tool(GROUPS, *servers, "--describe", "--group", group)
    row = next(line.split() for line in described.splitlines() if line.startswith(group))
    assert row[:6] == [group, topic, "0", "200", "200", "0"]


def test_dump_log_segments_reads_our_logs_indexes_and_metadata(tmp_path: Path) -> None:
    with Cluster(data=tmp_path, config={"log.index.interval.bytes": "100"}) as cluster:
        topic = cluster.kafka.topic(config={"segment.bytes": "1048576"})
        for n in range(60):
            cluster.kafka.produce(topic, *[f"{n}-{m}".encode() * 500 for m in range(20)], key=str(n).encode())
    home = tmp_path / "1"
    logs = sorted(str(path) for path in (home / f"{topic}-0").glob("*.log"))
    assert len(logs) > 1
    dumped = tool(DUMP, "--deep-iteration", "--print-data-log", "--files", ",".join(logs))
    assert dumped.count("payload: ") == 1200
    indexes = [str(p) for kind in ("*.index", "*.timeindex") for p in sorted((home / f"{topic}-0").glob(kind))]
    checked = tool(DUMP, "--index-sanity-check", "--files", ",".join(indexes))
    assert checked.count("passed sanity check") == len(indexes)
    mismatches = tool(DUMP, "--files", ",".join(indexes))
    assert "Mismatches" not in mismatches
    assert "misplaced" not in mismatches.lower()
    metadata = sorted(str(p) for p in (home / "__cluster_metadata-0").glob("*.log"))
    decoded = tool(DUMP, "--cluster-metadata-decoder", "--deep-iteration", "--files", ",".join(metadata))
    for record in (
        "REGISTER_BROKER_RECORD",
        "FEATURE_LEVEL_RECORD",
        "TOPIC_RECORD",
        "PARTITION_RECORD",
        "CONFIG_RECORD",
    ):
        assert record in decoded
    assert "LeaderChange" in decoded
    assert "could not" not in decoded.lower()
