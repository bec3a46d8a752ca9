"""The simulated world of one seed: time, network, faults, clients.

Owns the schedule and all chance. Messages are lost, delayed, doubled and overtaken; links break one way or both;
replicas crash and lose what they had not flushed, stand still, run fast or slow, are stopped gracefully, take snapshots
and clean their logs. In the end everything heals, and all must agree.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from blumfeld.cluster.raft.events import Failed, Failure, PeerUnreachable, Resign, Send, Shutdown, Stalled
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import FetchRequest, Request
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.roles import Leader
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, Voter, VoterSet
from tests.sim.raft.invariants import Invariants, ViolationError
from tests.sim.raft.replica import Replica

OPTIONS = RaftOptions(
    election_timeout_ms=100,
    fetch_timeout_ms=200,
    election_backoff_max_ms=100,
    request_timeout_ms=100,
    retry_backoff_ms=4,
    unreachable_timeout_ms=30,
    startup_election_timeout_ms=15,
    fetch_max_wait_ms=50,
    fetch_max_bytes=6,
)
"""A tenth of the usual timeouts, so that a thousand steps see many elections; sizes count batches."""

HEALING_MS = 5_000
FAULTS = (
    "crash",
    "crash losing writes",
    "delay",
    "duplication",
    "loss",
    "one-way partition",
    "partition",
    "pause",
    "reordering",
    "resignation",
    "shutdown",
    "skew",
    "stall noticed",
    "unreachable, falsely",
    "unreachable, truly",
)
HAPPENINGS = ("election", "log cleaned", "snapshot installed", "snapshot taken", "truncation")


class Token(NamedTuple):
    """Comes back with a reply: who asked, and when in its life."""

    asker: Replica
    incarnation: int
    correlation_id: int
    request: Request


class World:
    """One universe. `run()` raises `ViolationError` where an invariant breaks."""

    def __init__(self, seed: int, steps: int = 1_500) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        self.steps_wanted = steps
        self.steps = 0
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self.invariants = Invariants()
        self.snapshot_contents: dict[OffsetAndEpoch, tuple[int, VoterSet]] = {}
        self.healed = False
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._blocked: set[tuple[int, int]] = set()
        self._last_delivered: dict[tuple[int, int], float] = {}
        self._value = 0
        voters = random.choice((1, 3, 3, 3, 3, 3, 5))
        observers = random.choice((0, 1, 1, 2))
        self.voters = VoterSet(
            Voter(ReplicaKey(i, bytes([i]) * 16), (Endpoint("CONTROLLER", f"node-{i}", 9093),))
            for i in range(1, voters + 1)
        )
        self.bootstrap = tuple(voter.endpoints[0] for voter in self.voters)
        options = OPTIONS._replace(fetch_max_bytes=random.choice((1, 1, 2, 6)))
        self.replicas = [
            Replica(self, i, voters=self.voters if i <= voters else None, options=options)
            for i in range(1, voters + observers + 1)
        ]
        self._by_endpoint = {replica.endpoint: replica for replica in self.replicas}
        self.disk_ms = random.choice((0.2, 1.0, 5.0, 25.0))
        self._set_weather()
        for replica in self.replicas:
            replica.offset = random.random() * 1_000
            if random.random() < 0.5:
                replica.rate = random.uniform(0.8, 1.25)
                self.count("skew")
            self.at(random.random() * 20, replica.start)
        self.at(random.random() * 50, self._client)
        self.at(random.random() * 100, self._mishap)

    # ------------------------------------------------------------ schedule

    def count(self, what: str) -> None:
        if not self.healed:
            self.counts[what] += 1

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (time, self._sequence, call, arguments))

    def after_disk(self, call: Callable[..., None], *arguments: Any) -> None:
        """The disk answers: soon as a rule, sometimes late."""
        delay = self.disk_ms * self.random.random()
        if not self.healed and self.random.random() < 0.02:
            delay += self.random.random() * 100
        self.at(self.now + delay, call, *arguments)

    def after_step(self, replica: Replica) -> None:
        self.steps += 1
        self.invariants.check_role(replica)

    def run(self) -> World:
        """Live through the faults, heal, and see whether all agree."""
        while self.steps < self.steps_wanted:
            self._next()
        self._heal()
        deadline = self.now + HEALING_MS
        while not self._agreed():
            if self.now > deadline:
                raise ViolationError(f"no agreement within {HEALING_MS} ms after healing: {self._describe()}")
            self._next()
        return self

    def _next(self) -> None:
        time, _, call, arguments = heapq.heappop(self._heap)
        self.now = max(self.now, time)
        call(*arguments)

    # ------------------------------------------------------------ network

    def _set_weather(self) -> None:
        random = self.random
        self.loss = random.choice((0.0, 0.0, 0.02, 0.1, 0.25))
        self.duplication = random.choice((0.0, 0.05, 0.2))
        self.long_delay = random.choice((0.0, 0.03, 0.15))

    def _carry(self, source: int, target: int, call: Callable[..., None], *arguments: Any) -> None:
        """One message's way, whatever becomes of it."""
        random = self.random
        if (source, target) in self._blocked:
            return None
        if not self.healed:
            if random.random() < self.loss:
                return self.count("loss")
            if random.random() < self.duplication:
                self.count("duplication")
                self.at(self.now + random.random() * 60, self._deliver, source, target, self.now, call, arguments)
        delay = 0.3 + random.random() * 2
        if not self.healed and random.random() < self.long_delay:
            self.count("delay")
            delay += random.random() * 150
        return self.at(self.now + delay, self._deliver, source, target, self.now, call, arguments)

    def _deliver(
        self, source: int, target: int, sent: float, call: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        if (source, target) in self._blocked:
            return
        if sent < self._last_delivered.get((source, target), 0.0):
            self.count("reordering")
        else:
            self._last_delivered[source, target] = sent
        call(*arguments)

    def send(self, asker: Replica, effect: Send) -> None:
        target = self._by_endpoint[effect.endpoint]
        assert effect.node_id in (None, target.id)
        token = Token(asker, asker.incarnation, effect.correlation_id, effect.request)
        self._carry(asker.id, target.id, self._arrive, target, token)

    def _arrive(self, target: Replica, token: Token) -> None:
        if target.up:
            target.receive(token.request, token)
        elif self.random.random() < 0.6:
            self._carry(target.id, token.asker.id, self._refused, target, token)

    def _refused(self, target: Replica, token: Token) -> None:
        asker = token.asker
        if asker.incarnation == token.incarnation:
            if isinstance(token.request, FetchRequest):
                self.count("unreachable, truly")
                asker.step(PeerUnreachable(target.id, "refused"))
            if asker.incarnation == token.incarnation:
                asker.step(Failed(token.correlation_id, Failure.REFUSED))

    def reply(self, answerer: Replica, token: Token, response: Any) -> None:
        self._carry(answerer.id, token.asker.id, self._return, token, response)

    def _return(self, token: Token, response: Any) -> None:
        if token.asker.incarnation == token.incarnation:
            token.asker.answered(token.correlation_id, response)

    # ------------------------------------------------------------ clients and mishaps

    def _client(self) -> None:
        """Write wherever somebody leads, or thinks so; take a snapshot, clean a log."""
        random = self.random
        for replica in self.replicas:
            if replica.up and isinstance(replica.core.role, Leader) and random.random() < 0.7:
                self._value += 1
                replica.append(self._value, random.randint(1, 3))
        running = [replica for replica in self.replicas if replica.up and replica.paused_since is None]
        if running and not self.healed:
            if random.random() < 0.1:
                random.choice(running).take_snapshot()
            if random.random() < 0.1:
                random.choice(running).clean()
        self.at(self.now + random.random() * 25, self._client)

    def _mishap(self) -> None:
        if self.healed:
            return
        replica = self.random.choice(self.replicas)
        self.random.choices(
            (self._crash, self._pause, self._partition, self._ask_to_stop, self._accuse, self._change_weather),
            (8, 4, 7, 3, 3, 2),
        )[0](replica)
        self.at(self.now + self.random.random() * 160, self._mishap)

    def _crash(self, replica: Replica) -> None:
        if replica.up:
            self.count("crash")
            if replica.crash() > 0:
                self.count("crash losing writes")
            self.at(self.now + self.random.random() * self.random.choice((5, 50, 400)), self._restart, replica)

    def tempt_fate(self, replica: Replica) -> None:
        """Something delicate has just begun: a good moment for a crash."""
        if not self.healed and self.random.random() < 0.4:
            soon = self.now + self.random.random() * (4 + 2 * self.disk_ms)
            self.at(soon, self._crash_in, replica, replica.incarnation)

    def _crash_in(self, replica: Replica, incarnation: int) -> None:
        if replica.incarnation == incarnation:
            self._crash(replica)

    def _restart(self, replica: Replica) -> None:
        if not replica.up:
            replica.start()

    def _pause(self, replica: Replica) -> None:
        if replica.up and replica.paused_since is None:
            self.count("pause")
            replica.paused_since = self.now
            duration = self.random.random() * self.random.choice((20, 600))
            self.at(self.now + duration, self._resume, replica, replica.incarnation)

    def _resume(self, replica: Replica, incarnation: int) -> None:
        if replica.incarnation == incarnation and replica.paused_since is not None:
            stalled = None
            if self.random.random() < 0.7:
                self.count("stall noticed")
                stalled = Stalled((self.now - replica.paused_since) * replica.rate)
            replica.resume(stalled)

    def _partition(self, replica: Replica) -> None:
        """Cut some nodes off from the others, both ways or one way, for a while."""
        ids = [other.id for other in self.replicas]
        if len(ids) < 2:
            return
        cut_off = set(self.random.sample(ids, self.random.randint(1, len(ids) // 2)))
        one_way = self.random.random() < 0.4
        self.count("one-way partition" if one_way else "partition")
        for inside in cut_off:
            for outside in set(ids) - cut_off:
                self._blocked.add((inside, outside))
                if not one_way:
                    self._blocked.add((outside, inside))
        self.at(self.now + self.random.random() * 500, self._blocked.clear)

    def _ask_to_stop(self, replica: Replica) -> None:
        """Stop gracefully and start again, or have the leader resign."""
        role = replica.core.role if replica.up else None
        if replica.paused_since is not None or role is None:
            return
        if isinstance(role, Leader) and self.random.random() < 0.5:
            self.count("resignation")
            replica.step(Resign(role.epoch))
        else:
            self.count("shutdown")
            replica.step(Shutdown())
            self.at(self.now + 30, self._stop, replica, replica.incarnation)

    def _stop(self, replica: Replica, incarnation: int) -> None:
        if replica.incarnation == incarnation:
            replica.crash()
            self.at(self.now + self.random.random() * 100, self._restart, replica)

    def _accuse(self, replica: Replica) -> None:
        """False evidence: nobody may be harmed by it but in speed."""
        if replica.up:
            self.count("unreachable, falsely")
            replica.step(PeerUnreachable(self.random.choice(self.replicas).id, "hearsay"))

    def _change_weather(self, replica: Replica) -> None:
        self._set_weather()

    # ------------------------------------------------------------ the end

    def _heal(self) -> None:
        self.healed = True
        self._blocked.clear()
        self.committed_when_healed = len(self.invariants.ledger)
        for replica in self.replicas:
            if replica.paused_since is not None:
                replica.resume(None)
            if replica.stopping or (replica.up and replica.core.shutting_down):
                replica.crash()
            if not replica.up:
                replica.start()

    def _agreed(self) -> bool:
        """One leader, something new committed since, and everybody has applied all of that."""
        ledger = len(self.invariants.ledger)
        leaders = [replica for replica in self.replicas if isinstance(replica.core.role, Leader)]
        return (
            len(leaders) == 1
            and ledger > self.committed_when_healed + 20
            and all(replica.up and replica.applied > self.committed_when_healed + 10 for replica in self.replicas)
            and len({replica.core.epoch for replica in self.replicas}) == 1
        )

    def _describe(self) -> str:
        lines = [f"ledger {len(self.invariants.ledger)} ({self.committed_when_healed} when healed)"]
        lines.extend(
            f"{replica.id}: {replica.core.role} applied {replica.applied} log {replica.core.log.end}"
            for replica in self.replicas
        )
        return "\n  ".join(lines)
