"""Seeded harm: brokers killed, stopped and started again, paused, cut off from each other; elections; all at once.

Owns the order of faults and their undoing. One seed gives one sequence of kinds, victims and durations; what the
brokers are doing at those moments is theirs.

Invariant: when `run` returns, every node runs, none is paused, and the network is whole.
"""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from blumfeld.cluster.link import Link, LinkError
from blumfeld.env.environment import Env
from blumfeld.launch.process import StartFailed
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest
from blumfeld.protocol.messages.elect_leaders import ElectLeadersRequest
from blumfeld.protocol.messages.metadata import MetadataRequest
from blumfeld.protocol.schema import Request
from tests.crash.history import Fault, History
from tests.crash.links import HOST
from tests.crash.proxied import Node, ProxiedCluster

KINDS = (
    "kill",
    "kill the controller",
    "kill a leader",
    "stop",
    "pause",
    "cut both ways",
    "cut one way",
    "isolate",
    "restart all",
    "elect",
)
TWICE_AT_ONCE = 0.15
"""How often a second fault comes while one lasts."""
ASK_S = 1.0


class Nemesis:
    """The harm of one run.

    Args:
        pace: of a run; 1: pauses between faults are of 0.7 s on average, pauses and cuts last up to 5 s.
    """

    def __init__(self, cluster: ProxiedCluster, history: History, seed: int, topic: str, pace: float = 1.0) -> None:
        self._cluster = cluster
        self._history = history
        self._chance = random.Random(seed)
        self._topic = topic
        self._pace = pace
        self.rest = 1.0
        """How much longer than that the pauses between faults are."""
        self._bag: list[str] = []
        self._undoing: list[tuple[float, Fault, Callable[[], None]]] = []
        self._struck = 0.0
        self._nodes = list(cluster.nodes.values())

    def run(self, until: Callable[[], bool]) -> None:
        """Do harm until told to end, then undo all of it and wait until every node serves."""
        next_at = time.monotonic() + 1.0
        while not until():
            now = time.monotonic()
            self._undo(now)
            self._look_after()
            if now >= next_at and (not self._undoing or self._chance.random() < TWICE_AT_ONCE):
                self._strike()
                next_at = time.monotonic() + self._pause_s()
            elif now >= next_at:
                next_at = self._undoing[0][0] + self._pause_s()
            time.sleep(0.02)
        self._undo(float("inf"))
        for node in self._nodes:
            try:
                node.wait_ready()
            except StartFailed as error:
                self._history.broken.append(f"broker {node.id}: {error}")

    def _pause_s(self) -> float:
        return self._chance.uniform(0.15, 1.4) * self._pace * self.rest

    def _undo(self, now: float) -> None:
        for entry in [entry for entry in self._undoing if entry[0] <= now]:
            self._undoing.remove(entry)
            _, fault, undo = entry
            undo()
            index = self._history.faults.index(fault)
            self._history.faults[index] = fault._replace(until=time.monotonic())

    def _look_after(self) -> None:
        """A broker that ends by itself is a violation."""
        for node in self._nodes:
            if not node.is_down and not node.process.is_running:
                self._history.broken.append(f"broker {node.id} ended with {node.process.exit_code}")
                node.start()

    def _strike(self) -> None:
        if not self._bag:
            self._bag = [*KINDS, *KINDS]
            self._chance.shuffle(self._bag)
        kind = self._bag.pop()
        fine = [node for node in self._nodes if not node.is_down and not node.is_paused]
        if not fine:
            return self._bag.insert(0, kind)
        self._struck = time.monotonic()
        _STRIKES[kind](self, kind, fine)
        return None

    def _note(self, kind: str, what: str, lasts_s: float = 0.0, undo: Callable[[], None] | None = None) -> None:
        now = time.monotonic()
        fault = Fault(kind, what, self._struck, now)
        self._history.faults.append(fault)
        if undo is not None:
            self._undoing.append((now + lasts_s, fault, undo))
            self._undoing.sort(key=lambda entry: entry[0])

    # --- the kinds ---------------------------------------------------------------------------------------------

    def _kill(self, kind: str, fine: list[Node]) -> None:
        self._kill_one(kind, self._chance.choice(fine))

    def _kill_controller(self, kind: str, fine: list[Node]) -> None:
        victim = self._chance.choice(fine)
        self._kill_one(kind, self._among(fine, self._controller()) or victim)

    def _kill_leader(self, kind: str, fine: list[Node]) -> None:
        victim = self._chance.choice(fine)
        self._kill_one(kind, self._among(fine, self._leader()) or victim)

    def _kill_one(self, kind: str, victim: Node) -> None:
        lasts_s = self._chance.choice([0.05, self._chance.uniform(0.3, 2.0)])
        victim.kill()
        self._note(kind, f"broker {victim.id}", lasts_s, victim.start)

    def _stop(self, kind: str, fine: list[Node]) -> None:
        victim = self._chance.choice(fine)
        lasts_s = self._chance.uniform(0.05, 1.0)
        code = victim.stop()
        if code not in (0, -signal.SIGTERM):  # the latter: it was told before it could heed
            self._history.broken.append(f"broker {victim.id} ended with {code} when told to stop")
        self._note(kind, f"broker {victim.id}", lasts_s, victim.start)

    def _pause(self, kind: str, fine: list[Node]) -> None:
        victim = self._chance.choice(fine)
        chosen = self._chance.choice([None, self._controller, self._leader])
        lasts_s = self._chance.choice([self._chance.uniform(0.2, 1.0), self._chance.uniform(1.0, 4.5)]) * self._pace
        victim = (self._among(fine, chosen()) if chosen else None) or victim
        victim.pause()
        self._note(kind, f"broker {victim.id}", lasts_s, victim.resume)

    def _cut_both_ways(self, kind: str, fine: list[Node]) -> None:
        del fine
        a, b = self._chance.sample(sorted(self._cluster.nodes), 2)
        self._cut(kind, f"{a} ⇹ {b}", [(a, b), (b, a)])

    def _cut_one_way(self, kind: str, fine: list[Node]) -> None:
        del fine
        a, b = self._chance.sample(sorted(self._cluster.nodes), 2)
        self._cut(kind, f"{a} ⇸ {b}", [(a, b)])

    def _isolate(self, kind: str, fine: list[Node]) -> None:
        del fine
        alone = self._chance.choice(sorted(self._cluster.nodes))
        others = [n for n in self._cluster.nodes if n != alone]
        self._cut(kind, f"broker {alone}", [pair for n in others for pair in ((alone, n), (n, alone))])

    def _cut(self, kind: str, what: str, directions: list[tuple[int, int]]) -> None:
        links, reset = self._cluster.links, self._chance.random() < 0.3
        for source, target in directions:
            links.do(**{"do": "cut", "from": source, "to": target})
        lasts_s = self._chance.choice([self._chance.uniform(0.3, 1.5), self._chance.uniform(1.5, 5.0)]) * self._pace
        self._note(kind, what, lasts_s, lambda: links.do(do="heal", reset=reset))

    def _restart_all(self, kind: str, fine: list[Node]) -> None:
        self._undo(float("inf"))
        hard = self._chance.random() < 0.5
        lasts_s = self._chance.uniform(0.05, 0.5)
        if hard:
            for node in self._nodes:
                node.kill()
        else:
            threads = [threading.Thread(target=node.stop) for node in self._nodes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        self._note(kind, "kill -9" if hard else "stop", lasts_s, self._start_all)

    def _start_all(self) -> None:
        for node in self._nodes:
            node.start()

    def _elect(self, kind: str, fine: list[Node]) -> None:
        self._ask(fine, ElectLeadersRequest(election_type=0, topic_partitions=None, timeout_ms=1000))
        self._note(kind, "preferred leaders")

    # --- who is what -------------------------------------------------------------------------------------------

    def _among(self, nodes: list[Node], node_id: int | None) -> Node | None:
        return next((node for node in nodes if node.id == node_id), None)

    def _controller(self) -> int | None:
        topic = DescribeQuorumRequest.Topic
        partition = topic.Partition(partition_index=0)
        answer = self._ask(
            self._nodes,
            DescribeQuorumRequest(topics=[topic(topic_name="__cluster_metadata", partitions=[partition])]),
        )
        return None if answer is None else int(answer.topics[0].partitions[0].leader_id)

    def _leader(self) -> int | None:
        answer = self._ask(self._nodes, MetadataRequest(topics=[MetadataRequest.Topic(name=self._topic)]))
        if answer is None or not answer.topics[0].partitions:
            return None
        return int(answer.topics[0].partitions[0].leader_id)

    def _ask(self, nodes: list[Node], request: Request) -> Any:
        async def ask(node: Node) -> Any:
            link = Link(Env.real(), HOST, node.client_port, client_id="nemesis")
            try:
                async with asyncio.timeout(ASK_S):
                    return await link.send(request)
            except (LinkError, ProtocolError, TimeoutError):
                return None
            finally:
                link.close()

        for node in nodes:
            if not node.is_down and not node.is_paused:
                answer = asyncio.run(ask(node))
                if answer is not None:
                    return answer
        return None


_STRIKES: dict[str, Callable[[Nemesis, str, list[Node]], None]] = {
    "kill": Nemesis._kill,
    "kill the controller": Nemesis._kill_controller,
    "kill a leader": Nemesis._kill_leader,
    "stop": Nemesis._stop,
    "pause": Nemesis._pause,
    "cut both ways": Nemesis._cut_both_ways,
    "cut one way": Nemesis._cut_one_way,
    "isolate": Nemesis._isolate,
    "restart all": Nemesis._restart_all,
    "elect": Nemesis._elect,
}
assert set(_STRIKES) == set(KINDS)
