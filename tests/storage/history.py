"""A log with a history, told in verbs: producers write, transactions end, time passes, the log is compacted.

The plain model beside it remembers every record and its fate, so that a test can say what has to be left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Disk
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.protocol.batch import RecordBatch, iterate_batches
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.records import (
    ControlType,
    Record,
    build_batch,
    control_type,
    end_transaction_batch,
    read_records,
)
from blumfeld.storage.compaction import Limits, Result, Round, assess
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig

DIRECTORY = "/logs/topic-0"
_EPOCH = 1


class Written(NamedTuple):
    """One record of the model."""

    offset: int
    key: bytes | None
    value: bytes | None
    producer_id: int
    transactional: bool


class History:
    """A log and its model."""

    def __init__(
        self, *, disk: Disk | None = None, directory: str = DIRECTORY, clock: ManualClock | None = None, **config: Any
    ) -> None:
        self.clock = clock if clock is not None else ManualClock()
        self.directory = directory
        self.disk = disk if disk is not None else MemoryDisk(clock=self.clock)
        self.config = LogConfig(**{"cleanup_policy": ("compact",), "segment_bytes": 2_000, **config})
        self.log = Log.open(directory, self.config, self.disk, self.clock)
        self.written: list[Written] = []
        self.open_transactions: dict[int, list[int]] = {}
        self.aborted: set[int] = set()
        self._sequences: dict[int, int] = {}
        self._epochs: dict[int, int] = {}

    # Verbs.
    def write(
        self,
        *records: tuple[bytes | None, bytes | None],
        producer_id: int = -1,
        transactional: bool = False,
        codec: int = 0,
    ) -> int:
        """One batch of (key, value); returns its base offset."""
        now_ms = self.clock.time_ms()
        sequence = self._sequences.get(producer_id, 0) if producer_id >= 0 else -1
        batch = build_batch(
            [Record(index, now_ms + index, key, value) for index, (key, value) in enumerate(records)],
            codec=codec,
            producer_id=producer_id,
            producer_epoch=self._epochs.get(producer_id, 0) if producer_id >= 0 else -1,
            base_sequence=sequence,
            transactional=transactional,
        )
        result = self.log.append_as_leader(batch, _EPOCH, now_ms=now_ms)
        assert result.error is ErrorCode.NONE, result
        base = result.base_offset
        for index, (key, value) in enumerate(records):
            self.written.append(Written(base + index, key, value, producer_id, transactional))
        if producer_id >= 0:
            self._sequences[producer_id] = sequence + len(records)
        if transactional:
            self.open_transactions.setdefault(producer_id, []).extend(range(base, base + len(records)))
        self.log.update_high_watermark(self.log.log_end_offset)
        return base

    def put(self, key: str, value: str | None, **how: Any) -> int:
        """One record as a batch."""
        return self.write((key.encode(), None if value is None else value.encode()), **how)

    def end(self, producer_id: int, *, commit: bool, bump: bool = False) -> None:
        """The producer's transaction ends; `bump`: with the next epoch, as KIP-890 has it."""
        if bump:
            self._epochs[producer_id] = self._epochs.get(producer_id, 0) + 1
            self._sequences[producer_id] = 0
        marker = end_transaction_batch(
            commit=commit,
            base_offset=0,
            timestamp=self.clock.time_ms(),
            leader_epoch=_EPOCH,
            producer_id=producer_id,
            producer_epoch=self._epochs.get(producer_id, 0),
            coordinator_epoch=0,
        )
        result = self.log.append_as_leader(marker, _EPOCH, now_ms=self.clock.time_ms(), origin="coordinator")
        assert result.error is ErrorCode.NONE, result
        offsets = self.open_transactions.pop(producer_id, [])
        if not commit:
            self.aborted.update(offsets)
        self.log.update_high_watermark(self.log.log_end_offset)

    def roll(self) -> None:
        if self.log.active.size:
            self.log.roll()

    def compact(self, *, first_dirty: int = 0, map_bytes: int = 1 << 20) -> Result | None:
        """One whole round, step after step; None where there is nothing to clean."""
        due = assess(self.log, first_dirty, self.clock.time_ms())
        if due is None:
            return None
        steps = Round(due, self.clock.time_ms(), Limits(map_bytes, 700)).steps()
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result = stop.value
                assert isinstance(result, Result)
                return result
            step()

    def reopen(self, *, clean: bool = True) -> None:
        """Close the log and open it again; not `clean`: as after a crash that lost nothing."""
        end, start = self.log.log_end_offset, self.log.log_start_offset
        if clean:
            self.log.close()
        else:
            self.log.abandon()
        self.log = Log.open(
            self.directory, self.config, self.disk, self.clock, clean=clean, log_start_offset=start, high_watermark=end
        )
        assert self.log.log_end_offset == end

    # What is there.
    def batches(self) -> list[RecordBatch]:
        """Every batch in the log, by reading it to its end."""
        found: list[RecordBatch] = []
        offset = self.log.log_start_offset
        while offset < self.log.log_end_offset:
            result = self.log.read(offset, 1_500)
            result = result if result.cold is None else result.cold()
            assert result.error is ErrorCode.NONE
            assert result.next_offset > offset
            found += [batch for batch in iterate_batches(bytes(result.records)) if batch.last_offset >= offset]
            offset = result.next_offset
        return found

    def data(self) -> list[Record]:
        """Every data record in the log."""
        return [record for batch in self.batches() if not batch.is_control for record in read_records(batch)]

    def offsets(self) -> list[int]:
        return [record.offset for record in self.data()]

    def committed(self) -> list[Record]:
        """What a read_committed consumer sees."""
        stable = self.log.last_stable_offset
        upcoming = sorted(self.log.aborted_transactions(0, stable), key=lambda aborted: aborted.first_offset)
        aborting: set[int] = set()
        seen: list[Record] = []
        for batch in self.batches():
            if batch.last_offset >= stable:
                break
            while upcoming and upcoming[0].first_offset <= batch.last_offset:
                aborting.add(upcoming.pop(0).producer_id)
            if batch.is_control:
                if batch.record_count and control_type(batch) is ControlType.ABORT:
                    aborting.discard(batch.producer_id)
            elif not (batch.is_transactional and batch.producer_id in aborting):
                seen += read_records(batch)
        return seen

    def state(self) -> dict[bytes, bytes]:
        """The newest committed value of each key."""
        state: dict[bytes, bytes] = {}
        for record in self.committed():
            if record.key is None:
                continue
            if record.value is None:
                state.pop(record.key, None)
            else:
                state[record.key] = record.value
        return state

    # What has to be left.
    def survivors(self, upper: int, *, tombstones: bool) -> list[int]:
        """The offsets of the data records that one round up to `upper` leaves, by the plain rule."""
        newest: dict[bytes, int] = {}
        for record in self.written:
            if record.offset < upper and record.offset not in self.aborted and record.key is not None:
                newest[record.key] = record.offset
        return [
            record.offset
            for record in self.written
            if record.offset >= upper
            or (
                record.offset not in self.aborted
                and record.key is not None
                and newest[record.key] == record.offset
                and (tombstones or record.value is not None)
            )
        ]


def assert_indexes_agree(log: Log) -> None:
    """Every index entry points at a batch, and says of it what is true."""
    for segment in log.segments:
        starts: dict[int, tuple[int, int]] = {}
        largest = -1
        for position, header, _ in segment.batches():
            largest = max(largest, header[8])
            starts[position] = (header[0] + header[6], largest)
        for last_offset, position in segment.offset_index.all():
            assert starts[position][0] == last_offset
        by_offset = dict(starts.values())
        for timestamp, offset in segment.time_index.all():
            assert by_offset[offset] == timestamp
