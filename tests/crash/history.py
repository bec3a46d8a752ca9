"""What happened in a run, as the clients and the nemesis saw it: sent, acknowledged, failed, seen, broken."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Ack(NamedTuple):
    """One record that was acknowledged."""

    place: Place
    value: bytes
    time: float


class Fault(NamedTuple):
    """Something that the nemesis did; `until` is when it was undone."""

    kind: str
    what: str
    since: float
    until: float


@dataclass
class Producing:
    """What one producer did. Its values are `name:partition:number`, with numbers rising by one in each partition."""

    name: str
    topic: str
    exact: bool
    """Idempotent with acks=all; otherwise acks=1."""
    sent: Counter[int] = field(default_factory=Counter)
    """Partition → how many."""
    acks: list[Ack] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass
class Consuming:
    """What one group saw."""

    name: str
    seen: dict[Place, bytes] = field(default_factory=dict)
    again: int = 0
    """Records that were seen more than once."""
    contradictions: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, topic: str, partition: int, offset: int, value: bytes) -> None:
        """A member got this record."""
        place = (topic, partition, offset)
        with self.lock:
            before = self.seen.setdefault(place, value)
            if before is value:
                return
            self.again += 1
            if before != value:
                self.contradictions.append(f"{self.name} saw {before!r} and then {value!r} at {place}")


class History:
    """One run."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.ended = self.started
        self.producers: list[Producing] = []
        self.groups: list[Consuming] = []
        self.faults: list[Fault] = []
        self.broken: list[str] = []
        """What is a violation by itself: a broker that ended of its own accord, say."""

    def seconds_with_acks(self) -> float:
        """The share of the run's seconds in which something was acknowledged with acks=all."""
        seconds = {int(a.time - self.started) for p in self.producers if p.exact for a in p.acks if a.time < self.ended}
        return len(seconds) / max(int(self.ended - self.started), 1)

    def acknowledged(self) -> int:
        return sum(len(p.acks) for p in self.producers)

    def kinds(self) -> Counter[str]:
        return Counter(fault.kind for fault in self.faults)
