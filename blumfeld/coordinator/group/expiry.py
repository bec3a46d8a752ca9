"""The sweep: offsets that nobody has needed for offsets.retention.minutes are forgotten, then groups without any.

Owns what expires (KIP-211): offsets of a group without members that long after it became empty; of a living
consumer group, those of topics it does not read any more; of offsets without a group, each that long after its
commit. A sweep is done in turns that write a bounded number of tombstones each. Offsets of deleted topics go at
once, all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.coordinator.decision import NOTHING, Decision, LogRecord
from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.state import GroupState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from blumfeld.coordinator.decision import Timers
    from blumfeld.coordinator.group.classic import ClassicGroup
    from blumfeld.coordinator.group.config import GroupConfig
    from blumfeld.coordinator.group.offset_store import OffsetStore
    from blumfeld.coordinator.group.records import CommittedOffset

SWEEP_KEY = ("sweep",)
TOMBSTONES_PER_TURN = 1_000
LOOKS_PER_TURN = 10_000
NEXT_TURN_MS = 10


class Expiry:
    """Forgets what is old."""

    def __init__(
        self,
        groups: dict[str, ClassicGroup],
        store: OffsetStore,
        foreign: Collection[str],
        timers: Timers,
        config: GroupConfig,
    ) -> None:
        self._groups = groups
        self._store = store
        self._foreign = foreign
        self._timers = timers
        self._config = config
        self._to_do: list[str] = []

    def start(self) -> None:
        """The first sweep comes after one interval."""
        self._timers.schedule(SWEEP_KEY, self._config.retention_check_interval_ms)

    def sweep(self, now_ms: int) -> Decision:
        """One turn: begin a sweep, or go on with the one begun. A turn that cannot be written ends the sweep."""
        to_do = self._to_do or [*self._groups]
        self._to_do = []
        self.start()
        to_write: list[LogRecord] = []
        looks = 0
        while to_do and len(to_write) < TOMBSTONES_PER_TURN and looks < LOOKS_PER_TURN:
            group = self._groups.get(to_do[-1])
            if group is None or group.group_id in self._foreign:
                to_do.pop()
                continue
            looks += 1 + sum(map(len, self._store.of_group(group.group_id).values()))
            if self._expire(group, now_ms, to_write):
                to_do.pop()

        def go_on() -> Decision:
            if to_do:
                self._to_do = to_do
                self._timers.schedule(SWEEP_KEY, NEXT_TURN_MS)
            return NOTHING

        if to_write:
            return Decision(to_write, atomic=False, then=go_on)
        return go_on()

    def forget_topics(self, deleted: Collection[tuple[str, bytes]]) -> Decision:
        """The offsets of topics that were deleted, given by name and id. A topic made anew keeps its own."""
        to_write = [
            records.offset_tombstone(group_id, topic, partition)
            for group_id in self._store.groups()
            for topic, topic_id in deleted
            for partition, committed in self._store.of_topic(group_id, topic).items()
            if not any(committed.topic_id) or committed.topic_id == topic_id
        ]
        return Decision(to_write, atomic=False)

    def _expire(self, group: ClassicGroup, now_ms: int, to_write: list[LogRecord]) -> bool:
        """Add tombstones of what has expired. False: the turn is full before the group is done."""
        group_id = group.group_id
        if not _can_expire(group):
            return True
        is_left = self._store.has_open_transactions(group_id)
        for topic, offsets in self._store.of_group(group_id).items():
            if group.is_subscribed_to(topic):
                is_left = True
                continue
            for partition in self._expired(group, topic, offsets, now_ms):
                if len(to_write) >= TOMBSTONES_PER_TURN:
                    return False
                if partition < 0:
                    is_left = True
                else:
                    to_write.append(records.offset_tombstone(group_id, topic, partition))
        if not is_left and group.state is GroupState.EMPTY and not group.pending_joins:
            to_write.append(records.group_tombstone(group_id))
        return True

    def _expired(
        self, group: ClassicGroup, topic: str, offsets: Mapping[int, CommittedOffset], now_ms: int
    ) -> list[int]:
        """The partitions whose offset has expired, and -1 if there are others."""
        expired, others = [], False
        retention_ms = self._config.offsets_retention_ms
        for partition, committed in offsets.items():
            if committed.expire_timestamp_ms != -1:
                is_over = now_ms >= committed.expire_timestamp_ms
            else:
                since = committed.commit_timestamp_ms
                if group.protocol_type is not None and group.state is GroupState.EMPTY:
                    since = group.state_timestamp_ms if group.state_timestamp_ms != -1 else since
                is_over = now_ms - since >= retention_ms
            if is_over and not self._store.is_unstable(group.group_id, topic, partition):
                expired.append(partition)
            else:
                others = True
        return [*expired, -1] if others else expired


def _can_expire(group: ClassicGroup) -> bool:
    """A living group keeps its offsets, unless it is stable and its members' subscriptions are known."""
    if group.protocol_type is None or group.state is GroupState.EMPTY:
        return True
    return group.state is GroupState.STABLE and group.subscribed_topics() is not None
