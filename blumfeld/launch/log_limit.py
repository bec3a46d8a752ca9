"""A bound on what the process writes to its log, whatever goes wrong how often.

Every statement that logs may write `BURST` lines per `INTERVAL_S`; what it wrote beyond that is counted, and told with
its next line. So neither a peer nor a defect can fill a disk with messages or tracebacks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

INTERVAL_S: Final = 10.0
BURST: Final = 20
_STATEMENTS: Final = 1000
"""How many statements are remembered; a program has fewer that log at all."""


class LogLimit(logging.Filter):
    """To be added to a handler. A statement is the line of code that logs, whatever its arguments are."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._written: dict[tuple[str, int], tuple[float, int]] = {}  # statement → start of its interval, lines in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it."""
        now = self._monotonic()
        statement = (record.pathname, record.lineno)
        started, count = self._written.get(statement, (now, 0))
        if now - started >= INTERVAL_S:
            if count > BURST:
                record.msg = f"{record.getMessage()} ({count - BURST} more like this in the last {now - started:.0f} s)"
                record.args = None
            started, count = now, 0
        if len(self._written) >= _STATEMENTS and statement not in self._written:
            self._written.clear()
        self._written[statement] = (started, count + 1)
        return count < BURST
