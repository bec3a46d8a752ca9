"""Blumfeld as a peer: the same face as the other one.

Its modules are compiled once, as they are where it was installed: where the environment forbids to keep bytecode, it
is kept in a directory of the user's cache.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from blumfeld.launch.plan import PLAN_FILE, Plan
from blumfeld.launch.process import BrokerProcess

STOP_TIMEOUT_S = 30.0
FORBIDDEN = "PYTHONDONTWRITEBYTECODE"
CACHE = "PYTHONPYCACHEPREFIX"


def keep_bytecode() -> None:
    """Let the interpreters that are started from here on keep compiled modules."""
    if os.environ.pop(FORBIDDEN, None):
        os.environ.setdefault(CACHE, str(Path.home() / ".cache" / "blumfeld-bench"))


class BlumfeldPeer:
    """One cluster of broker processes, with data directories unless `in_memory`."""

    name = "Blumfeld"

    def __init__(self, directory: Path, nodes: int = 1, *, in_memory: bool = False) -> None:
        keep_bytecode()
        directory.mkdir(parents=True, exist_ok=True)
        self._plan = Plan.make(brokers=nodes, data=None if in_memory else str(directory / "data"), profile="dev")
        plan_file = directory / "data" / PLAN_FILE
        self._plan.save(str(plan_file))
        self._processes = {
            node.id: BrokerProcess(
                ["up", "--plan", str(plan_file), "--node", str(node.id)],
                ready_file=str(directory / f"{node.id}.ready"),
                log_file=str(directory / f"{node.id}.log"),
            )
            for node in self._plan.nodes
        }

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"{node.host}:{node.port}" for node in self._plan.nodes)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]

    def start(self, node: int | None = None) -> None:
        """Start one node, or all; returns at once."""
        for n in self._processes if node is None else [node]:
            self._processes[n].start()

    def wait_ready(self) -> None:
        """Return when every node serves."""
        for process in self._processes.values():
            process.wait_ready(60)

    def kill(self, node: int) -> None:
        """kill -9 of one node."""
        self._processes[node].kill()

    def stop(self, node: int | None = None) -> None:
        """Stop one node cleanly, or all."""
        stopping = list(self._processes.values()) if node is None else [self._processes[node]]
        for process in stopping:
            process.signal(signal.SIGTERM)
        for process in stopping:
            process.wait(STOP_TIMEOUT_S)

    def __enter__(self) -> BlumfeldPeer:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._processes.values():
            process.kill()
