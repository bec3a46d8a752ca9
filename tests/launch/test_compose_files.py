"""Compose files written for Apache Kafka's own image start with only the image changed.

Their environments are those of Apache Kafka's examples (one combined node; controllers and brokers apart); host names
of containers and their ports are replaced, since these are local processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from blumfeld.launch.ports import free_port
from blumfeld.launch.ready import Ready
from blumfeld.protocol.messages.describe_cluster import DescribeClusterRequest
from blumfeld.testing import Kafka
from tests.raw import Raw

READY_S = 60.0
STOP_S = 60.0
PATIENCE_S = 60.0
COMMON = {
    "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "PLAINTEXT",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
}


class Services:
    """The services of a compose file, as processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ports: set[int] = set()
        self._environments: dict[str, Mapping[str, str]] = {}
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def port(self) -> int:
        port = free_port("127.0.0.1", self._ports)
        self._ports.add(port)
        return port

    def start(self, name: str, environment: Mapping[str, str]) -> None:
        self._environments[name] = environment
        self._ready_file(name).unlink(missing_ok=True)
        given = {k: v for k, v in os.environ.items() if not k.startswith("KAFKA_")}
        with open(self._directory / f"{name}.log", "wb") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", "blumfeld", "up", "--ready-file", str(self._ready_file(name))],
                env={**given, **COMMON, "KAFKA_LOG_DIRS": str(self._directory / name), **environment},
                stdout=log,
                stderr=log,
            )

    def _ready_file(self, name: str) -> Path:
        return self._directory / f"{name}.ready"

    def log(self, name: str) -> str:
        return (self._directory / f"{name}.log").read_text()

    def wait_ready(self) -> dict[str, Ready]:
        deadline = time.monotonic() + READY_S
        found: dict[str, Ready] = {}
        while len(found) < len(self.children):
            for name, child in self.children.items():
                assert child.poll() is None, self.log(name)
                assert time.monotonic() < deadline, self.log(name)
                ready = Ready.read(str(self._ready_file(name)))
                if ready is not None:
                    found[name] = ready
            time.sleep(0.02)
        return found

    def start_again(self, name: str) -> None:
        self.start(name, self._environments[name])

    def stop(self, name: str) -> int:
        self.children[name].send_signal(signal.SIGTERM)
        return self.children[name].wait(STOP_S)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = Services(tmp_path)
    yield services
    for child in services.children.values():
        child.kill()
        child.wait()


def test_one_combined_node(services: Services) -> None:
    host, inside, controller = services.port(), services.port(), services.port()
    services.start(
        "broker",
        {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": (
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT"
            ),
            "KAFKA_LISTENERS": f"CONTROLLER://:{controller},PLAINTEXT_HOST://:{host},PLAINTEXT://:{inside}",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT_HOST://localhost:{host},PLAINTEXT://127.0.0.1:{inside}",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@localhost:{controller}",
        },
    )
    services.wait_ready()
    with Kafka(f"localhost:{host}", timeout_s=PATIENCE_S) as kafka:
        topic = kafka.topic()
        kafka.produce(topic, b"hello")
        assert [record.value for record in kafka.consume(topic)] == [b"hello"]
    assert "share.coordinator.state.topic.min.isr (environment) is not known here" in services.log("broker")
    assert services.stop("broker") == 0


def test_controllers_and_brokers_apart(services: Services) -> None:
    controllers = {f"controller-{n}": services.port() for n in (1, 2, 3)}
    voters = ",".join(f"{n}@localhost:{port}" for n, port in enumerate(controllers.values(), 1))
    for n, (name, port) in enumerate(controllers.items(), 1):
        environment = {
            "KAFKA_NODE_ID": str(n),
            "KAFKA_PROCESS_ROLES": "controller",
            "KAFKA_LISTENERS": f"CONTROLLER://:{port}",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": voters,
        }
        services.start(name, environment)
    brokers = {f"broker-{n}": services.port() for n in (4, 5)}
    for n, (name, port) in enumerate(brokers.items(), 4):
        environment = {
            "KAFKA_NODE_ID": str(n),
            "KAFKA_PROCESS_ROLES": "broker",
            "KAFKA_LISTENERS": f"PLAINTEXT://:{port}",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://localhost:{port}",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": voters,
        }
        services.start(name, environment)
    ready = services.wait_ready()
    assert [len(ready[name].brokers) for name in (*controllers, *brokers)] == [0, 0, 0, 1, 1]
    with Kafka(",".join(f"localhost:{port}" for port in brokers.values()), timeout_s=PATIENCE_S) as kafka:
        greeting = f":{controllers['controller-1']}"
        kafka.wait_until(lambda: greeting in services.log("controller-1"), "it says where it listens")
        topic = kafka.topic(partitions=2, replication_factor=2)
        kafka.wait_until(lambda: kafka.isr(topic) == [4, 5], "both brokers are in sync")
        kafka.produce(topic, b"hello", partition=0)
        with Raw(f"127.0.0.1:{controllers['controller-2']}") as raw:
            described = raw.ask(DescribeClusterRequest(include_cluster_authorized_operations=False, endpoint_type=2), 1)
            assert sorted(broker.broker_id for broker in described.brokers) == [1, 2, 3]
        assert services.stop("controller-1") == 0
        services.start_again("controller-1")
        services.wait_ready()
        assert services.stop("controller-2") == 0, "the one that was started again is needed from here on"
        other = kafka.topic(partitions=2, replication_factor=2)
        kafka.produce(other, b"still", partition=1)
        assert [record.value for record in kafka.consume(topic)] == [b"hello"]
    for name in (*brokers, "controller-1", "controller-3"):
        assert services.stop(name) == 0, services.log(name)
        assert "Traceback" not in services.log(name)
