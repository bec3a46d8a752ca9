"""Requests under way to other nodes: one at a time to each, and a pause after a failure.

Owns correlation ids, request deadlines and back-off. Knows nothing of what is asked. A node is its id, or, for a
bootstrap server whose id is unknown, its endpoint.

Invariant: an answer is expected once, by its correlation id; `reset` makes every answer under way unexpected.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from blumfeld.cluster.raft.messages import Request
from blumfeld.cluster.raft.voters import Endpoint

PeerKey: TypeAlias = int | Endpoint

MAX_BACKOFF_FACTOR = 5


class InFlight(NamedTuple):
    """A request whose answer is awaited."""

    peer: PeerKey
    request: Request
    deadline: float


class Peers:
    """The bookkeeping of one replica's outgoing requests."""

    __slots__ = ("_busy", "_correlation_id", "_failures", "_in_flight", "_pauses", "_retry_backoff_ms")

    def __init__(self, retry_backoff_ms: int) -> None:
        self._retry_backoff_ms = retry_backoff_ms
        self._correlation_id = 0
        self._in_flight: dict[int, InFlight] = {}
        self._busy: dict[PeerKey, int] = {}
        self._pauses: dict[PeerKey, float] = {}
        self._failures: dict[PeerKey, int] = {}

    @property
    def any_in_flight(self) -> bool:
        return bool(self._in_flight)

    def is_ready(self, peer: PeerKey, now: float) -> bool:
        """Whether a request may be sent: none is under way, and it is not pausing."""
        return peer not in self._busy and self._pauses.get(peer, 0) <= now

    def is_pausing(self, peer: PeerKey, now: float) -> bool:
        return self._pauses.get(peer, 0) > now

    def sent(self, peer: PeerKey, request: Request, deadline: float) -> int:
        """Note a request that leaves now; returns its correlation id."""
        self._correlation_id += 1
        self._in_flight[self._correlation_id] = InFlight(peer, request, deadline)
        self._busy[peer] = self._correlation_id
        return self._correlation_id

    def answered(self, correlation_id: int) -> InFlight | None:
        """What the answer belongs to; None where it is not awaited any more."""
        in_flight = self._in_flight.pop(correlation_id, None)
        if in_flight is not None:
            del self._busy[in_flight.peer]
        return in_flight

    def succeeded(self, peer: PeerKey) -> None:
        self._failures.pop(peer, None)

    def failed(self, peer: PeerKey, now: float) -> None:
        """Pause: 20, 40, 60, … 100 ms with the default back-off."""
        failures = self._failures[peer] = min(self._failures.get(peer, 0) + 1, MAX_BACKOFF_FACTOR)
        self._pauses[peer] = now + self._retry_backoff_ms * failures

    def expire(self, now: float) -> None:
        """Give up on requests past their deadline."""
        for correlation_id, in_flight in list(self._in_flight.items()):
            if in_flight.deadline <= now:
                self.answered(correlation_id)
                self.failed(in_flight.peer, now)

    def reset(self) -> None:
        """The role changed: forget what is under way, and all pauses."""
        self._in_flight.clear()
        self._busy.clear()
        self._pauses.clear()
        self._failures.clear()

    def next_deadline(self, now: float) -> float:
        """When a request expires or a pause ends."""
        deadline = float("inf")
        for in_flight in self._in_flight.values():
            deadline = min(deadline, in_flight.deadline)
        for pause in self._pauses.values():
            if pause > now:
                deadline = min(deadline, pause)
        return deadline

    def shift(self, duration: float) -> None:
        """Our loop stood still for so long: nobody had a chance to answer."""
        for correlation_id, in_flight in self._in_flight.items():
            self._in_flight[correlation_id] = in_flight._replace(deadline=in_flight.deadline + duration)
