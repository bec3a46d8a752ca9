"""Broker processes under a test's control: started, waited for, killed, paused, restarted, stopped.

Every broker is `blumfeld up` in a process of its own, on free ports of the loopback interface. They end with this
process, however it ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from blumfeld.launch.plan import PLAN_FILE, Plan
from blumfeld.launch.process import BrokerProcess
from blumfeld.testing.kafka import DEFAULT_TIMEOUT_S, Kafka

if TYPE_CHECKING:
    from blumfeld.launch.ready import ReadyBroker

START_TIMEOUT_S = 60.0


class BrokerHandle:
    """One broker process of a cluster."""

    def __init__(self, node_id: int, process: BrokerProcess) -> None:
        self.id = node_id
        self.process = process
        self._ready: ReadyBroker | None = None

    def start(self) -> None:
        """Start the process; `wait_ready` says when it serves."""
        self.process.start()

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when produce and group join work. Raises `StartFailed` with the end of the log."""
        ready = self.process.wait_ready(timeout_s)
        self._ready = ready.brokers[0]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def host(self) -> str:
        assert self._ready is not None, "not ready yet"
        return self._ready.host

    @property
    def port(self) -> int:
        assert self._ready is not None, "not ready yet"
        return self._ready.port

    @property
    def is_running(self) -> bool:
        return self.process.is_running

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()

    def stop(self, timeout_s: float = 30.0) -> int:
        """Stop cleanly; returns the exit code."""
        return self.process.stop(timeout_s)

    def restart(self) -> None:
        """Start again after `kill` or `stop` (stopping first if it still runs) and wait until it serves."""
        if self.is_running:
            self.stop()
        self.start()
        self.wait_ready()

    def pause(self) -> None:
        """Stop the process in its tracks (SIGSTOP); the network sees nothing."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self.process.signal(signal.SIGCONT)

    @property
    def logs(self) -> str:
        """The end of what the broker wrote."""
        return self.process.tail(200)


class Cluster:
    """Brokers of one cluster, and what a test does with it (every method of `Kafka`, by attribute).

    Args:
        brokers: how many.
        data: directory to keep data in; None: in memory where there is one broker, else a temporary directory.
        profile: `test`, `dev` or `durable`.
        config: broker properties by Kafka's names, for all brokers.
        port: port of the first broker, the next ones follow; 0: free ones.
        timeout_s: how long calls retry and waiting waits.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        data: str | os.PathLike[str] | None = None,
        profile: str = "test",
        config: Mapping[str, str] | None = None,
        port: int = 0,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._timeout_s = timeout_s
        self._scratch = tempfile.mkdtemp(prefix="blumfeld-")
        if data is None and brokers > 1:
            data = os.path.join(self._scratch, "data")
        directory = None if data is None else os.fspath(data)
        self._plan = Plan.make(
            brokers=brokers,
            port=port,
            data=directory,
            profile=profile,
            settings=tuple(f"{name}={value}" for name, value in (config or {}).items()),
        )
        self._plan_file = os.path.join(directory or self._scratch, PLAN_FILE)
        self.brokers: dict[int, BrokerHandle] = {}
        self._kafka: Kafka | None = None

    def start(self) -> Cluster:
        """Start all brokers and wait until they serve."""
        try:
            self._plan.save(self._plan_file)
            for node in self._plan.nodes:
                process = BrokerProcess(
                    ["up", "--plan", self._plan_file, "--node", str(node.id)],
                    ready_file=os.path.join(self._scratch, f"{node.id}.ready"),
                    log_file=os.path.join(self._scratch, f"{node.id}.log"),
                )
                self.brokers[node.id] = BrokerHandle(node.id, process)
                process.start()
            for broker in self.brokers.values():
                broker.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all brokers and remove what they left in temporary directories."""
        if self._kafka is not None:
            self._kafka.close()
            self._kafka = None
        for broker in self.brokers.values():
            broker.process.signal(signal.SIGCONT)
            broker.process.signal(signal.SIGTERM)
        for broker in self.brokers.values():
            broker.process.wait(20.0)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Cluster:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """All brokers, comma-separated."""
        return ",".join(f"{b.host}:{b.port}" for b in self.brokers.values())

    @property
    def kafka(self) -> Kafka:
        """Topics, records, groups and waiting."""
        if self._kafka is None:
            self._kafka = Kafka(self.bootstrap_servers, timeout_s=self._timeout_s)
        return self._kafka

    @property
    def broker(self) -> BrokerHandle:
        """The only broker, or the first."""
        return next(iter(self.brokers.values()))
