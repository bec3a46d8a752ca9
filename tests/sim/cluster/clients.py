"""Producers of a simulated cluster, and what they may count on.

Owns two kinds: one that never tries again (acks=1 and acks=all, each value sent once), and an idempotent one per
partition that tries each batch until it is acknowledged.

Invariants
- What was acknowledged with acks=all is at the offset it was acknowledged with, in the truth.
- No value is in a log twice; those of the idempotent producer are there in order, all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.cluster.partition import ALL_IN_SYNC, Partition
from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.records import Record, build_batch, read_records
from tests.sim.cluster.checks import Key, require

if TYPE_CHECKING:
    from tests.sim.cluster.broker import SimBroker
    from tests.sim.cluster.world import World

GIVE_UP_S = 0.3
DUPLICATE = ErrorCode.DUPLICATE_SEQUENCE_NUMBER


class Clients:
    """All producers of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.acknowledged: list[tuple[Key, int, str]] = []
        self._next = 0
        self._idempotent: dict[Key, Idempotent] = {}

    def produce(self) -> None:
        """One batch of a few values to some partition, sent once."""
        random = self.world.random
        partitions = self.world.partitions()
        found = self.world.find_leader(random.choice(partitions)) if partitions else None
        if found is None:
            return
        broker, partition = found
        values = []
        for _ in range(random.randrange(1, 4)):
            self._next += 1
            values.append(f"v{self._next}")
        acks = random.choice([1, ALL_IN_SYNC])
        self.append(broker, partition, values, acks, lambda error, base: self._acknowledge(partition, base, values))

    def append(
        self,
        broker: SimBroker,
        partition: Partition,
        values: list[str],
        acks: int,
        done: object,
        *,
        producer_id: int = -1,
        sequence: int = -1,
    ) -> ErrorCode:
        """Append as a handler does; `done(error, base offset)` is called when acks=all is fulfilled or refused."""
        assert callable(done)
        now_ms = broker.clock.time_ms()
        records = [Record(i, now_ms, None, value.encode(), ()) for i, value in enumerate(values)]
        epoch = 0 if producer_id >= 0 else -1
        data = build_batch(records, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)
        result = partition.append_as_leader(bytearray(data), acks=acks, now=broker.clock.monotonic(), now_ms=now_ms)
        broker.replicas.settle(partition)
        if result.error is ErrorCode.NONE and acks == ALL_IN_SYNC:
            end, base = result.last_offset + 1, result.base_offset

            def attempt() -> bool:
                state = partition.commit_state(end)
                if state is None:
                    return False
                done(state, base)
                return True

            if not attempt():
                broker.waiting.setdefault(partition.committed, []).append(attempt)
        return result.error

    def _acknowledge(self, partition: Partition, base: int, values: list[str]) -> None:
        if partition.commit_state(base) is not ErrorCode.NOT_LEADER_OR_FOLLOWER:
            self.world.counts["ack"] += 1

    def start_idempotent(self, key: Key) -> None:
        """A producer that will have each of its batches in the log, once and in order."""
        self._idempotent[key] = Idempotent(self, key, len(self._idempotent) + 1)

    def finish(self) -> None:
        """Let the idempotent producers get rid of what they have."""
        for producer in self._idempotent.values():
            producer.finishing = True

    @property
    def is_done(self) -> bool:
        excused = self.world.checks.excused
        return all(p.sent is None or p.is_homeless or p.key in excused for p in self._idempotent.values())

    def check(self) -> None:
        """At the end: the logs hold what was promised."""
        for key, truth in self.world.checks.truths.items():
            if self.world.controller.image.topics.partition(*key) is None or key in self.world.checks.excused:
                continue
            seen: list[str] = []
            for data in truth.batches:
                for batch in iterate_batches(data):
                    seen += [(record.value or b"").decode() for record in read_records(batch)]
            require(len(seen) == len(set(seen)), f"values are doubled: {sorted(v for v in seen if seen.count(v) > 1)}")
            producer = self._idempotent.get(key)
            if producer is not None:
                mine = [value for value in seen if value.startswith(f"p{producer.id}.")]
                require(
                    mine == producer.acknowledged,
                    f"the idempotent producer's {len(producer.acknowledged)} acknowledged values are {len(mine)}"
                    " in the log, or in another order",
                )


class Idempotent:
    """One producer of one partition: one batch at a time, until it is acknowledged with acks=all."""

    def __init__(self, clients: Clients, key: Key, producer_id: int) -> None:
        self.clients = clients
        self.key = key
        self.id = producer_id
        self.sequence = 0
        self.sent: list[str] | None = None
        self.acknowledged: list[str] = []
        self.finishing = False
        self._attempt = 0
        self._step()

    @property
    def is_homeless(self) -> bool:
        """Its topic is gone."""
        return self.clients.world.controller.committed_image.topics.partition(*self.key) is None

    def _step(self) -> None:
        world = self.clients.world
        if self.is_homeless:
            return
        world.after(world.random.uniform(0.01, 0.06), self._step)
        if self._attempt and world.now - self._since < GIVE_UP_S:
            return
        if self.sent is None:
            if self.finishing:
                return
            count = world.random.randrange(1, 4)
            self.sent = [f"p{self.id}.{self.sequence + i}" for i in range(count)]
        self._send()

    def _send(self) -> None:
        world = self.clients.world
        found = world.find_leader(self.key)
        if found is None or self.sent is None:
            return
        self._attempt += 1
        self._since = world.now
        attempt, values, sequence = self._attempt, self.sent, self.sequence

        def done(error: ErrorCode, base: int) -> None:
            if attempt == self._attempt and error is ErrorCode.NONE:
                self.acknowledged += values
                self.sequence = sequence + len(values)
                self.sent = None
                world.counts["idempotent ack"] += 1
            if attempt == self._attempt:
                self._attempt_over()

        error = self.clients.append(*found, values, ALL_IN_SYNC, done, producer_id=1000 + self.id, sequence=sequence)
        if error is not ErrorCode.NONE:
            known = world.controller.image.topics.partition(*self.key)
            is_deposed = known is None or known.leader_epoch != found[1].leader_epoch
            require(
                error is not ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER or is_deposed or self.key in world.checks.excused,
                f"producer {self.id} lost sequences before {sequence}",
            )
            self._attempt_over()

    def _attempt_over(self) -> None:
        self._since = -GIVE_UP_S
