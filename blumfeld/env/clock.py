"""Time: the wall clock that records carry, and the monotonic clock that timers use.

Owns the two readings and nothing else: no timers, no sleeping (those belong to the event loop). Invariant:
`monotonic()` never goes back; `time_ms()` may, as wall clocks do.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The two readings of time."""

    def time_ms(self) -> int:
        """Wall-clock time in milliseconds since 1970, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def time_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is advanced."""

    __slots__ = ("_monotonic", "_time_ms")

    def __init__(self, time_ms: int = 1_700_000_000_000, monotonic: float = 1_000.0) -> None:
        self._time_ms = time_ms
        self._monotonic = monotonic

    def time_ms(self) -> int:
        return self._time_ms

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float = 0.0, *, ms: int = 0) -> None:
        """Move both readings forward by `seconds` plus `ms`; a negative sum is refused."""
        total_ms = round(seconds * 1000) + ms
        if total_ms < 0:
            raise ValueError(f"time only advances, not by {total_ms} ms")
        self._time_ms += total_ms
        self._monotonic += total_ms / 1000

    def set_wall(self, time_ms: int) -> None:
        """Set the wall clock, back too, as an administrator or NTP might; the monotonic reading stays."""
        self._time_ms = time_ms


class AdjustableClock:
    """A running clock that can jump forward: the clock of a broker whose test owns time."""

    __slots__ = ("_base", "_offset_ms")

    def __init__(self, base: Clock | None = None) -> None:
        self._base: Clock = base if base is not None else SystemClock()
        self._offset_ms = 0

    @property
    def offset_ms(self) -> int:
        """How far ahead of its base the clock is, in milliseconds."""
        return self._offset_ms

    def time_ms(self) -> int:
        return self._base.time_ms() + self._offset_ms

    def monotonic(self) -> float:
        return self._base.monotonic() + self._offset_ms / 1000

    def advance(self, seconds: float = 0.0, *, ms: int = 0) -> None:
        """Jump forward by `seconds` plus `ms`; a negative sum is refused."""
        total_ms = round(seconds * 1000) + ms
        if total_ms < 0:
            raise ValueError(f"time only advances, not by {total_ms} ms")
        self._offset_ms += total_ms
