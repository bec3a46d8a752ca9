"""What a log answers: plain slotted values, refusals included.

Owns no behaviour. A refusal is an `ErrorCode` in the result (never an exception): the caller puts it in its response.

Invariant: where `error` is not NONE, nothing of the request has become visible in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from blumfeld.protocol.errors import ErrorCode

Buffer: TypeAlias = bytes | bytearray | memoryview
_NONE = ErrorCode.NONE


class AppendResult:
    """The answer to an append.

    `base_offset`, `last_offset`: of what was appended, or of the earlier batch where `duplicate`. `log_append_time`: ms
    where the topic's timestamps are LogAppendTime, the batch's largest timestamp where `duplicate`, else −1.
    `record_errors`: (index of the record in its batch, text) of refused records. `must_flush`: flush policy asks that
    the caller waits until the log is flushed up to `last_offset + 1` before it acknowledges (see `flush.py`).
    """

    __slots__ = (
        "base_offset",
        "duplicate",
        "error",
        "last_offset",
        "log_append_time",
        "log_start_offset",
        "message",
        "must_flush",
        "record_errors",
    )

    def __init__(
        self,
        error: ErrorCode = _NONE,
        base_offset: int = -1,
        last_offset: int = -1,
        log_append_time: int = -1,
        log_start_offset: int = -1,
        message: str | None = None,
        duplicate: bool = False,
        must_flush: bool = False,
        record_errors: tuple[tuple[int, str], ...] = (),
    ) -> None:
        self.error = error
        self.base_offset = base_offset
        self.last_offset = last_offset
        self.log_append_time = log_append_time
        self.log_start_offset = log_start_offset
        self.message = message
        self.duplicate = duplicate
        self.must_flush = must_flush
        self.record_errors = record_errors

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"AppendResult({fields})"


class ReadResult:
    """The answer to a read.

    `records`: whole batches as they are in the file; the first one holds the offset asked for, or is the first after
    it. `next_offset`: where the following read goes on (the offset asked for when nothing was there). `cold`: None,
    or the work that would have waited for the device: call it in a thread, it returns the `ReadResult` (with `cold`
    None)."""

    __slots__ = ("cold", "error", "next_offset", "records")

    def __init__(
        self,
        records: Buffer = b"",
        next_offset: int = -1,
        error: ErrorCode = _NONE,
        cold: Callable[[], ReadResult] | None = None,
    ) -> None:
        self.records = records
        self.next_offset = next_offset
        self.error = error
        self.cold = cold

    def __repr__(self) -> str:
        return (
            f"ReadResult({len(self.records)} bytes, next_offset={self.next_offset}, error={self.error!r}, "
            f"cold={self.cold is not None})"
        )


class AbortedTransaction:
    """A producer's aborted range, as Fetch reports it (first offset) and the transaction index keeps it."""

    __slots__ = ("first_offset", "last_offset", "last_stable_offset", "producer_id")

    def __init__(self, producer_id: int, first_offset: int, last_offset: int, last_stable_offset: int) -> None:
        self.producer_id = producer_id
        self.first_offset = first_offset
        self.last_offset = last_offset
        self.last_stable_offset = last_stable_offset

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbortedTransaction) and self.as_tuple() == other.as_tuple()

    __hash__ = None  # type: ignore[assignment]  # compared by value, never a key

    def as_tuple(self) -> tuple[int, int, int, int]:
        return (self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset)

    def __repr__(self) -> str:
        return "AbortedTransaction(producer_id={}, first_offset={}, last_offset={}, last_stable_offset={})".format(
            *self.as_tuple()
        )


class TimestampOffset:
    """What ListOffsets answers: a record's timestamp, its offset, and its leader epoch (−1 unknown)."""

    __slots__ = ("leader_epoch", "offset", "timestamp")

    def __init__(self, timestamp: int, offset: int, leader_epoch: int = -1) -> None:
        self.timestamp = timestamp
        self.offset = offset
        self.leader_epoch = leader_epoch

    def __repr__(self) -> str:
        return f"TimestampOffset(timestamp={self.timestamp}, offset={self.offset}, leader_epoch={self.leader_epoch})"


class LookUpResult:
    """The answer to a look-up by time.

    `found`: None where there is no such record. OFFSET_NOT_AVAILABLE: the log was changed under the look-up, so ask
    again. `cold`: None, or the work that would have stopped the event loop: call it in a thread, it returns the
    `LookUpResult` (with `cold` None).
    """

    __slots__ = ("cold", "error", "found")

    def __init__(
        self,
        found: TimestampOffset | None = None,
        error: ErrorCode = _NONE,
        cold: Callable[[], LookUpResult] | None = None,
    ) -> None:
        self.found = found
        self.error = error
        self.cold = cold

    def __repr__(self) -> str:
        return f"LookUpResult({self.found}, error={self.error!r}, cold={self.cold is not None})"
