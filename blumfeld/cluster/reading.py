"""What a partition answers to a fetch.

Owns no behaviour. A refusal is an error code in the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.protocol.primitives import Records
    from blumfeld.storage.log import Log
    from blumfeld.storage.results import ReadResult


class Reading:
    """Records and offsets of one partition. `diverging`: (epoch, end offset) to which the reader must truncate.

    `cold`: None, or the work that would have waited for the device (see `storage.results.ReadResult`).
    """

    __slots__ = (
        "cold",
        "diverging",
        "error",
        "high_watermark",
        "last_stable_offset",
        "log_start_offset",
        "next_offset",
        "records",
    )

    def __init__(self, error: ErrorCode, high_watermark: int, last_stable_offset: int, log_start_offset: int) -> None:
        self.error = error
        self.high_watermark = high_watermark
        self.last_stable_offset = last_stable_offset
        self.log_start_offset = log_start_offset
        self.records: Records = b""
        self.next_offset = -1
        self.diverging: tuple[int, int] | None = None
        self.cold: Callable[[], ReadResult] | None = None


def refused(error: ErrorCode) -> Reading:
    """No records; −1 stands for all offsets of a partition in error."""
    return Reading(error, -1, -1, -1)


def unchanged(log: Log) -> Reading:
    """No records, and where the log stands now."""
    return Reading(ErrorCode.NONE, log.high_watermark, log.last_stable_offset, log.log_start_offset)
