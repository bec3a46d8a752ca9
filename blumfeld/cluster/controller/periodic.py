"""What the active controller does without being asked, and when.

Owns the due times of its periodic turns, behind one deadline: fencing of silent brokers, NoOp records that move
offsets on, preferred and unclean elections. Pure: time is an argument, `next_deadline()` says when to call
`on_time(now)`, which yields deciders.

Invariants
- A cluster of one node and one broker has no deadline at all: idle costs nothing.
- There is no timer per broker or partition.
- Time in which this process stood still is nobody's silence: a call that comes late pushes every session's deadline
  back by as much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from blumfeld.cluster.controller.brokers import fence_silent_broker
from blumfeld.cluster.controller.decision import Decision, Turn
from blumfeld.cluster.controller.elections import (
    balance_leaders,
    elect_unclean_leaders,
    needs_balancing,
    needs_unclean_election,
)
from blumfeld.protocol.messages.metadata_log import NoOpRecord

if TYPE_CHECKING:
    from blumfeld.cluster.controller.sessions import BrokerSessions
    from blumfeld.cluster.controller.settings import ControllerSettings
    from blumfeld.cluster.image.image import MetadataImage

PeriodicDecider = Callable[[Turn], Decision[Any]]

STALL_S: Final = 0.05
"""A timer may be this late without our having stood still."""
GRACE_S: Final = 0.25
"""After a standstill what was sent meanwhile is still to be read: nobody's session ends before that."""


def write_no_op(turn: Turn) -> Decision[bool]:
    """A record that says nothing, so that followers' offsets and heartbeats have something to reach (KIP-835)."""
    del turn
    return Decision([NoOpRecord()], False)


class Periodic:
    """The periodic turns of one active controller."""

    def __init__(self, settings: ControllerSettings, sessions: BrokerSessions, now: float) -> None:
        self._settings = settings
        self._sessions = sessions
        self._no_op_at = now + settings.no_op_interval_s
        self._balance_at = now + settings.balance_interval_s
        self._unclean_at = now + settings.unclean_interval_s

    def appended(self, now: float) -> None:
        """Records were written: there is no need for a NoOp soon."""
        self._no_op_at = now + self._settings.no_op_interval_s

    def next_deadline(self, image: MetadataImage) -> float | None:
        """When to call `on_time`; None: never, as things are."""
        deadlines = []
        session = self._sessions.next_deadline()
        if session is not None:
            deadlines.append(session)
        if self._writes_no_ops(image):
            deadlines.append(self._no_op_at)
        if len(image.cluster.brokers) > 1:
            if self._settings.balance_interval_s:
                deadlines.append(self._balance_at)
            if self._settings.unclean_interval_s:
                deadlines.append(self._unclean_at)
        return min(deadlines, default=None)

    def on_time(self, image: MetadataImage, now: float, deadline: float) -> Iterator[PeriodicDecider]:
        """The deciders due now; run one before asking for the next. `deadline`: when this call should have come."""
        late = now - deadline
        if late > STALL_S:
            self._sessions.forgive(late + GRACE_S)
        session = self._sessions.next_deadline()
        if session is not None and session <= now:
            yield fence_silent_broker
        if self._writes_no_ops(image) and self._no_op_at <= now:
            self._no_op_at = now + self._settings.no_op_interval_s
            yield write_no_op
        if self._settings.balance_interval_s and self._balance_at <= now:
            self._balance_at = now + self._settings.balance_interval_s
            if needs_balancing(image):
                yield balance_leaders
        if self._settings.unclean_interval_s and self._unclean_at <= now:
            self._unclean_at = now + self._settings.unclean_interval_s
            if needs_unclean_election(image):
                yield elect_unclean_leaders

    def again(self, decider: PeriodicDecider, now: float) -> None:
        """That decider has more to do: it is due at once. (A silent broker's session is overdue by itself.)"""
        if decider is balance_leaders:
            self._balance_at = now
        elif decider is elect_unclean_leaders:
            self._unclean_at = now

    def _writes_no_ops(self, image: MetadataImage) -> bool:
        alone = len(self._settings.voter_ids) <= 1 and len(image.cluster.brokers) <= 1
        return bool(self._settings.no_op_interval_s) and not alone
