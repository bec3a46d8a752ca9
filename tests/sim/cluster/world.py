"""One simulated universe: brokers, a controller, producers, a network and a nemesis, all by one seed.

Owns time (a heap of events), the network between nodes, and what goes wrong. `World(seed).run()` takes the steps,
checks the invariants after each, heals everything and waits until the cluster is whole; a failure names the seed.
"""

from __future__ import annotations

import heapq
import logging
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from blumfeld.protocol.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.delete_topics import DeleteTopicsRequest
from blumfeld.protocol.messages.elect_leaders import ElectLeadersRequest
from tests.sim.cluster.broker import SimBroker
from tests.sim.cluster.checks import Checks, Key, Violation, require
from tests.sim.cluster.clients import Clients
from tests.sim.cluster.controller import CONTROLLER, Controller

if TYPE_CHECKING:
    from blumfeld.cluster.partition import Partition

STEPS = 1_000
HEALING_STEPS = 20_000
FAULTS = (
    "process killed",
    "power lost",
    "paused",
    "link cut",
    "one way cut",
    "message lost",
    "message doubled",
    "message late",
    "message overtaken",
    "clock skewed",
    "controlled shutdown",
    "controller failed over",
    "refusal told",
    "reassignment",
    "preferred election",
    "records deleted",
    "topic deleted",
)
HAPPENINGS = ("election", "leaderless", "isr change", "out of range", "committed", "ack", "idempotent ack", "excused")


FAULT_WEIGHTS = (6, 4, 3, 5, 2, 2, 1, 2, 2, 0.3, 3)
"""How often each of the nemesis's deeds is done; a seed leaves some out and exaggerates others."""


class SimulationFailure(AssertionError):
    """An invariant was violated, or the cluster did not become whole."""


class World:
    """One seed's universe. `counts`: how often each thing happened."""

    def __init__(self, seed: int, steps: int = STEPS) -> None:
        self.seed = seed
        self.steps = steps
        self.step = 0
        self.now = 0.0
        self.random = Random(seed)
        self.counts: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None], SimBroker | None, int]] = []
        self._sequence = 0
        self.cuts: dict[tuple[int, int], float] = {}
        self._last_arrival: dict[tuple[int, int], float] = {}
        self.is_healing = False
        self._loss = self.random.choice([0.0, 0.005, 0.02])
        self._doubling = self.random.choice([0.0, 0.01])
        self._lateness = self.random.choice([0.0, 0.01, 0.03])
        self.metadata_delay_s = self.random.choice([0.0, 0.0, 0.05, 0.3])
        """The longest that brokers take to hear of what is committed, beside the network's delays."""
        self._weights = [weight * self.random.choice([0, 1, 1, 4]) for weight in FAULT_WEIGHTS]
        self.brokers: dict[int, SimBroker] = {}
        self.checks = Checks(self)
        self.controller = Controller(self)
        self.clients = Clients(self)
        for node_id in range(1, self.random.choice([3, 3, 3, 4]) + 1):
            self.brokers[node_id] = SimBroker(self, node_id)

    def __repr__(self) -> str:
        return f"World(seed={self.seed}, step={self.step}, now={self.now:.3f})"

    # --- time and network --------------------------------------------------------------------------------------

    def after(self, seconds: float, act: Callable[[], None], *, at: SimBroker | None = None) -> None:
        """Call `act` later; at a broker, only while the same incarnation lives there, and not while it is paused."""
        self._sequence += 1
        incarnation = 0 if at is None else at.incarnation
        heapq.heappush(self._events, (self.now + seconds, self._sequence, act, at, incarnation))

    def send(
        self,
        source: int,
        target: int,
        act: Callable[[], None],
        *,
        to: SimBroker | None = None,
        patience: bool = False,
    ) -> None:
        """Carry something from node to node, if the network is kind. `patience`: it is sent again until it arrives."""
        random = self.random
        if self.cuts.get((source, target), 0.0) > self.now or (not self.is_healing and random.random() < self._loss):
            self.counts["message lost"] += 1
            if patience:
                retry = random.uniform(0.02, 0.1)
                self.after(retry, lambda: self.send(source, target, act, to=to, patience=True), at=to)
            return
        delay = random.uniform(0.0005, 0.01)
        if not self.is_healing and random.random() < self._lateness:
            self.counts["message late"] += 1
            delay += random.uniform(0.05, 0.5)
        arrival = self.now + delay
        if not self.is_healing and arrival < self._last_arrival.get((source, target), 0.0):
            self.counts["message overtaken"] += 1
        self._last_arrival[source, target] = arrival
        self.after(delay, act, at=to)
        if not self.is_healing and random.random() < self._doubling:
            self.counts["message doubled"] += 1
            self.after(delay + random.uniform(0.0, 0.1), act, at=to)

    def metadata_committed(self) -> None:
        """Brokers hear of new metadata in their own time."""
        for broker in self.brokers.values():
            if broker.is_up and broker.applied < self.controller.committed:
                broker.learn_soon()

    # --- the run -----------------------------------------------------------------------------------------------

    def run(self) -> World:
        """All steps, healing, and the end. Raises SimulationFailure."""
        logging.disable(logging.CRITICAL)
        try:
            self._begin()
            while self.step < self.steps:
                self._take_step()
            self._heal()
        except Exception as error:
            raise SimulationFailure(
                f"seed {self.seed}, step {self.step}, {self.now:.3f} s: {type(error).__name__}: {error}\n"
                f"replay: python -m tests.sim.cluster --seed {self.seed}"
            ) from error
        finally:
            logging.disable(logging.NOTSET)
        return self

    def _take_step(self) -> None:
        instant, _, act, broker, incarnation = heapq.heappop(self._events)
        self.now = max(self.now, instant)
        if broker is not None:
            if not broker.is_up or broker.incarnation != incarnation:
                return
            if broker.paused_until > self.now:
                self._sequence += 1
                heapq.heappush(self._events, (broker.paused_until, self._sequence, act, broker, incarnation))
                return
        self.step += 1
        act()
        self.checks.after_step()

    def _begin(self) -> None:
        """Everybody comes up, topics are made, producers and the nemesis begin."""
        for broker in self.brokers.values():
            broker.start()
        self._run_until(lambda: all(not broker.is_fenced for broker in self.brokers.values()))
        self._create_topics()
        self._run_until(lambda: bool(self.partitions()) and self.checks.converged() is None)
        for key in self.partitions():
            if self.random.random() < 0.5:
                self.clients.start_idempotent(key)
        self.step = 0
        self._repeat(0.03, self.clients.produce)
        self._repeat(self.random.choice([0.15, 0.3]), self._nemesis)

    def _run_until(self, reached: Callable[[], bool]) -> None:
        limit = self.step + HEALING_STEPS
        while not reached():
            require(self.step < limit, f"the cluster does not come to rest: {self.checks.converged()}")
            for _ in range(20):
                self._take_step()

    def _repeat(self, seconds: float, act: Callable[[], None]) -> None:
        def again() -> None:
            if not self.is_healing:
                act()
                self._repeat(seconds, act)

        self.after(seconds * self.random.uniform(0.3, 1.7), again)

    def _create_topics(self) -> None:
        for name in ("a", "b"):
            self._create_topic(name)

    def _create_topic(self, name: str) -> None:
        random = self.random
        configs = {
            "min.insync.replicas": random.choice(["1", "1", "2"]),
            "internal.segment.bytes": "2000",
            "unclean.leader.election.enable": random.choice(["false", "false", "false", "true"]),
        }
        topic = CreateTopicsRequest.Topic(
            name=name,
            num_partitions=random.choice([1, 2]),
            replication_factor=random.choice([2, 3, 3]),
            assignments=[],
            configs=[CreateTopicsRequest.Topic.Config(name=n, value=v) for n, v in configs.items()],
        )
        self.controller.handle(CreateTopicsRequest(topics=[topic], timeout_ms=1000), lambda response: None)

    def _heal(self) -> None:
        self.is_healing = True
        self.cuts.clear()
        self.clients.finish()
        for broker in self.brokers.values():
            broker.paused_until = 0.0
            if not broker.is_up:
                broker.start()
        self._run_until(lambda: self.checks.converged() is None and self.clients.is_done)
        self._run_until(lambda: self.checks.converged() is None)
        if self.checks.excused:
            self.counts["excused"] += 1
        self.checks.replicas_are_equal()
        self.clients.check()

    # --- looking around ----------------------------------------------------------------------------------------

    def partitions(self) -> list[Key]:
        topics = self.controller.committed_image.topics.by_id.values()
        return [(topic.id, index) for topic in topics for index in topic.partitions]

    def find_leader(self, key: Key) -> tuple[SimBroker, Partition] | None:
        """Where a client would send: as a rule the leader by the latest metadata, sometimes one that was it."""
        registration = self.controller.committed_image.topics.partition(*key)
        if registration is None:
            return None
        candidates = [registration.leader] if self.random.random() < 0.8 else list(registration.replicas)
        for node_id in candidates:
            broker = self.brokers.get(node_id)
            if broker is not None and broker.is_up and broker.paused_until <= self.now:
                partition = broker.replicas.find(*key)
                if partition is not None and partition.is_leader:
                    return broker, partition
        return None

    def left(self, broker: SimBroker) -> None:
        """A controlled shutdown is through."""
        if broker.is_up:
            broker.stop()
            self._start_again(broker)

    # --- the nemesis -------------------------------------------------------------------------------------------

    def _nemesis(self) -> None:
        if not any(self._weights):
            return
        fault = self.random.choices(
            [
                self._kill,
                self._lose_power,
                self._pause,
                self._cut,
                self._leave,
                self._fail_over,
                self._reassign,
                self._elect_preferred,
                self._delete_records,
                self._delete_topic,
                self._deafen,
            ],
            self._weights,
        )[0]
        fault()

    def _some_broker(self) -> SimBroker | None:
        up = [broker for broker in self.brokers.values() if broker.is_up and not broker.leaving]
        return self.random.choice(up) if len(up) > 1 else None

    def _start_again(self, broker: SimBroker) -> None:
        self.after(self.random.choice([0.02, 0.2, 1.0]) * self.random.random(), lambda: self._started(broker))

    def _started(self, broker: SimBroker) -> None:
        if not broker.is_up:
            broker.start()

    def _kill(self) -> None:
        broker = self._some_broker()
        if broker is not None and self._is_sound():
            self.counts["process killed"] += 1
            broker.crash(power_lost=False)
            self._after_crash(broker)

    def _lose_power(self) -> None:
        """Only where every other replica in sync is well, and a minority loses its cache: more is not promised."""
        broker = self._some_broker()
        if broker is None or not self._is_sound():
            return
        for topic in self.controller.image.topics.by_id.values():
            for registration in topic.partitions.values():
                if broker.node_id in registration.isr:
                    others = [self.brokers[member] for member in registration.isr if member != broker.node_id]
                    if len(others) < 2 or any(not o.is_up or o.paused_until > self.now or o.leaving for o in others):
                        return
        if self.cuts and max(self.cuts.values()) > self.now:
            return
        self.counts["power lost"] += 1
        broker.crash(power_lost=True)
        self.checks.cache_lost(broker)
        self._after_crash(broker)

    def _is_sound(self) -> bool:
        """Nobody who lost its cache is still counted in sync."""
        return not any(self.checks.lost.values())

    def _after_crash(self, broker: SimBroker) -> None:
        incarnation = broker.incarnation
        if self.random.random() < 0.5:

            def refuse() -> None:
                if not broker.is_up and broker.incarnation == incarnation:
                    self.counts["refusal told"] += 1
                    self.controller.broker_refuses(broker.node_id)

            self.after(self.random.uniform(0.0, 0.05), refuse)
        self._start_again(broker)

    def _pause(self) -> None:
        broker = self._some_broker()
        if broker is not None and self._is_sound():
            self.counts["paused"] += 1
            broker.paused_until = self.now + self.random.choice([0.1, 0.5, 1.5])

    def _cut(self) -> None:
        if not self._is_sound():
            return
        nodes = [CONTROLLER, *self.brokers]
        first, second = self.random.sample(nodes, 2)
        until = self.now + self.random.choice([0.1, 0.5, 1.5])
        self.cuts[first, second] = until
        if self.random.random() < 0.6:
            self.counts["link cut"] += 1
            self.cuts[second, first] = until
        else:
            self.counts["one way cut"] += 1

    def _deafen(self) -> None:
        """A broker is heard by the controller, but hears nothing of it."""
        broker = self._some_broker()
        if broker is not None and self._is_sound():
            self.counts["one way cut"] += 1
            self.cuts[CONTROLLER, broker.node_id] = self.now + self.random.choice([0.5, 1.5])

    def _leave(self) -> None:
        broker = self._some_broker()
        if broker is not None and not broker.is_fenced and self._is_sound():
            self.counts["controlled shutdown"] += 1
            broker.leaving = True

    def _fail_over(self) -> None:
        if self.controller.is_up:
            self.counts["controller failed over"] += 1
            self.controller.fail_over()

    def _elect_preferred(self) -> None:
        if self.controller.is_up:
            self.counts["preferred election"] += 1
            request = ElectLeadersRequest(election_type=0, topic_partitions=None, timeout_ms=1000)
            self.controller.handle(request, lambda response: None)

    def _delete_records(self) -> None:
        partitions = self.partitions()
        found = self.find_leader(self.random.choice(partitions)) if partitions else None
        if found is not None:
            broker, partition = found
            self.counts["records deleted"] += 1
            partition.delete_records(self.random.randrange(partition.log_start_offset, partition.high_watermark + 1))
            broker.replicas.settle(partition)

    def _delete_topic(self) -> None:
        """It is made again at once, under another id."""
        topics = list(self.controller.image.topics.by_id.values())
        if topics and self.controller.is_up:
            topic = self.random.choice(topics)
            self.counts["topic deleted"] += 1
            asked = DeleteTopicsRequest.Topic(name=None, topic_id=topic.id)
            self.controller.handle(DeleteTopicsRequest(topics=[asked], timeout_ms=1000), lambda response: None)
            self._create_topic(topic.name)

    def _reassign(self) -> None:
        topics = list(self.controller.image.topics.by_id.values())
        if not topics or not self.controller.is_up:
            return
        topic = self.random.choice(topics)
        index = self.random.choice(list(topic.partitions))
        replicas = self.random.sample(list(self.brokers), len(topic.partitions[index].replicas))
        self.counts["reassignment"] += 1
        asked = AlterPartitionReassignmentsRequest.Topic.Partition(partition_index=index, replicas=replicas)
        request = AlterPartitionReassignmentsRequest(
            timeout_ms=1000,
            topics=[AlterPartitionReassignmentsRequest.Topic(name=topic.name, partitions=[asked])],
        )
        self.controller.handle(request, lambda response: None)


__all__ = ["FAULTS", "HAPPENINGS", "SimulationFailure", "Violation", "World"]
