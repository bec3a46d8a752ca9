"""Memory for large reads, used again when nobody looks at it any more.

Owns a few buffers. A fresh buffer of a MiB costs the page faults of its 256 pages, which is more than reading a file's
cached bytes into it; so what one reader gave up is the next one's. Nobody has to give anything back: a buffer is free
when its reference count says that no view of it is left. Where counts do not tell (other interpreters, threads without
a global lock), every read gets fresh memory.

Invariants: a buffer is never handed out while a view of it exists; no more than `KEPT_BYTES` are kept.
"""

from __future__ import annotations

import sys
import threading

SMALLEST_BYTES = 128 << 10
"""Less than this comes from the heap, which keeps what it has."""
STEP_BYTES = 256 << 10
"""Sizes are rounded up to multiples of this, so that one buffer does for many."""
KEPT_BYTES = 16 << 20


class ReadBuffers:
    """Buffers for reads, for all threads."""

    __slots__ = ("_buffers", "_free_count", "_kept_bytes", "_lock")

    def __init__(self) -> None:
        self._buffers: list[bytearray] = []
        self._kept_bytes = 0
        self._free_count = _count_when_free()
        self._lock = threading.Lock()

    def take(self, size: int) -> memoryview:
        """Memory of exactly `size` bytes, with whatever contents."""
        if size < SMALLEST_BYTES or size > KEPT_BYTES or self._free_count is None:
            return memoryview(bytearray(size))
        with self._lock:
            too_small = []
            for index, count in enumerate(_counts(self._buffers)):  # the first that fits is likeliest in a cache
                if count == self._free_count:
                    if len(self._buffers[index]) >= size:
                        return memoryview(self._buffers[index])[:size]
                    too_small.append(index)
            return self._make(size, too_small)

    def _make(self, size: int, too_small: list[int]) -> memoryview:
        """A new buffer, kept if there is room once free ones that are smaller have gone."""
        capacity = -(-size // STEP_BYTES) * STEP_BYTES
        while too_small and self._kept_bytes + capacity > KEPT_BYTES:
            self._kept_bytes -= len(self._buffers.pop(too_small.pop()))
        buffer = bytearray(capacity)
        if self._kept_bytes + capacity <= KEPT_BYTES:
            self._buffers.append(buffer)
            self._kept_bytes += capacity
        return memoryview(buffer)[:size]


def _counts(buffers: list[bytearray]) -> list[int]:
    """How often each is referred to, as seen by this very function."""
    return [sys.getrefcount(buffer) for buffer in buffers]


def _count_when_free() -> int | None:
    """What `_counts` says of a buffer without views (interpreters differ); None where it does not notice a view."""
    has_global_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    if not has_global_lock or not hasattr(sys, "getrefcount"):
        return None
    probe = [bytearray(1)]
    free = _counts(probe)[0]
    view = memoryview(probe[0])[:1]
    return free if _counts(probe)[0] > free and len(view) == 1 else None
