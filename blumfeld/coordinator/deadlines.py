"""Deadlines by key: one queue for everything that a runtime's shards wait for.

Owns the order of deadlines. Pure: `now` and deadlines are milliseconds of a monotonic clock, passed in. Must never
know what a key means.

Setting a deadline later, as every heartbeat does, is one dictionary write: the heap keeps the key's earlier entry
and puts it back when that comes up. Invariant: the heap holds, for each key, an entry that is not later than its
deadline, and at most about twice as many entries as there are keys.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable

_FEW = 64


class DeadlineQueue:
    """Which keys are due."""

    __slots__ = ("_due", "_heap", "_queued", "_sequence")

    def __init__(self) -> None:
        self._due: dict[Hashable, int] = {}
        self._queued: dict[Hashable, int] = {}
        self._heap: list[tuple[int, int, Hashable]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._due

    def schedule(self, key: Hashable, due_ms: int) -> None:
        """Set or replace the deadline of `key`."""
        self._due[key] = due_ms
        queued = self._queued.get(key)
        if queued is None or due_ms < queued:
            self._push(key, due_ms)

    def cancel(self, key: Hashable) -> None:
        """Forget `key`, if it has a deadline."""
        if self._due.pop(key, None) is not None and len(self._heap) > 2 * len(self._due) + _FEW:
            self._rebuild()

    def due(self, key: Hashable) -> int | None:
        """The deadline of `key`."""
        return self._due.get(key)

    def next_due(self) -> int | None:
        """When to look again: never later than the earliest deadline; None when there is none."""
        if not self._due:
            self._heap.clear()
            self._queued.clear()
            return None
        return self._heap[0][0]

    def pop(self, now_ms: int) -> Hashable | None:
        """Take the key that is due first, None when none is due."""
        heap, queued = self._heap, self._queued
        while heap and heap[0][0] <= now_ms:
            entry_due, _, key = heapq.heappop(heap)
            if queued.get(key) != entry_due:
                continue
            del queued[key]
            due_ms = self._due.get(key)
            if due_ms is None:
                continue
            if due_ms > now_ms:
                self._push(key, due_ms)
                continue
            del self._due[key]
            return key
        return None

    def _push(self, key: Hashable, due_ms: int) -> None:
        self._queued[key] = due_ms
        self._sequence += 1
        heapq.heappush(self._heap, (due_ms, self._sequence, key))
        if len(self._heap) > 2 * len(self._due) + _FEW:
            self._rebuild()

    def _rebuild(self) -> None:
        self._queued = dict(self._due)
        self._heap = [(due_ms, number, key) for number, (key, due_ms) in enumerate(self._due.items())]
        self._sequence = len(self._heap)
        heapq.heapify(self._heap)
