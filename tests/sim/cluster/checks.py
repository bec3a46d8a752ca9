"""What must hold after every step, whatever happened.

Owns the truth about each partition: everything that was committed, as bytes, from the first leader that said so.

Invariants
- One leader per leader epoch of a partition.
- What one replica calls committed (below its high watermark) is what every other calls so: same bytes at the same
  offset.
- A broker that leads by the controller's word has everything that was ever committed.
- Every member of the ISR by the controller's word has everything that was ever committed, since any of them may lead
  next: this is ISR safety and high-watermark safety in one. (Members that lost their cache in a crash are excused until
  the controller has dropped them.)
- At the end, when all is healed: every partition has a leader and all its replicas in sync; all logs are equal.

Excused altogether is a partition of whose ISR a majority lost its cache, or that was led by a replica out of sync
(unclean.leader.election.enable): nobody promised anything then.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from blumfeld.cluster.image.topics import RECOVERING
from blumfeld.protocol.batch import iterate_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.cluster.partition import Partition
    from blumfeld.protocol.primitives import Buffer
    from blumfeld.storage.log import Log
    from tests.sim.cluster.broker import SimBroker
    from tests.sim.cluster.world import World

Key = tuple[bytes, int]


class Violation(AssertionError):
    """Something that must hold does not."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(what)


def contents(log: Log, start: int, end: int) -> Iterator[Buffer]:
    """The bytes of the log's batches from `start` up to `end`."""
    while start < end:
        result = log.read(start, 1 << 20, upper=end)
        if result.cold is not None:
            result = result.cold()
        require(len(result.records) > 0, f"{log} has nothing at {start}, but {end} is committed")
        yield result.records
        start = result.next_offset


class Truth:
    """What is committed in one partition: batches by base offset."""

    def __init__(self) -> None:
        self.bases: list[int] = []
        self.batches: list[bytes] = []
        self.end = 0

    def add(self, base: int, next_offset: int, data: bytes) -> None:
        self.bases.append(base)
        self.batches.append(data)
        self.end = next_offset

    def at(self, base: int) -> bytes | None:
        """The batch that begins at `base`."""
        index = bisect_right(self.bases, base) - 1
        return self.batches[index] if index >= 0 and self.bases[index] == base else None


class Checks:
    """The invariants of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.truths: dict[Key, Truth] = {}
        self.leaders: dict[tuple[Key, int], int] = {}
        self.lost: dict[int, set[Key]] = {}
        """Partitions of which a broker lost its cache since it was in sync, by broker."""
        self.excused: set[Key] = set()
        self._verified: dict[Partition, int] = {}
        self._leader_epochs: dict[Key, int] = {}

    def truth(self, key: Key) -> Truth:
        found = self.truths.get(key)
        if found is None:
            found = self.truths[key] = Truth()
        return found

    # --- what happens ------------------------------------------------------------------------------------------

    def cache_lost(self, broker: SimBroker) -> None:
        """A broker lost the power: it may have lost whatever was not synced."""
        lost = self.lost.setdefault(broker.node_id, set())
        for topic in self.world.controller.image.topics.by_id.values():
            for index, partition in topic.partitions.items():
                if broker.node_id in partition.isr:
                    lost.add((topic.id, index))
        self._excuse(self.world.controller.image)

    def metadata_appended(self, image: MetadataImage) -> None:
        """A broker that the controller dropped from an ISR is expected to have nothing in particular any more."""
        for broker_id, keys in self.lost.items():
            for key in list(keys):
                partition = image.topics.partition(*key)
                if partition is None or broker_id not in partition.isr:
                    keys.discard(key)
        self._excuse(image)
        for topic in image.topics.by_id.values():
            for index, partition in topic.partitions.items():
                key = (topic.id, index)
                if partition.leader_recovery_state == RECOVERING:
                    self.excused.add(key)
                if self._leader_epochs.get(key, 0) != partition.leader_epoch:
                    self._leader_epochs[key] = partition.leader_epoch
                    self.world.counts["election" if partition.leader >= 0 else "leaderless"] += 1

    def _excuse(self, image: MetadataImage) -> None:
        for key in {key for keys in self.lost.values() for key in keys}:
            partition = image.topics.partition(*key)
            if partition is not None:
                lost = sum(key in self.lost.get(member, ()) for member in partition.isr)
                if 2 * lost >= len(partition.isr):
                    self.excused.add(key)

    # --- after every step --------------------------------------------------------------------------------------

    def after_step(self) -> None:
        for broker in self.world.brokers.values():
            if broker.is_up:
                for partition in broker.replicas.all():
                    self._check_replica(broker, partition)
        self._check_in_sync()

    def _check_replica(self, broker: SimBroker, partition: Partition) -> None:
        key = (partition.topic_id, partition.index)
        if partition.is_leader:
            known = self.leaders.setdefault((key, partition.leader_epoch), broker.node_id)
            require(
                known == broker.node_id,
                f"brokers {known} and {broker.node_id} both lead {partition!r} in epoch {partition.leader_epoch}",
            )
        log = partition.log
        require(
            log.log_start_offset <= log.high_watermark <= log.log_end_offset,
            f"{log.log_start_offset} <= {log.high_watermark} <= {log.log_end_offset} in {partition!r}",
        )
        if key not in self.excused and (partition.is_leader or partition.confirmed_epoch == partition.leader_epoch):
            verified = self._verified.get(partition, 0)
            if log.high_watermark != verified:
                self._verify(broker, partition, key, max(min(verified, log.high_watermark), log.log_start_offset))

    def _verify(self, broker: SimBroker, partition: Partition, key: Key, start: int) -> None:
        """Compare what is newly below the high watermark with the truth, or make it the truth."""
        truth, log = self.truth(key), partition.log
        end = log.high_watermark
        for records in contents(log, start, end):
            for batch in iterate_batches(records):
                data = bytes(batch.view)
                if batch.base_offset >= truth.end:
                    require(partition.is_leader, f"{partition!r} of broker {broker.node_id} follows beyond the truth")
                    truth.add(batch.base_offset, batch.next_offset, data)
                    self.world.counts["committed"] += batch.next_offset - batch.base_offset
                elif batch.base_offset >= start:
                    require(
                        truth.at(batch.base_offset) == data,
                        f"broker {broker.node_id} has another batch at {batch.base_offset} of {partition!r}",
                    )
        self._verified[partition] = end

    def _check_in_sync(self) -> None:
        """Every member of an ISR could lead next."""
        world = self.world
        for topic in world.controller.image.topics.by_id.values():
            for index, registration in topic.partitions.items():
                key = (topic.id, index)
                truth = self.truths.get(key)
                if truth is None or not truth.end or key in self.excused:
                    continue
                for member in registration.isr:
                    broker = world.brokers[member]
                    if not broker.is_up or key in self.lost.get(member, ()):
                        continue
                    partition = broker.replicas.find(topic.id, index)
                    if partition is None:
                        continue  # it has not applied its metadata yet
                    require(
                        partition.log_end_offset >= truth.end,
                        f"broker {member} is in the ISR of {partition!r}, but lacks what is committed: {truth.end}",
                    )

    # --- at the end --------------------------------------------------------------------------------------------

    def converged(self) -> str | None:
        """None when every partition is whole again, else what is missing."""
        world = self.world
        for topic in world.controller.committed_image.topics.by_id.values():
            for index, registration in topic.partitions.items():
                name = f"{topic.name}-{index}"
                if registration.leader < 0 or set(registration.isr) != set(registration.replicas):
                    return f"{name}: leader {registration.leader}, isr {registration.isr}"
                if registration.is_reassigning:
                    return f"{name} is still being reassigned"
                replicas = [world.brokers[member].replicas.find(topic.id, index) for member in registration.replicas]
                if any(replica is None for replica in replicas):
                    return f"{name} is missing somewhere"
                ends = {(r.log_end_offset, r.high_watermark) for r in replicas if r is not None}
                if len(ends) > 1 or any(end != high for end, high in ends):
                    return f"{name}: (end, high watermark) {ends}"
        return None

    def replicas_are_equal(self) -> None:
        """Byte by byte, from the highest start on."""
        world = self.world
        for topic in world.controller.committed_image.topics.by_id.values():
            for index, registration in topic.partitions.items():
                replicas = []
                for member in registration.replicas:
                    replica = world.brokers[member].replicas.find(topic.id, index)
                    assert replica is not None
                    replicas.append(replica)
                start = max(replica.log_start_offset for replica in replicas)
                logs = {b"".join(contents(replica.log, start, replica.log_end_offset)) for replica in replicas}
                require(len(logs) == 1, f"the replicas of {topic.name}-{index} differ after healing")
