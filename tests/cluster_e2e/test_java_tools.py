"""Apache Kafka's own tools on three broker processes, and on what they leave on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from blumfeld.testing import Cluster, Kafka
from tests.cluster_e2e.conftest import PATIENCE_S
from tests.cluster_e2e.story import (
    active_controller,
    leader,
    put_leader_on,
    wait_for_isr,
    wait_until,
    wait_until_all_in_sync,
)
from tests.interop.java_tools import JavaTools

pytestmark = pytest.mark.java

DECODER = "--cluster-metadata-decoder"


@pytest.fixture(scope="module")
def tools() -> Iterator[JavaTools]:
    process = JavaTools()
    yield process
    process.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def _cluster(data: Path) -> Iterator[Cluster]:
    config = {"min.insync.replicas": "2", "metadata.log.max.record.bytes.between.snapshots": "4096"}
    with Cluster(brokers=3, data=data, config=config, timeout_s=PATIENCE_S) as cluster:
        yield cluster


def test_topics(cluster: Cluster, tools: JavaTools) -> None:
    servers = ("--bootstrap-server", cluster.bootstrap_servers)
    tools.run("TopicCommand", *servers, "--create", "--topic", "spread", "--partitions", "6")
    wait_until_everybody_knows(cluster, "spread", 6)
    described = tools.run("TopicCommand", *servers, "--describe", "--topic", "spread")
    assert "PartitionCount: 6\tReplicationFactor: 3" in described
    rows = [row for row in described.splitlines() if row.startswith("\tTopic: spread")]
    assert len(rows) == 6
    assert {row.split("Leader: ")[1][0] for row in rows} == {"1", "2", "3"}
    placed = "1:2:3,3:2:1"
    tools.run("TopicCommand", *servers, "--create", "--topic", "placed", "--replica-assignment", placed)
    wait_until_everybody_knows(cluster, "placed", 2)
    assert cluster.kafka.leaders("placed") == {0: 1, 1: 3}
    tools.run("TopicCommand", *servers, "--alter", "--topic", "placed", "--partitions", "5")
    wait_until_everybody_knows(cluster, "placed", 5)
    cluster.brokers[3].kill()
    for node in (1, 2):
        for partition in range(6):
            wait_for_isr(cluster, "spread", [1, 2], partition, at=node)
    lagging = tools.run("TopicCommand", *servers, "--describe", "--under-replicated-partitions")
    assert lagging.count("Topic: spread") == 6
    cluster.brokers[3].restart()
    wait_for_isr(cluster, "spread")
    tools.run("TopicCommand", *servers, "--delete", "--topic", "spread")
    wait_until_everybody_knows(cluster, "spread", 0)
    assert "spread" not in tools.run("TopicCommand", *servers, "--list").split()


def wait_until_everybody_knows(cluster: Cluster, topic: str, partitions: int) -> None:
    """Until every broker tells of a topic with so many partitions, or of none where there are to be 0.

    A change is answered when one broker knows it, and the tools ask whichever they like.
    """
    for broker in cluster.brokers.values():
        with Kafka(f"{broker.host}:{broker.port}") as kafka:

            def known() -> int:
                return len(kafka.leaders(topic)) if topic in kafka.topics() else 0

            wait_until(lambda: known() == partitions, f"broker {broker.id} knows {topic}")


def test_the_quorum(cluster: Cluster, tools: JavaTools) -> None:
    controller = active_controller(cluster)
    described = ("describe", "--status"), ("describe", "--replication")
    status, replication = (
        tools.run("MetadataQuorumCommand", "--bootstrap-server", cluster.bootstrap_servers, *what) for what in described
    )
    lines = {name: text.strip() for name, _, text in (line.partition(":") for line in status.splitlines())}
    assert int(lines["LeaderId"]) == controller
    assert int(lines["HighWatermark"]) > 0
    assert [f'"id": {n}' in lines["CurrentVoters"] for n in cluster.brokers] == [True] * 3
    assert lines["CurrentObservers"] == "[]"
    rows = [row.split() for row in replication.splitlines()[1:]]
    assert {(int(row[0]), row[-1]) for row in rows} == {
        (n, "Leader" if n == controller else "Follower") for n in cluster.brokers
    }


def test_elections(cluster: Cluster, tools: JavaTools) -> None:
    topic = put_leader_on(cluster, 2)
    cluster.brokers[2].kill()
    wait_until(lambda: leader(cluster, topic) != 2, "another broker leads")
    cluster.brokers[2].restart()
    wait_for_isr(cluster, topic)
    what = ("--election-type", "preferred", "--topic", topic, "--partition", "0")
    done = tools.run("LeaderElectionCommand", "--bootstrap-server", cluster.bootstrap_servers, *what)
    assert f"Successfully completed leader election (PREFERRED) for partitions {topic}-0" in done
    wait_until(lambda: leader(cluster, topic) == 2, "the preferred leader leads")
    wait_until_all_in_sync(cluster)  # or others can't be led by those whom they prefer
    again = tools.run(
        "LeaderElectionCommand", "--bootstrap-server", cluster.bootstrap_servers, "--election-type", "preferred",
        "--all-topic-partitions",
    )  # fmt: skip
    assert "Error" not in again


def test_the_cluster_and_its_features(cluster: Cluster, tools: JavaTools) -> None:
    servers = ("--bootstrap-server", cluster.bootstrap_servers)
    assert "Cluster ID: " in tools.run("ClusterTool", "cluster-id", *servers)
    endpoints = tools.run("ClusterTool", "list-endpoints", *servers)
    assert all(f"{broker.port}" in endpoints for broker in cluster.brokers.values())
    features = tools.run("FeatureCommand", *servers, "describe")
    row = next(line for line in features.splitlines() if "metadata.version" in line)
    assert "FinalizedVersionLevel: 4.0-IV3" in row


def test_the_metadata_log_and_its_snapshots(cluster: Cluster, tools: JavaTools, data: Path) -> None:
    for number in range(30):
        cluster.kafka.topic(f"many-{number}", partitions=3)

    def dump(*files: Path) -> str:
        names = ",".join(map(str, files))
        dumped = tools.run("DumpLogSegments", DECODER, "--deep-iteration", "--files", names)
        _assert_content(dumped)
        return dumped

    for broker in cluster.brokers.values():
        home = data / str(broker.id) / "__cluster_metadata-0"
        wait_until(partial(_tells_of_all, home, dump), f"every kind of record is in the log of broker {broker.id}")
        wait_until(partial(_has_snapshot_of, "many-0", home, dump), f"broker {broker.id} has a snapshot of it all")
        for path in _snapshots(home):
            dumped = dump(path)
            assert "SnapshotHeader" in dumped
            assert "SnapshotFooter" in dumped
        assert dumped.count("REGISTER_BROKER_RECORD") == 3
        dumped = dump(home / f"{'0' * 20}-{'0' * 10}.checkpoint")
        assert "SnapshotHeader" in dumped
        assert "SnapshotFooter" in dumped
        assert "KRaftVoters" in dumped


KINDS = ("LeaderChange", "REGISTER_BROKER_RECORD", "REGISTER_CONTROLLER_RECORD", "TOPIC_RECORD", "NO_OP")


def _tells_of_all(home: Path, dump: Callable[..., str]) -> bool:
    dumped = dump(*sorted(home.glob("*.log")))
    return all(kind in dumped for kind in KINDS)


def _has_snapshot_of(topic: str, home: Path, dump: Callable[..., str]) -> bool:
    found = _snapshots(home)
    return bool(found) and topic in dump(found[-1])


def _snapshots(home: Path) -> list[Path]:
    """All but the one that the directory began with, oldest first."""
    return [path for path in sorted(home.glob("*.checkpoint")) if not path.name.startswith("0" * 20)]


def _assert_content(dumped: str) -> None:
    for complaint in ("Could not decode", "isvalid: false", "Exception", "corrupt"):
        assert complaint not in dumped, dumped[max(dumped.index(complaint) - 500, 0) :][:1500]
