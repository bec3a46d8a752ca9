"""Incremental fetch sessions on the serving side (KIP-227).

Owns the sessions of one broker: which partitions each holds, from where they are fetched, what was told about them
last, and which of them are *ready*: may have something to tell. A fetch looks at those alone, so partitions that do
not move cost nothing, neither on the wire nor here.

Must never know what is read: `api/fetch.py` reads.

Invariants
- A session's epoch is the one its next request must carry; a request with another one changes nothing.
- An entry is ready when it is new or changed, when its partition moved, when it had records or an error the last time.
- An entry of a session watches its partition; entries that are dropped, and those of dropped sessions, watch nothing.
- There are at most `slots` sessions. A full cache makes room by dropping the session that was used longest ago, if
  that is two minutes ago, or if a follower asks and that session is a consumer's; otherwise the new fetch stays
  without a session. (Apache Kafka weighs the sessions' sizes too.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from blumfeld.cluster.watching import Signal
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.partition import Partition
    from blumfeld.cluster.replicas import ReplicaManager
    from blumfeld.env.entropy import Entropy
    from blumfeld.protocol.messages.fetch import FetchRequest

NO_SESSION: Final = 0
FIRST_EPOCH: Final = 0
NO_EPOCH: Final = -1
LAST_EPOCH: Final = 0x7FFFFFFF
SESSION_ID_LIMIT: Final = 0x7FFFFFFF
DEFAULT_SLOTS: Final = 1000
EVICTABLE_AFTER_S: Final = 120.0
SESSIONS_VERSION: Final = 7
TOPIC_ID_VERSION: Final = 13

Key = tuple[str | bytes, int]


class Entry:
    """One partition of a fetch:

    what the reader asked, and (in a session) what it was told last. Watches the partition.
    """

    __slots__ = (
        "current_leader_epoch",
        "index",
        "last_fetched_epoch",
        "log_start_offset",
        "max_bytes",
        "offset",
        "partition",
        "seen_bytes",
        "session",
        "told_high_watermark",
        "told_log_start",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str, topic_id: bytes, asked: FetchRequest.Topic.Partition) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.index = asked.partition
        self.partition: Partition | None = None
        self.session: FetchSession | None = None
        self.told_high_watermark = self.told_log_start = -1
        self.seen_bytes = 0
        self.ask(asked)

    def ask(self, asked: FetchRequest.Topic.Partition) -> None:
        """Take over the reader's position."""
        self.offset = asked.fetch_offset
        self.max_bytes = max(asked.partition_max_bytes, 0)
        self.current_leader_epoch = asked.current_leader_epoch
        self.last_fetched_epoch = asked.last_fetched_epoch
        self.log_start_offset = asked.log_start_offset

    def locate(self, replicas: ReplicaManager, *, by_id: bool) -> Partition | None:
        """The replica here, if any; an entry of a session watches it from now on."""
        found = replicas.find(self.topic_id, self.index) if by_id else replicas.find_by_name(self.topic, self.index)
        if found is not self.partition:
            self.leave(replicas)
            self.partition = found
            if found is not None and self.session is not None:
                replicas.watch(found, self)
        return found

    def leave(self, replicas: ReplicaManager) -> None:
        """Watch nothing any more."""
        if self.partition is not None and self.session is not None:
            replicas.unwatch(self.partition, self)
        self.partition = None

    def on_append(self, partition: Partition) -> None:
        """New records: a follower may have them."""
        session = self.session
        if session is not None and session.is_follower:
            session.ready[self] = None
            session.wake(session.signal)

    def on_commit(self, partition: Partition) -> None:
        """The high watermark moved: a consumer may read on; a follower is told with its next answer."""
        session = self.session
        if session is not None:
            session.ready[self] = None
            if not session.is_follower:
                session.wake(session.signal)

    def on_leadership(self, partition: Partition) -> None:
        """The partition is led elsewhere, or anew, or is gone."""
        session = self.session
        if session is not None:
            session.ready[self] = None
            session.wake(session.signal)


class FetchSession:
    """One reader's session."""

    __slots__ = ("by_id", "entries", "epoch", "id", "is_follower", "last_used", "ready", "signal", "wake")

    def __init__(self, session_id: int, *, is_follower: bool, by_id: bool, replicas: ReplicaManager) -> None:
        self.id = session_id
        self.epoch = FIRST_EPOCH + 1
        self.is_follower = is_follower
        self.by_id = by_id
        self.entries: dict[Key, Entry] = {}
        self.ready: dict[Entry, None] = {}
        self.signal = Signal(f"fetch session {session_id}")
        self.wake = replicas.wake
        self.last_used = 0.0

    def update(self, request: FetchRequest, replicas: ReplicaManager) -> None:
        """Add, change and forget what the request says."""
        for topic in request.topics:
            name = topic.topic_id if self.by_id else topic.topic
            for asked in topic.partitions:
                entry = self.entries.get((name, asked.partition))
                if entry is None:
                    entry = self.entries[name, asked.partition] = Entry(topic.topic, topic.topic_id, asked)
                    entry.session = self
                else:
                    entry.ask(asked)
                    if self.is_follower:  # it may not have heeded what it was told last: say it again
                        entry.told_high_watermark = entry.told_log_start = -1
                self.ready[entry] = None
        for forgotten in request.forgotten_topics_data:
            name = forgotten.topic_id if self.by_id else forgotten.topic
            for index in forgotten.partitions:
                entry = self.entries.pop((name, index), None)
                if entry is not None:
                    self.ready.pop(entry, None)
                    entry.leave(replicas)

    def close(self, replicas: ReplicaManager) -> None:
        """Watch nothing any more; a fetch that waits in it is answered."""
        self.epoch = NO_EPOCH
        for entry in self.entries.values():
            entry.leave(replicas)
        self.entries.clear()
        self.ready.clear()
        self.wake(self.signal)


class Plan(NamedTuple):
    """How one fetch is to be served.

    `session`: None without one. `epoch`: what the session's stays at until answered.
    """

    session: FetchSession | None
    entries: Iterable[Entry]
    incremental: bool
    error: ErrorCode = ErrorCode.NONE
    epoch: int = NO_EPOCH


class FetchSessions:
    """The sessions of one broker.

    Args:
        slots: max.incremental.fetch.session.cache.slots.
    """

    def __init__(self, slots: int = DEFAULT_SLOTS) -> None:
        self.slots = slots
        self._sessions: dict[int, FetchSession] = {}  # the one used longest ago first

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(
        self,
        request: FetchRequest,
        version: int,
        *,
        is_follower: bool,
        replicas: ReplicaManager,
        entropy: Entropy,
        now: float,
    ) -> Plan:
        """Find or make the session that `request` belongs to, and bring it up to date."""
        by_id = version >= TOPIC_ID_VERSION
        if version < SESSIONS_VERSION:
            return Plan(None, _entries(request), incremental=False)
        if request.session_epoch not in (FIRST_EPOCH, NO_EPOCH):
            return self._go_on(request, by_id, replicas, now)
        self.drop(request.session_id, replicas)
        if request.session_epoch == NO_EPOCH or not self._has_room(is_follower, replicas, now):
            return Plan(None, _entries(request), incremental=False)
        session = FetchSession(self._new_id(entropy), is_follower=is_follower, by_id=by_id, replicas=replicas)
        session.update(request, replicas)
        session.last_used = now
        self._sessions[session.id] = session
        return Plan(session, session.entries.values(), incremental=False, epoch=session.epoch)

    def drop(self, session_id: int, replicas: ReplicaManager) -> None:
        """Forget a session, if there is such."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            session.close(replicas)

    def _go_on(self, request: FetchRequest, by_id: bool, replicas: ReplicaManager, now: float) -> Plan:
        session = self._sessions.get(request.session_id)
        if session is None:
            return _refused(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != request.session_epoch:
            return _refused(ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if session.by_id != by_id:
            return _refused(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        session.epoch = 1 if session.epoch == LAST_EPOCH else session.epoch + 1
        session.wake(session.signal)  # a request that waits in this session is overtaken
        session.update(request, replicas)
        session.last_used = now
        del self._sessions[session.id]
        if not session.entries:
            session.close(replicas)
            return Plan(None, (), incremental=False)
        self._sessions[session.id] = session
        return Plan(session, session.ready, incremental=True, epoch=session.epoch)

    def _has_room(self, is_follower: bool, replicas: ReplicaManager, now: float) -> bool:
        if len(self._sessions) < self.slots:
            return True
        if not self._sessions:
            return False
        oldest = next(iter(self._sessions.values()))
        if now - oldest.last_used <= EVICTABLE_AFTER_S:
            if not is_follower:
                return False
            consumers = (session for session in self._sessions.values() if not session.is_follower)
            found = next(consumers, None)
            if found is None:
                return False
            oldest = found
        self.drop(oldest.id, replicas)
        return True

    def _new_id(self, entropy: Entropy) -> int:
        while (found := entropy.randrange(SESSION_ID_LIMIT) + 1) in self._sessions or found > SESSION_ID_LIMIT:
            pass
        return found


def _entries(request: FetchRequest) -> list[Entry]:
    return [Entry(topic.topic, topic.topic_id, asked) for topic in request.topics for asked in topic.partitions]


def _refused(error: ErrorCode) -> Plan:
    return Plan(None, (), incremental=False, error=error)
