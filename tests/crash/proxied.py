"""Three broker processes that reach each other only through proxies; clients reach them directly.

Every broker has three listeners: CLIENT for clients, INTERNAL for replication and CONTROLLER for raft, heartbeats and
forwarded requests. The latter two are advertised under the addresses of proxies (`links.py`).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blumfeld.launch.plan import PLAN_FILE, NodePlan, Plan
from blumfeld.launch.ports import free_port
from blumfeld.launch.process import BrokerProcess
from tests.crash.links import HOST

PROTOCOLS = "INTERNAL:PLAINTEXT,CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT"
READY_S = 60.0


class Links:
    """The proxies, in a process of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.links"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, **command: Any) -> None:
        """Have a command carried out; returns when it is."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            assert self._process.stdout.readline() == "done\n", "the network is gone"

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Node:
    """One broker process behind its proxies."""

    def __init__(self, plan: NodePlan, process: BrokerProcess, client_port: int, links: Links) -> None:
        self.id = plan.id
        self.process = process
        self.client_port = client_port
        self.is_down = True
        self.is_paused = False
        self._links = links

    def start(self) -> None:
        """Start it; does not wait."""
        self._links.do(do="open", node=self.id)
        self.process.start()
        self.is_down = False

    def wait_ready(self) -> None:
        self.process.wait_ready(READY_S)

    def kill(self) -> None:
        """kill -9; whoever connects from now on is refused."""
        self.is_down, self.is_paused = True, False
        self._links.do(do="close", node=self.id)
        self.process.kill()

    def stop(self) -> int:
        """Controlled shutdown; the exit code."""
        self.is_down = True
        code = self.process.stop()
        self._links.do(do="close", node=self.id)
        return code

    def pause(self) -> None:
        self.is_paused = True
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.is_paused = False
        self.process.signal(signal.SIGCONT)


class ProxiedCluster:
    """`with ProxiedCluster(directory, config) as cluster: …`; data and logs stay in `directory`."""

    def __init__(self, directory: Path, config: Mapping[str, str], brokers: int = 3) -> None:
        self.directory = directory
        self.links = Links()
        self.nodes: dict[int, Node] = {}
        taken: set[int] = set()

        def port() -> int:
            found = free_port(HOST, taken)
            taken.add(found)
            return found

        data = directory / "data"
        settings = tuple(f"{name}={value}" for name, value in config.items())
        plan = Plan.make(brokers=brokers, data=str(data), profile="test", settings=settings)
        plan.save(str(data / PLAN_FILE))
        taken.update(n for node in plan.nodes for n in (node.port, node.controller_port))
        for node in plan.nodes:
            internal, controller, internal_proxy = port(), port(), port()
            own = [
                f"listeners=INTERNAL://{HOST}:{internal},CLIENT://{HOST}:{node.port},CONTROLLER://{HOST}:{controller}",
                (
                    f"advertised.listeners=INTERNAL://{HOST}:{internal_proxy},CLIENT://{HOST}:{node.port},"
                    f"CONTROLLER://{HOST}:{node.controller_port}"
                ),
                f"listener.security.protocol.map={PROTOCOLS}",
                "inter.broker.listener.name=INTERNAL",
            ]
            process = BrokerProcess(
                [
                    *("up", "--plan", str(data / PLAN_FILE), "--node", str(node.id)),
                    *(part for setting in own for part in ("--set", setting)),
                ],
                ready_file=str(directory / f"{node.id}.ready"),
                log_file=str(directory / f"{node.id}.log"),
            )
            self.nodes[node.id] = Node(node, process, node.port, self.links)
            self.links.do(do="route", node=node.id, listen=internal_proxy, to=internal)
            self.links.do(do="route", node=node.id, listen=node.controller_port, to=controller)

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"{HOST}:{node.client_port}" for node in self.nodes.values())

    def data_of(self, node: int) -> Path:
        """Where a node's logs are."""
        return self.directory / "data" / str(node)

    def start(self) -> None:
        """Start all and wait until they serve."""
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            node.wait_ready()

    def stop(self) -> None:
        """Stop all that runs, at once."""
        running = [node for node in self.nodes.values() if node.process.is_running]
        for node in running:
            node.process.signal(signal.SIGCONT)
            node.process.signal(signal.SIGTERM)
        for node in running:
            node.process.wait(30)
            node.is_down = True

    def __enter__(self) -> ProxiedCluster:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.links.close()
