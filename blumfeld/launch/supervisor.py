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
from contextlib import suppress
from typing import TYPE_CHECKING

from blumfeld.launch.process import POLL_S, BrokerProcess, StartFailed
from blumfeld.launch.ready import Ready, ReadyBroker

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
        return lambda line: _say(node_id, line)

    def start(self, on_ready: Callable[[], object] = lambda: None) -> Ready | None:
        """Start all, wait until all serve. None where it was told to stop before; raises StartFailed, also where one
        ends, and OSError. In all of these cases none is left running.

        `on_ready` is called once for each that serves.
        """
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        ready = None
        try:
            for child in self._children.values():
                child.start()
            ready = self._wait_ready(on_ready)
        finally:
            if ready is None:
                self.stop()
        return ready

    def _wait_ready(self, on_ready: Callable[[], object]) -> Ready | None:
        deadline = time.monotonic() + START_TIMEOUT_S
        found: dict[int, ReadyBroker] = {}
        while len(found) < len(self._children):
            if self._stopping.wait(POLL_S):
                return None
            for node_id, child in self._children.items():
                ready = None if node_id in found else child.poll_ready()
                if ready is not None:
                    found[node_id] = ready.brokers[0]
                    on_ready()
                elif node_id not in found and time.monotonic() > deadline:
                    raise StartFailed(f"node {node_id} is not ready after {START_TIMEOUT_S:.0f} s:\n{child.tail()}")
        return Ready(self._plan.cluster_id, tuple(found[node_id] for node_id in self._children))

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping.set()

    def watch(self) -> None:
        """Return when told to stop, or when no child runs any more."""
        while not self._stopping.wait(WATCH_S):
            for node_id, child in self._children.items():
                if child.is_running or node_id in self._dead:
                    continue
                _say(node_id, f"ended with {child.exit_code}")
                if self._restart and not self._stopping.wait(RESTART_PAUSE_S):
                    child.start()
                else:
                    self._dead.add(node_id)
            if len(self._dead) == len(self._children):
                return

    def stop(self) -> int:
        """Stop all cleanly; 0, or the first exit code that is not: of those that run, or of all where none does."""
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        codes = {node_id: child.wait(STOP_TIMEOUT_S) for node_id, child in self._children.items()}
        watched = [code for node_id, code in codes.items() if node_id not in self._dead]
        return next((code for code in watched or codes.values() if code), 0)


def _say(node_id: int, line: str) -> None:
    with suppress(OSError):  # whoever read it has gone: that ends nobody
        sys.stderr.write(f"node {node_id} | {line}\n")
        sys.stderr.flush()
