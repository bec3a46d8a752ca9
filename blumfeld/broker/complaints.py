"""Rate-limited warnings about peers: hostile input must not fill the log.

Each kind of complaint is written at most `BURST` times per `INTERVAL_S`; what was left out is counted and said with
the next line that is written.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blumfeld.env.clock import Clock

_log = logging.getLogger("blumfeld.broker")

INTERVAL_S = 10.0
BURST = 10


class Complaints:
    """Counts per kind of complaint, and writes those that are within the limit."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._window: dict[str, tuple[float, int]] = {}  # kind → start of its interval, complaints in it

    def add(self, kind: str, message: str, *arguments: object, exc_info: bool = False) -> None:
        now = self._clock.monotonic()
        started, count = self._window.get(kind, (now, 0))
        if now - started >= INTERVAL_S:
            if count > BURST:
                _log.warning("%s: %d more like this in the last %.0f s", kind, count - BURST, now - started)
            started, count = now, 0
        self._window[kind] = (started, count + 1)
        if count < BURST:
            level = logging.ERROR if exc_info else logging.WARNING
            _log.log(level, message, *arguments, exc_info=exc_info)
