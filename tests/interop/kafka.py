"""One node of Apache Kafka, controller and broker in one process, for tests that need the real thing beside us.

It formats a directory of its own, or takes the place of the broker that left its data directory (`in_place_of`).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from blumfeld.launch.plan import PLAN_FILE, Plan
from blumfeld.launch.ports import free_port
from tests.interop.java import class_path

CLUSTER_ID = "AAAAAAAAQAC5AAAAAAAAAA"
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
STARTED = "Kafka Server started"
SHORT_SESSION = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
"""So that a broker need not wait long for the session of its predecessor to end, and keeps its own."""

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
    """`with ApacheKafka(directory, jars) as kafka: kafka.port …`; loopback, free ports, plain text.

    `format_options`: of StorageTool; None: the directory is formatted.
    """

    def __init__(
        self,
        directory: Path,
        jars: list[str],
        *,
        ports: tuple[int, int] | None = None,
        advertised_port: int | None = None,
        properties: Mapping[str, str] | None = None,
        format_options: Sequence[str] | None = (),
    ) -> None:
        self.port, self.controller_port = ports or free_ports(2)
        self._directory = directory
        self._class_path = class_path(jars)
        self._process: subprocess.Popen[bytes] | None = None
        self._format_options = format_options
        self._properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{advertised_port or self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(directory / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "group.initial.rebalance.delay.ms": "0",
            **(properties or {}),
        }

    @classmethod
    def in_place_of(
        cls, directory: Path, jars: list[str], data: Path, *, properties: Mapping[str, str] | None = None
    ) -> ApacheKafka:
        """Apache Kafka on what the only broker of `blumfeld up --data DATA` left there, under its id and ports.

        The controller's port is the one in the voter set: that is how Kafka finds the quorum, which is itself.
        """
        [node] = Plan.load(str(data / PLAN_FILE)).nodes
        given = {"node.id": str(node.id), "log.dirs": str(node.directory), **SHORT_SESSION}
        return cls(
            directory,
            jars,
            ports=(node.port, node.controller_port),
            properties={**given, **(properties or {})},
            format_options=None,
        )

    @property
    def data(self) -> Path:
        return Path(self._properties["log.dirs"])

    @property
    def settings(self) -> Path:
        """Its server.properties."""
        return self._directory / "server.properties"

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self._directory / "server.log"

    def __enter__(self) -> ApacheKafka:
        self._directory.mkdir(parents=True, exist_ok=True)
        self.settings.write_text("".join(f"{name}={value}\n" for name, value in self._properties.items()))
        logging = self._directory / "log4j2.properties"
        logging.write_text(LOGGING)
        java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={logging}"]
        java += ["-cp", self._class_path]
        if self._format_options is not None:
            options = ["--standalone", "-t", CLUSTER_ID, "-c", str(self.settings), *self._format_options]
            format_storage = [*java, "kafka.tools.StorageTool", "format", *options]
            subprocess.run(format_storage, check=True, capture_output=True, timeout=START_TIMEOUT_S)
        with self.log.open("wb") as log:
            command = [*java, "kafka.Kafka", str(self.settings)]
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

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

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
    """Ports that nobody uses now, and that no outgoing connection gets before they are bound, a JVM's start later."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port("127.0.0.1", ports))
    return list(ports)
