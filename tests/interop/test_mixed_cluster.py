"""Apache Kafka's processes and ours in one cluster: our broker under Kafka's controller, Kafka's broker under ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaConsumer as PythonConsumer

from blumfeld.launch.ports import free_port
from blumfeld.launch.process import BrokerProcess
from blumfeld.testing import Kafka
from tests.cluster_e2e.story import wait_until
from tests.interop.java import class_path, require_java
from tests.interop.test_java_tools import tool
from tests.interop.test_raft import CLUSTER_ID, HOST, NAME, kafka_controller

pytestmark = pytest.mark.java

READY_S = 60.0
CONTROLLER, OURS, THEIRS = 1, 5, 6
WITHOUT = [
    part
    for feature in ("group.version", "transaction.version", "eligible.leader.replicas.version")
    for part in ("--feature", f"{feature}=0")
]
"""What we do not serve, and Kafka's controller would turn on."""


class Ports:
    """Free ports, by node."""

    def __init__(self, *nodes: int) -> None:
        self.taken: dict[int, int] = {}
        for node in nodes:
            self.taken[node] = free_port(HOST, set(self.taken.values()))

    def __getitem__(self, node: int) -> int:
        return self.taken[node]

    def properties(self, home: Path, node: int) -> dict[str, str]:
        """Of a node that finds its quorum at the controller's port."""
        is_controller = node == CONTROLLER
        return {
            "node.id": str(node),
            "process.roles": "controller" if is_controller else "broker",
            "listeners": f"{NAME if is_controller else 'PLAINTEXT'}://{HOST}:{self[node]}",
            "controller.listener.names": NAME,
            "controller.quorum.bootstrap.servers": f"{HOST}:{self[CONTROLLER]}",
            "log.dirs": str(home / str(node)),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "default.replication.factor": "2",
        }


@contextmanager
def ours(home: Path, node: int, properties: Mapping[str, str]) -> Iterator[BrokerProcess]:
    """One node of ours, ready."""
    settings = [part for name, value in properties.items() for part in ("--set", f"{name}={value}")]
    subprocess.run(
        [sys.executable, "-m", "blumfeld", "format", "--cluster-id", CLUSTER_ID, *settings],
        check=True,
        capture_output=True,
    )
    process = BrokerProcess(
        ["up", "--profile", "dev", *settings],
        ready_file=str(home / f"{node}.ready"),
        log_file=str(home / f"{node}.log"),
    )
    process.start()
    try:
        process.wait_ready(READY_S)
        yield process
    finally:
        code = process.stop()
    assert code == 0
    assert "Traceback" not in process.tail(1000)


@contextmanager
def kafka_broker(home: Path, properties: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A broker of Apache Kafka's, started."""
    file = home / "server.properties"
    protocols = {"listener.security.protocol.map": f"{NAME}:PLAINTEXT,PLAINTEXT:PLAINTEXT"}
    file.write_text("".join(f"{name}={value}\n" for name, value in {**properties, **protocols}.items()))
    tool("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(file), "-r", "4.0")
    command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", class_path(require_java())]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, "kafka.Kafka", str(file)], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_our_broker_joins_kafkas_controller(tmp_path: Path) -> None:
    ports = Ports(CONTROLLER, OURS)
    bootstrap = {"controller_quorum_bootstrap_servers": f"{HOST}:{ports[CONTROLLER]}"}
    broker = ours(tmp_path, OURS, {**ports.properties(tmp_path, OURS), "default.replication.factor": "1"})
    with (
        kafka_controller(tmp_path / "kafka", ports[CONTROLLER], "--standalone", *WITHOUT, **bootstrap),
        broker,
        Kafka(f"{HOST}:{ports[OURS]}", timeout_s=READY_S) as kafka,
    ):
        topic = kafka.topic(partitions=1)
        kafka.produce(topic, b"first", b"second")
        assert kafka.isr(topic) == [OURS]
        consumer = PythonConsumer(
            topic,
            bootstrap_servers=f"{HOST}:{ports[OURS]}",
            group_id="group",
            auto_offset_reset="earliest",
            consumer_timeout_ms=60_000,
        )
        assert [record.value for _, record in zip(range(2), consumer, strict=False)] == [b"first", b"second"]
        consumer.commit()
        consumer.close()
        assert kafka.committed("group") == {(topic, 0): 2}


def test_kafkas_broker_joins_our_controller_and_replicates_with_our_broker(tmp_path: Path) -> None:
    ports = Ports(CONTROLLER, OURS, THEIRS)
    with (
        ours(tmp_path, CONTROLLER, ports.properties(tmp_path, CONTROLLER)),
        ours(tmp_path, OURS, ports.properties(tmp_path, OURS)),
        kafka_broker(tmp_path, ports.properties(tmp_path, THEIRS)) as theirs,
        Kafka(f"{HOST}:{ports[OURS]}", timeout_s=READY_S) as kafka,
    ):
        wait_until(lambda: nodes(kafka) == {OURS, THEIRS}, "Kafka's broker has joined", READY_S)
        topic = kafka.topic(partitions=4)
        assert set(kafka.leaders(topic).values()) == {OURS, THEIRS}
        for partition in range(4):
            kafka.produce(topic, b"%d" % partition, partition=partition)
        wait_until(
            lambda: all(sorted(kafka.isr(topic, n)) == [OURS, THEIRS] for n in range(4)), "both are in sync", READY_S
        )
        theirs.terminate()
        theirs.wait(READY_S)
        wait_until(lambda: set(kafka.leaders(topic).values()) == {OURS}, "our broker leads all", READY_S)
        assert sorted(record.value or b"" for record in kafka.consume(topic)) == [b"0", b"1", b"2", b"3"]


def nodes(kafka: Kafka) -> set[int]:
    """The brokers that clients are told of."""
    return {broker.node_id for broker in kafka._run(kafka._cluster.metadata()).brokers}
