"""What is due: a few turns at their intervals, driven by whoever has a timer.

Owns when each turn runs next. Knows no clock but the one given at the start, so that the first run of each comes one
interval later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blumfeld.env.clock import Clock


class Schedule:
    """Turns and when they are due (wall clock, ms)."""

    __slots__ = ("_next_ms", "_turns")

    def __init__(self, clock: Clock, turns: Sequence[tuple[int, Callable[[int], None]]]) -> None:
        """`turns`: (interval in ms, what to call with the time)."""
        now_ms = clock.time_ms()
        self._turns = turns
        self._next_ms = [now_ms + interval_ms for interval_ms, _ in turns]

    def run(self, now_ms: int) -> None:
        """Call what is due. A clock that was set back starts the intervals anew."""
        for index, (interval_ms, turn) in enumerate(self._turns):
            if now_ms >= self._next_ms[index] or now_ms < self._next_ms[index] - interval_ms:
                self._next_ms[index] = now_ms + interval_ms
                turn(now_ms)
