"""Several brokers under one command: started, waited for, watched, stopped together.

Owns one child process for each node of the plan. Their output comes out in one stream, each line with its node's
prefix. SIGTERM and SIGINT are passed on by stopping every child cleanly. A child that ends by itself is reported, and
with `restart` started again; the others go on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.launch.process import BrokerProcess, StartFailed
from blumfeld.launch.ready import Ready

if TYPE_CHECKING:
    from blumfeld.launch.plan import Plan

START_TIMEOUT_S = 60.0
WATCH_S = 0.2
RESTART_PAUSE_S = 1.0
STOP_TIMEOUT_S = 30.0


class Supervisor:
    """The children of one `up --brokers N`.

    Args:
        plan: the nodes; its file must be written already.
        plan_file: that file.
        scratch: a directory for ready files and logs.
        restart: start a broker again that ended by itself.
    """

    def __init__(self, plan: Plan, plan_file: str, scratch: str, *, restart: bool = False) -> None:
        self._plan = plan
        self._restart = restart
        self._stopping = threading.Event()
        self._children = {
            node.id: BrokerProcess(
                ["up", "--plan", plan_file, "--node", str(node.id)],
                ready_file=os.path.join(scratch, f"{node.id}.ready"),
                log_file=os.path.join(scratch, f"{node.id}.log"),
                on_line=self._printer(node.id),
            )
            for node in plan.nodes
        }
        self._dead: set[int] = set()

    def _printer(self, node_id: int) -> Callable[[str], None]:
        def write(line: str) -> None:
            sys.stderr.write(f"node {node_id} | {line}\n")
            sys.stderr.flush()

        return write

    def start(self, on_ready: Callable[[], object] = lambda: None) -> Ready:
        """Start all, wait until all serve. Raises StartFailed; then none is left running.

        `on_ready` is called once for each that serves.
        """
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        for child in self._children.values():
            child.start()
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            found = []
            for child in self._children.values():
                found.append(child.wait_ready(max(deadline - time.monotonic(), 0.0)).brokers[0])
                on_ready()
        except StartFailed:
            self.stop()
            raise
        return Ready(self._plan.cluster_id, tuple(found))

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping.set()

    def watch(self) -> None:
        """Return when told to stop, or when no child runs any more."""
        while not self._stopping.wait(WATCH_S):
            for node_id, child in self._children.items():
                if child.is_running or node_id in self._dead:
                    continue
                sys.stderr.write(f"node {node_id} | ended with {child.exit_code}\n")
                if self._restart and not self._stopping.wait(RESTART_PAUSE_S):
                    child.start()
                else:
                    self._dead.add(node_id)
            if len(self._dead) == len(self._children):
                return

    def stop(self) -> int:
        """Stop all cleanly; 0, or the first exit code that is not."""
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        codes = [child.wait(STOP_TIMEOUT_S) for node_id, child in self._children.items() if node_id not in self._dead]
        return next((code for code in codes if code), 0)
