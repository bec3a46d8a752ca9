"""Nodes that are broker or controller alone (`process.roles`), as processes, and the directories they start from."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blumfeld.cluster.link import Link, LinkError
from blumfeld.env.environment import Env
from blumfeld.launch.ports import free_port
from blumfeld.launch.process import BrokerProcess
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_cluster import DescribeClusterRequest
from blumfeld.protocol.messages.describe_configs import DescribeConfigsRequest
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest
from blumfeld.protocol.primitives import uuid_to_text
from blumfeld.protocol.schema import Request
from blumfeld.storage.checkpoint import decode_properties
from blumfeld.testing import Kafka
from tests.cluster_e2e.steady import SteadyProducer
from tests.cluster_e2e.story import wait_until
from tests.launch.brokers import contents, refused

HOST = "127.0.0.1"
CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
CONTROLLERS = (101, 102, 103)
BROKERS = (1, 2, 3)
NAME = "QUORUM"
READY_S = 60.0
PATIENCE_S = 60.0


def formatted(*arguments: str) -> str:
    """What `blumfeld format ARGUMENTS` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "blumfeld", "format", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def options(properties: Mapping[str, str]) -> list[str]:
    return [part for name, value in properties.items() for part in ("--set", f"{name}={value}")]


class Split:
    """Three controllers and three brokers, six processes."""

    def __init__(self, home: Path, ports: Mapping[int, int], quorum: Mapping[str, str]) -> None:
        self.home = home
        self.ports = ports
        self.properties = {node: self._properties(node, quorum) for node in ports}
        self.processes = {
            node: BrokerProcess(
                ["up", *options(properties)],
                ready_file=str(home / f"{node}.ready"),
                log_file=str(home / f"{node}.log"),
            )
            for node, properties in self.properties.items()
        }

    def _properties(self, node: int, quorum: Mapping[str, str]) -> dict[str, str]:
        is_controller = node in CONTROLLERS
        return {
            "node.id": str(node),
            "process.roles": "controller" if is_controller else "broker",
            "listeners": f"{NAME if is_controller else 'PLAINTEXT'}://{HOST}:{self.ports[node]}",
            "controller.listener.names": NAME,
            "log.dirs": str(self.home / str(node)),
            "offsets.topic.num.partitions": "5",
            "group.initial.rebalance.delay.ms": "0",
            **quorum,
        }

    def format(self, node: int, *arguments: str) -> None:
        formatted("--cluster-id", CLUSTER_ID, *options(self.properties[node]), *arguments)

    def start(self) -> None:
        for process in self.processes.values():
            process.start()
        for process in self.processes.values():
            process.wait_ready(READY_S)

    def stop(self) -> list[int]:
        """Brokers first: nobody could let them go without controllers."""
        return [self.processes[node].stop() for node in (*BROKERS, *CONTROLLERS)]

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"{HOST}:{self.ports[node]}" for node in BROKERS)

    def ask(self, node: int, request: Request) -> Any:
        async def ask() -> Any:
            link = Link(Env.real(), HOST, self.ports[node], client_id="story")
            try:
                return await link.send(request, timeout_ms=5_000)
            finally:
                link.close()

        return asyncio.run(ask())

    def active(self, other_than: int = -1) -> int:
        """The active controller, as a broker knows it; waits until there is one, which is another than that."""
        topic = DescribeQuorumRequest.Topic
        asked = topic(topic_name="__cluster_metadata", partitions=[topic.Partition(partition_index=0)])
        found = -1

        def look() -> bool:
            nonlocal found
            try:
                answer = self.ask(BROKERS[0], DescribeQuorumRequest(topics=[asked]))
            except LinkError:
                return False
            if answer.error_code or not answer.topics or answer.topics[0].partitions[0].error_code:
                return False
            found = answer.topics[0].partitions[0].leader_id
            return found not in (other_than, -1)

        wait_until(look, "a controller is active", PATIENCE_S)
        return found


@contextmanager
def split(home: Path, how: str) -> Iterator[Split]:
    taken: set[int] = set()
    ports = {}
    for node in (*CONTROLLERS, *BROKERS):
        ports[node] = free_port(HOST, taken)
        taken.add(ports[node])
    addresses = {node: f"{HOST}:{ports[node]}" for node in CONTROLLERS}
    if how == "controller.quorum.voters":
        nodes = Split(home, ports, {how: ",".join(f"{node}@{address}" for node, address in addresses.items())})
        for node in ports:
            nodes.format(node)
    else:
        nodes = Split(home, ports, {how: ",".join(addresses.values())})
        directories = {node: uuid_to_text(bytes([node]) * 16) for node in CONTROLLERS}
        voters = ",".join(f"{node}@{address}:{directories[node]}" for node, address in addresses.items())
        for node in CONTROLLERS:
            nodes.format(node, "--initial-controllers", voters)
        for node in BROKERS:
            nodes.format(node)
    nodes.start()
    try:
        yield nodes
    finally:
        codes = nodes.stop()
    assert codes == [0] * 6


@pytest.mark.slow
@pytest.mark.parametrize("how", ["controller.quorum.voters", "controller.quorum.bootstrap.servers"])
def test_brokers_and_controllers_apart_are_a_cluster(tmp_path: Path, how: str) -> None:
    with split(tmp_path, how) as nodes, Kafka(nodes.bootstrap_servers, timeout_s=PATIENCE_S) as kafka:
        topic = kafka.topic(partitions=1)
        kafka.wait_until(lambda: kafka.isr(topic) == list(BROKERS), "everybody is in sync")
        with SteadyProducer(nodes.bootstrap_servers, topic) as producer:
            producer.wait_for_acks(50, PATIENCE_S)
            active = nodes.active()
            assert active in CONTROLLERS
            nodes.processes[active].kill()
            assert nodes.active(other_than=active) in CONTROLLERS
            leader = kafka.leaders(topic)[0]
            nodes.processes[leader].kill()
            kafka.wait_until(lambda: kafka.leaders(topic)[0] not in (leader, -1), "another broker leads")
            producer.wait_for_acks(50, PATIENCE_S)
            for node in (active, leader):
                nodes.processes[node].start()
                nodes.processes[node].wait_ready(READY_S)
            kafka.wait_until(lambda: kafka.isr(topic) == list(BROKERS), "everybody is in sync")
        assert not producer.failed
        found = [int(record.value or b"-1") for record in kafka.consume(topic)]
        assert found == sorted(set(found))
        assert set(producer.acknowledged) <= set(found)
        described = nodes.ask(
            active, DescribeClusterRequest(include_cluster_authorized_operations=False, endpoint_type=2)
        )
        assert described.error_code == ErrorCode.NONE
        assert [(node.broker_id, node.port) for node in described.brokers] == [(n, nodes.ports[n]) for n in CONTROLLERS]
        assert described.controller_id in CONTROLLERS
        resource = DescribeConfigsRequest.Resource(resource_type=4, resource_name=str(active), configuration_keys=None)
        configs = nodes.ask(active, DescribeConfigsRequest(resources=[resource])).results[0].configs
        assert {c.name: c.value for c in configs}["process.roles"] == "controller"
        assert not (tmp_path / str(BROKERS[0]) / "__cluster_metadata-0" / f"{'0' * 20}-{'0' * 10}.checkpoint").exists()
        logs = "".join(process.tail(1000) for process in nodes.processes.values())
        assert "Traceback" not in logs


def test_a_controller_alone_is_healthy_once_it_listens(tmp_path: Path) -> None:
    port = free_port(HOST)
    node = {"node.id": "9", "process.roles": "controller", "listeners": f"{NAME}://:{port}", "log.dirs": str(tmp_path)}
    given = options({**node, "controller.listener.names": NAME, "controller.quorum.voters": f"9@{HOST}:{port}"})

    def health() -> tuple[int, str]:
        command = [sys.executable, "-m", "blumfeld", "health", "--timeout", str(PATIENCE_S), *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
        return done.returncode, done.stdout + done.stderr

    code, said = health()
    assert code == 1
    assert "node 9 does not serve" in said
    assert "Traceback" not in said
    process = BrokerProcess(["up", *given], ready_file=str(tmp_path / "ready"), log_file=str(tmp_path / "log"))
    process.start()
    try:
        process.wait_ready(READY_S)
        assert health() == (0, f"node 9 serves at {HOST}:{port}\n")
    finally:
        assert process.stop() == 0


def test_roles_that_contradict_the_quorum_are_refused(tmp_path: Path) -> None:
    def said(**properties: str) -> str:
        given = {"node.id": "1", "log.dirs": str(tmp_path / "data"), "controller.listener.names": NAME}
        given |= {name.replace("_", "."): value for name, value in properties.items()}
        return refused("--profile", "durable", *options(given))

    assert "controller.quorum.bootstrap.servers" in said(process_roles="broker", listeners="PLAINTEXT://127.0.0.1:0")
    voters = {"controller_quorum_voters": "1@127.0.0.1:9"}
    text = said(process_roles="broker", listeners="PLAINTEXT://127.0.0.1:0", **voters)
    assert "without node 1 where its process.roles is broker alone" in text
    voters = {"controller_quorum_voters": "2@127.0.0.1:9"}
    text = said(process_roles="controller", listeners=f"{NAME}://127.0.0.1:0", **voters)
    assert "with node 1, since its process.roles contains controller" in text
    assert not (tmp_path / "data").exists()


def test_a_whole_cluster_is_formatted_and_then_started(tmp_path: Path) -> None:
    data = tmp_path / "data"
    printed = formatted("--brokers", "3", "--data", str(data), "--cluster-id", CLUSTER_ID)
    assert printed.count(f"of cluster {CLUSTER_ID}") == 3
    for node in BROKERS:
        properties = decode_properties((data / str(node) / "meta.properties").read_bytes())
        assert (properties["cluster.id"], properties["node.id"]) == (CLUSTER_ID, str(node))
        assert [p.name for p in (data / str(node) / "__cluster_metadata-0").iterdir()] == [
            f"{'0' * 20}-{'0' * 10}.checkpoint"
        ]
    before = contents(data)
    process = BrokerProcess(
        ["up", "--data", str(data)], ready_file=str(tmp_path / "ready"), log_file=str(tmp_path / "log")
    )
    process.start()
    try:
        ready = process.wait_ready(READY_S)
        assert ready.cluster_id == CLUSTER_ID
        with Kafka(ready.bootstrap_servers) as kafka:
            kafka.produce(kafka.topic(partitions=1), b"x")
    finally:
        assert process.stop() == 0
    kept = contents(data)
    assert all(kept[name] == before[name] for name in before if name.endswith("meta.properties"))


def test_what_is_formatted_is_left_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    node = {"node.id": "7", "listeners": "PLAINTEXT://127.0.0.1:0", "log.dirs": str(first)}
    formatted("--cluster-id", CLUSTER_ID, *options(node))
    before = contents(tmp_path)
    node["log.dirs"] = f"{first},{second}"
    command = [sys.executable, "-m", "blumfeld", "format", "--cluster-id", CLUSTER_ID, *options(node)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{first} is formatted already" in done.stderr
    assert contents(tmp_path) == before
    assert formatted("--cluster-id", CLUSTER_ID, "--ignore-formatted", *options(node)).startswith(f"formatted {second}")
    assert {name: text for name, text in contents(tmp_path).items() if name in before} == before


@pytest.mark.parametrize("cluster_id", ["jXEm5TZAQ8y0XM6Qpn+4JA", "ciWo7IWazngRchmPES6q5A==", "orders"])
def test_a_cluster_id_need_not_be_a_uuid(tmp_path: Path, cluster_id: str) -> None:
    node = {"node.id": "7", "listeners": "PLAINTEXT://127.0.0.1:0", "log.dirs": str(tmp_path)}
    assert formatted("--cluster-id", cluster_id, *options(node)).endswith(f"of cluster {cluster_id}\n")
    assert decode_properties((tmp_path / "meta.properties").read_bytes())["cluster.id"] == cluster_id


def test_a_listener_that_is_not_plain_is_refused(tmp_path: Path) -> None:
    node = {"node.id": "1", "log.dirs": str(tmp_path / "data"), "listeners": "SSL://127.0.0.1:0"}
    said = refused("--profile", "durable", *options({**node, "security.inter.broker.protocol": "SSL"}))
    assert "the only one served; SSL has SSL" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--cluster-id", "two words"), "without blanks"),
        (("--initial-controllers", "1@host:9093"), "id@host:port:directory-id"),
        (("--brokers", "3"), "belong to --data"),
        (("--set", "node.id=1"), "log.dirs is not set"),
    ],
)
def test_a_format_that_makes_no_sense_is_refused(arguments: tuple[str, ...], wanted: str) -> None:
    command = [sys.executable, "-m", "blumfeld", "format", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (1, 2)
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
