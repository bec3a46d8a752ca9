"""Which brokers are in touch with the active controller: soft state, never written down.

Owns one session per broker that has sent heartbeats to this controller. Must never know the network: others report
contact (`touch`), evidence that a process is gone (`shorten`) and time in which this process itself stood still
(`forgive`).

Invariants
- A session belongs to one broker epoch; another incarnation of the broker starts without one.
- There is one deadline to wait for, the earliest; no timer per broker.
- The broker of this very process never times out: where it stands still, so do we. Nor does a former incarnation of
  it keep it out after a restart: that one is gone for certain.
- A shortened session is valid no more for keeping another incarnation out, since its process is known to be gone.
- A broker is in touch only by its own heartbeats to this very controller, while the connection that carried the last
  one stands: a session inherited from the controller before proves nothing but that the broker was alive then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from blumfeld.cluster.image.cluster import ClusterImage

UNREACHABLE_TIMEOUT_S: Final = 0.25
"""How long a broker whose process seems gone may take to show that it is not."""


class BrokerSession:
    """One broker in touch. `metadata_offset`: the last offset it has applied; offsets are -1 where nothing is known."""

    __slots__ = ("broker_epoch", "controlled_shutdown_offset", "deadline", "in_touch", "metadata_offset", "unreachable")

    def __init__(self, broker_epoch: int, deadline: float) -> None:
        self.broker_epoch = broker_epoch
        self.deadline = deadline
        self.metadata_offset = -1
        self.controlled_shutdown_offset = -1
        self.in_touch = False
        self.unreachable = False

    @property
    def is_shutting_down(self) -> bool:
        return self.controlled_shutdown_offset >= 0


class BrokerSessions:
    """Sessions by broker id.

    Args:
        timeout_s: how long a broker may be silent.
        own_id: this node.
    """

    def __init__(self, timeout_s: float, own_id: int) -> None:
        self._timeout_s = timeout_s
        self._own_id = own_id
        self._sessions: dict[int, BrokerSession] = {}

    def start(self, cluster: ClusterImage, now: float) -> None:
        """A controller takes over: every unfenced broker gets a fresh session, but the one of this process."""
        self._sessions = {
            broker.id: BrokerSession(broker.epoch, now + self._timeout_s)
            for broker in cluster.brokers.values()
            if not broker.fenced and broker.id != self._own_id
        }

    def clear(self) -> None:
        self._sessions.clear()

    def get(self, broker_id: int) -> BrokerSession | None:
        return self._sessions.get(broker_id)

    def touch(self, broker_id: int, broker_epoch: int, now: float) -> BrokerSession:
        """The broker was heard of just now."""
        session = self._sessions.get(broker_id)
        if session is None or session.broker_epoch != broker_epoch:
            session = self._sessions[broker_id] = BrokerSession(broker_epoch, 0.0)
        session.deadline = now + self._timeout_s
        session.unreachable = False
        session.in_touch = True
        return session

    def out_of_touch(self, broker_id: int) -> None:
        """The connection that carried the broker's heartbeats is gone. That shortens nothing."""
        session = self._sessions.get(broker_id)
        if session is not None:
            session.in_touch = False

    def is_in_touch(self, broker_id: int) -> bool:
        """Whether the broker has been heard of over a connection that still stands."""
        session = self._sessions.get(broker_id)
        return session is not None and session.in_touch

    def remove(self, broker_id: int) -> None:
        self._sessions.pop(broker_id, None)

    def is_valid(self, broker_id: int, broker_epoch: int, now: float) -> bool:
        """Whether that incarnation of the broker must be taken for alive."""
        session = self._sessions.get(broker_id)
        return (
            session is not None
            and session.broker_epoch == broker_epoch
            and not session.unreachable
            and now < session.deadline
        )

    def shorten(self, broker_id: int, now: float) -> bool:
        """Positive evidence that the broker's process is gone: it has a quarter of a second left to be heard of."""
        session = self._sessions.get(broker_id)
        if session is None:
            return False
        session.unreachable = True
        session.deadline = min(session.deadline, now + UNREACHABLE_TIMEOUT_S)
        return True

    def forgive(self, seconds: float) -> None:
        """This process did not run for so long: nobody could have been heard."""
        for session in self._sessions.values():
            session.deadline += seconds

    def expired(self, now: float) -> list[int]:
        """Brokers whose session has run out, the longest silent first."""
        late = [
            (session.deadline, broker_id)
            for broker_id, session in self._sessions.items()
            if session.deadline <= now and broker_id != self._own_id
        ]
        return [broker_id for _, broker_id in sorted(late)]

    def next_deadline(self) -> float | None:
        """When the next session runs out unless its broker is heard of; None without sessions."""
        deadlines = (session.deadline for broker_id, session in self._sessions.items() if broker_id != self._own_id)
        return min(deadlines, default=None)

    def lowest_active_offset(self, cluster: ClusterImage) -> int | None:
        """The lowest metadata offset applied by an active broker, as far as known; None without active brokers."""
        offsets = [
            -1 if (session := self._sessions.get(broker.id)) is None else session.metadata_offset
            for broker in cluster.brokers.values()
            if broker.active
        ]
        return min(offsets, default=None)
