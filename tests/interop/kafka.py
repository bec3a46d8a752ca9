"""One node of Apache Kafka, controller and broker in one process, for tests that need the real thing beside us."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.interop.java import class_path

CLUSTER_ID = "AAAAAAAAQAC5AAAAAAAAAA"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
STARTED = "Kafka Server started"

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %m (%c)%n
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
"""


class ApacheKafka:
    """`with ApacheKafka(directory, jars) as kafka: kafka.port …`; loopback, free ports, plain text."""

    def __init__(
        self,
        directory: Path,
        jars: list[str],
        *,
        advertised_port: int | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.port, controller_port = free_ports(2)
        self.data = directory / "data"
        self._directory = directory
        self._class_path = class_path(jars)
        self._process: subprocess.Popen[bytes] | None = None
        self._properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{advertised_port or self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.data),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "group.initial.rebalance.delay.ms": "0",
            **(properties or {}),
        }

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self._directory / "server.log"

    def __enter__(self) -> ApacheKafka:
        self._directory.mkdir(parents=True, exist_ok=True)
        settings = self._directory / "server.properties"
        settings.write_text("".join(f"{name}={value}\n" for name, value in self._properties.items()))
        logging = self._directory / "log4j2.properties"
        logging.write_text(LOGGING)
        java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={logging}"]
        java += ["-cp", self._class_path]
        format_storage = ["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c", str(settings)]
        subprocess.run([*java, *format_storage], check=True, capture_output=True, timeout=START_TIMEOUT_S)
        with self.log.open("wb") as log:
            command = [*java, "kafka.Kafka", str(settings)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait_until_started(self._process)
        except BaseException:
            self._stop(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._stop(self._process)

    def _wait_until_started(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while STARTED not in self.log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Apache Kafka did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    holders = [socket.socket() for _ in range(count)]
    for holder in holders:
        holder.bind(("127.0.0.1", 0))
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports
