"""Where new replicas go: striped over racks, then over the brokers of a rack.

Owns the placing of replicas for new partitions. Must never know of topics, or of what brokers hold already.

The stripe: racks in a random order, the next partition starting one rack further; within a rack its brokers in a
random order, each partition starting one broker further, unfenced brokers before fenced ones. So leaders and replicas
spread evenly, and consecutive replicas of a partition lie in different racks as long as there are enough. After as
many partitions as there are unfenced brokers everything is shuffled again, so that followers of one leader spread
too.

Invariants: a broker holds at most one replica of a partition; the first replica, the preferred leader, is never fenced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from blumfeld.cluster.controller.decision import ApiError
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.image.cluster import ClusterImage
    from blumfeld.env.entropy import Entropy


class UsableBroker(NamedTuple):
    """A broker that may be given replicas."""

    id: int
    rack: str | None
    fenced: bool


def usable_brokers(cluster: ClusterImage) -> list[UsableBroker]:
    """Every registered broker but those that are on their way out."""
    return [
        UsableBroker(broker.id, broker.rack, broker.fenced)
        for broker in cluster.brokers.values()
        if broker.fenced or not broker.in_controlled_shutdown
    ]


class _Ring:
    """Brokers of one rack and state, dealt out in turn; each partition starts one further than the one before."""

    __slots__ = ("_dealt", "_offset", "_partition", "ids")

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self._partition = -1
        self._offset = -1
        self._dealt = 0

    def next(self, partition: int) -> int | None:
        """The next broker that this partition has not had from this ring."""
        if self._partition != partition:
            self._partition = partition
            self._offset += 1
            self._dealt = 0
        if self._dealt == len(self.ids):
            return None
        broker = self.ids[(self._offset + self._dealt) % len(self.ids)]
        self._dealt += 1
        return broker


class _Rack:
    __slots__ = ("fenced", "unfenced")

    def __init__(self) -> None:
        self.unfenced = _Ring([])
        self.fenced = _Ring([])

    def next(self, partition: int) -> int | None:
        unfenced = self.unfenced.next(partition)
        return self.fenced.next(partition) if unfenced is None else unfenced


class Placement:
    """Deals out replicas for one run of new partitions."""

    def __init__(self, brokers: Iterable[UsableBroker], entropy: Entropy) -> None:
        self._entropy = entropy
        by_rack: dict[str | None, _Rack] = {}
        for broker in sorted(brokers, key=lambda b: (b.rack is not None, b.rack or "", b.id)):
            rack = by_rack.setdefault(broker.rack, _Rack())
            (rack.fenced if broker.fenced else rack.unfenced).ids.append(broker.id)
        self._racks = list(by_rack.values())
        self._unfenced = sum(len(rack.unfenced.ids) for rack in self._racks)
        self._total = self._unfenced + sum(len(rack.fenced.ids) for rack in self._racks)
        self._partition = 0
        self._since_shuffle = 0
        self._shuffle()

    def check(self, replication_factor: int) -> ApiError | None:
        """Why that many replicas cannot be placed; None if they can."""
        code = ErrorCode.INVALID_REPLICATION_FACTOR
        if replication_factor <= 0:
            return ApiError(
                code, f"Invalid replication factor {replication_factor}: the replication factor must be positive."
            )
        if self._unfenced == 0:
            return ApiError(code, "All brokers are currently fenced, or have all their log directories cordoned.")
        if replication_factor > self._total:
            return ApiError(
                code,
                f"The target replication factor of {replication_factor} cannot be reached because only"
                f" {self._total} broker(s) are registered or some brokers have all their log directories cordoned.",
            )
        return None

    def place(self, replication_factor: int) -> list[int]:
        """Replicas of one more partition, its preferred leader first. `check` must have passed."""
        if self._since_shuffle == self._unfenced:
            self._shuffle()
        racks, partition = self._racks, self._partition
        start = partition % len(racks)
        replicas: list[int] = []
        leader_rack = start
        while not replicas:
            leader = racks[leader_rack].unfenced.next(partition)
            if leader is not None:
                replicas.append(leader)
            else:
                leader_rack = (leader_rack + 1) % len(racks)
        rack, skip = start, leader_rack  # the leader's rack is passed over once: it has had its turn
        while len(replicas) < replication_factor:
            if rack == skip:
                skip = -1
                rack = (rack + 1) % len(racks)
            broker = racks[rack].next(partition)
            rack = (rack + 1) % len(racks)
            if broker is not None:
                replicas.append(broker)
        self._partition += 1
        self._since_shuffle += 1
        return replicas

    def _shuffle(self) -> None:
        self._since_shuffle = 0
        self._entropy.shuffle(self._racks)
        for rack in self._racks:
            for ring in (rack.unfenced, rack.fenced):
                self._entropy.shuffle(ring.ids)
