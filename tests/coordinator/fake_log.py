"""A shard's log that is a list of batches: it commits, fails and reads when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from blumfeld.coordinator.shard_log import Appended
from blumfeld.protocol.batch import RecordBatch, set_offset_and_epoch
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.records import Record, read_records


class FakeLog:
    """A `ShardLog`. With `commits_at_once` every append is committed within `settle`, as on a single broker."""

    def __init__(self, *, commits_at_once: bool = True, start: int = 0) -> None:
        self.batches: list[bytes] = []
        self.commits_at_once = commits_at_once
        self.error = ErrorCode.NONE
        self.log_start_offset = start
        self.log_end_offset = start
        self.high_watermark = start
        self.max_batch_bytes = 1 << 20
        self.is_closed = False
        self.reads = 0
        self.read_error: OSError | None = None
        self.gate: asyncio.Event | None = None
        self._on_commit: Callable[[], None] | None = None

    def append(self, batch: bytes, now_ms: int) -> Appended:
        assert not self.is_closed
        if self.error is not ErrorCode.NONE:
            return Appended(self.error)
        if len(batch) > self.max_batch_bytes:
            return Appended(ErrorCode.MESSAGE_TOO_LARGE)
        base = self.log_end_offset
        patched = bytearray(batch)
        set_offset_and_epoch(patched, base, 1)
        self.batches.append(bytes(patched))
        self.log_end_offset = RecordBatch(patched).next_offset
        return Appended(ErrorCode.NONE, base)

    def settle(self) -> None:
        if self.commits_at_once:
            self.commit()

    def commit(self, offset: int | None = None) -> None:
        """The high watermark moves to `offset`, by default to the end."""
        self.high_watermark = self.log_end_offset if offset is None else offset
        if self._on_commit is not None:
            self._on_commit()

    async def read(self, offset: int, max_bytes: int) -> bytes:
        self.reads += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.read_error is not None:
            raise self.read_error
        found: list[bytes] = []
        for batch in self.batches:
            if RecordBatch(batch).last_offset >= offset and (not found or sum(map(len, found)) < max_bytes):
                found.append(batch)
        return b"".join(found)

    def watch(self, on_commit: Callable[[], None]) -> None:
        self._on_commit = on_commit

    def close(self) -> None:
        self.is_closed = True
        self._on_commit = None

    def reopened(self) -> FakeLog:
        """The same records on a broker that leads from now on."""
        log = FakeLog(commits_at_once=self.commits_at_once, start=self.log_start_offset)
        log.batches = list(self.batches)
        log.log_end_offset = log.high_watermark = self.log_end_offset
        return log

    def records(self) -> list[Record]:
        """Everything that was written."""
        return [record for batch in self.batches for record in read_records(RecordBatch(batch))]
