"""How much a broker without a data directory may keep: `blumfeld.memory.max.bytes`.

Owns the bound and the one line in the log that says what to do when it is reached. An append is refused before
anything of it is written, so that nothing has to be undone: the log directory stays online, and once topics are
deleted or records have expired there is room again.

What a broker writes to go on working is let in beyond the bound: committed offsets an eighth more, so that consumers
can still catch up, and the metadata log without bound (deleting a topic is a metadata record too).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

_logger = logging.getLogger(__name__)

_RESERVE: Final = 8
"""The part of the bound that coordinators may use on top."""
_ROOM_AGAIN: Final = 0.9
"""Below this part of the bound the broker no longer counts as full; the next time is said again."""


class MemoryBound:
    """`used_bytes()` may grow to `max_bytes`."""

    def __init__(self, max_bytes: int, used_bytes: Callable[[], int]) -> None:
        self.max_bytes = max_bytes
        self._used_bytes = used_bytes
        self._told = False

    def refuses(self, size: int, *, reserve: bool = False) -> bool:
        """Whether `size` more bytes are too many. `reserve`: for a coordinator's records."""
        used = self._used_bytes()
        if used + size <= self.max_bytes:
            if self._told and used < self.max_bytes * _ROOM_AGAIN:
                self._told = False
            return False
        if not self._told:
            self._told = True
            _logger.warning("%s", self.why)
        return not (reserve and used + size <= self.max_bytes + self.max_bytes // _RESERVE)

    @property
    def why(self) -> str:
        """What is said to the log and to producers."""
        return (
            f"this broker keeps everything in memory and has reached blumfeld.memory.max.bytes={self.max_bytes}: "
            "appends are refused until topics are deleted or records expire. Start it with --data DIR to keep data on "
            "disk, or raise the bound"
        )
