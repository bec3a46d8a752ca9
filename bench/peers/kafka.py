"""Apache Kafka as a peer: combined KRaft nodes on loopback, formatted in a directory of the run."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

from blumfeld.launch.ports import free_port
from tests.interop.java import JarsMissing, kafka_jars

CLUSTER_ID = "AAAAAAAAQAC5AAAAAAAAAA"
START_TIMEOUT_S = 120.0
STARTED = b"Kafka Server started"
HEAP = ("-server", "-Xmx1G", "-Xms1G")
COLLECTOR = ("-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35")
LOG4J = """rootLogger.level = INFO
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n
"""


def why_unavailable() -> str | None:
    """What is missing: Java, or the jars (which are fetched if need be). None: nothing is."""
    if shutil.which("java") is None:
        return "no `java` on the path"
    try:
        kafka_jars()
    except JarsMissing as missing:
        return str(missing)
    return None


class KafkaPeer:
    """One Apache Kafka cluster of `nodes` combined nodes, with the heap and collector of Kafka's own start script."""

    name = "Apache Kafka"

    def __init__(self, directory: Path, nodes: int = 1) -> None:
        self._directory = directory
        self._classpath = ":".join(kafka_jars())
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._log_starts: dict[int, int] = {}
        taken: set[int] = set()
        self._ports: dict[int, tuple[int, int]] = {}
        for node in range(1, nodes + 1):
            client = free_port("127.0.0.1", taken)
            taken.add(client)
            controller = free_port("127.0.0.1", taken)
            taken.add(controller)
            self._ports[node] = (client, controller)
        for node in self._ports:
            self._format(node)

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{client}" for client, _ in self._ports.values())

    @property
    def pids(self) -> list[int]:
        return [child.pid for _, child in sorted(self._children.items())]

    def _format(self, node: int) -> None:
        home = self._directory / str(node)
        home.mkdir(parents=True)
        client, controller = self._ports[node]
        factor = min(3, len(self._ports))
        voters = ",".join(f"{n}@127.0.0.1:{ports[1]}" for n, ports in self._ports.items())
        (home / "log4j2.properties").write_text(LOG4J)
        (home / "server.properties").write_text(
            f"""process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={home}/data
offsets.topic.replication.factor={factor}
transaction.state.log.replication.factor={factor}
share.coordinator.state.topic.replication.factor={factor}
"""
        )
        self._java(node, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(home / "server.properties"))

    def _command(self, node: int, main: str, *arguments: str) -> list[str]:
        home = self._directory / str(node)
        return [
            *("java", *HEAP, *COLLECTOR),
            *("-cp", self._classpath, f"-Dlog4j2.configurationFile={home}/log4j2.properties", main),
            *arguments,
        ]

    def _java(self, node: int, main: str, *arguments: str) -> None:
        subprocess.run(self._command(node, main, *arguments), check=True, capture_output=True)

    def start(self, node: int | None = None) -> None:
        """Start one node, or all; returns at once."""
        for n in self._ports if node is None else [node]:
            home = self._directory / str(n)
            with open(home / "server.log", "ab") as log:
                self._log_starts[n] = log.tell()
                self._children[n] = subprocess.Popen(
                    self._command(n, "kafka.Kafka", str(home / "server.properties")), stdout=log, stderr=log
                )

    def wait_ready(self) -> None:
        """Return when every node says that it is started."""
        deadline = time.monotonic() + START_TIMEOUT_S
        for node, child in self._children.items():
            log = self._directory / str(node) / "server.log"
            while STARTED not in log.read_bytes()[self._log_starts[node] :]:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Apache Kafka node {node} did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.05)

    def kill(self, node: int) -> None:
        """kill -9 of one node."""
        self._children[node].send_signal(signal.SIGKILL)
        self._children[node].wait()

    def stop(self, node: int | None = None) -> None:
        """Stop one node cleanly, or all."""
        stopping = list(self._children.values()) if node is None else [self._children[node]]
        for child in stopping:
            child.terminate()
        for child in stopping:
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def __enter__(self) -> KafkaPeer:
        return self

    def __exit__(self, *exc: object) -> None:
        for node in self._children:
            self.kill(node)
