"""Builders with verbs: batches as clients make them, a log that is opened, killed and reopened, and what to assert."""

from __future__ import annotations

from dataclasses import replace
from struct import pack_into
from typing import Any

from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Buffer, Disk
from blumfeld.protocol.batch import ATTRIBUTES_AT, CRC_AT, HEADER_SIZE, PREFIX_SIZE, RecordBatch, iterate_batches
from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.primitives import encode_varint
from blumfeld.protocol.records import Record, build_batch, end_transaction_batch, read_records
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig
from blumfeld.storage.log_directory import LogDirectory
from blumfeld.storage.results import AppendResult, ReadResult, TimestampOffset

NOW = 1_700_000_000_000


def batch(
    *values: bytes,
    count: int = 1,
    key: bytes | None = b"k",
    timestamp: int = NOW,
    base_offset: int = 0,
    **options: Any,
) -> bytearray:
    """A batch as a client sends it: `values`, or `count` records of their own number."""
    contents = values or tuple(b"%d" % number for number in range(count))
    records = [Record(base_offset + i, timestamp, key, value) for i, value in enumerate(contents)]
    return bytearray(build_batch(records, base_offset=base_offset, **options))


def sized_batch(size: int, **options: Any) -> bytearray:
    """A batch of one record that has exactly `size` bytes."""
    value = size - len(batch(b"", **options))
    while True:
        data = batch(bytes(value), **options)
        if len(data) == size:
            return data
        value -= max(len(data) - size, 1)


def far_future() -> bytearray:
    """A batch whose header says that it is of now, and whose record's time 64 bits do not hold."""
    data = bytearray(build_batch([Record(0, NOW, b"k", None)]))
    payload = data[HEADER_SIZE:]
    body = payload[1:2] + encode_varint(2**63 - 1) + payload[3:]
    data[HEADER_SIZE:] = encode_varint(len(body)) + body
    pack_into(">i", data, 8, len(data) - PREFIX_SIZE)
    pack_into(">I", data, CRC_AT, crc32c(bytes(data[ATTRIBUTES_AT:])))
    return data


def marker(
    *, commit: bool, producer_id: int, producer_epoch: int = 0, coordinator_epoch: int = 0, timestamp: int = NOW
) -> bytearray:
    """The marker that ends a transaction."""
    return bytearray(
        end_transaction_batch(
            commit=commit,
            base_offset=0,
            timestamp=timestamp,
            leader_epoch=-1,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            coordinator_epoch=coordinator_epoch,
        )
    )


def offsets(records: Buffer) -> list[int]:
    """The offsets of all records in whole batches."""
    return [record.offset for batch in iterate_batches(records) for record in read_records(batch)]


def ranges(records: Buffer) -> list[tuple[int, int]]:
    """(first, last offset) of each batch."""
    return [(batch.base_offset, batch.last_offset) for batch in iterate_batches(records)]


def look_up(log: Log, timestamp: int | None) -> TimestampOffset | None:
    """The first record at or after a time (None: the one with the largest), waiting for the device where needed."""
    result = log.offset_of_max_timestamp() if timestamp is None else log.offset_for_timestamp(timestamp)
    if result.cold is not None:
        result = result.cold()
    assert result.cold is None
    assert result.error is ErrorCode.NONE, result
    return result.found


def keeps_deleted_files(disk: Disk) -> bool:
    """Whether deleted files wait for file.delete.delay.ms; where they are memory, the room is wanted at once."""
    return not getattr(disk, "volatile", False)


class LogBench:
    """One log on one disk, and what happens to it."""

    def __init__(self, disk: Disk, clock: ManualClock, root: str) -> None:
        self.disk = disk
        self.clock = clock
        self.root = root
        self.directory = f"{root}/topic-0"
        self.config = LogConfig(segment_bytes=1 << 20)
        self._log: Log | None = None
        self._homes: list[LogDirectory] = []

    @property
    def log(self) -> Log:
        """The log, opened when first asked for."""
        if self._log is None:
            self.open()
        assert self._log is not None
        return self._log

    def configure(self, **settings: Any) -> LogBench:
        """Settings of the log, from now on."""
        self.config = replace(self.config, **settings)
        if self._log is not None:
            self._log.update_config(self.config)
        return self

    def open(self, **options: Any) -> Log:
        """Open the log, by default as after a crash."""
        home = LogDirectory(self.root, self.disk, self.clock, max_open_files=options.pop("max_open_files", 16))
        self._homes.append(home)
        self._log = Log.open(self.directory, self.config, self.disk, self.clock, home=home, **options)
        return self._log

    def kill(self) -> None:
        """The process is gone; what was written to the files stays."""
        if self._log is not None:
            self._log.abandon()
        self._log = None

    def reopen(self, **options: Any) -> Log:
        """After `kill -9`."""
        self.kill()
        return self.open(**options)

    def restart(self, **options: Any) -> Log:
        """After a clean stop."""
        high_watermark = self.log.high_watermark
        start = self.log.log_start_offset
        self.log.close()
        return self.open(**{"clean": True, "high_watermark": high_watermark, "log_start_offset": start, **options})

    def stop(self) -> None:
        """Give every handle back, and check that there was none too many."""
        self.kill()
        for home in self._homes:
            assert len(home.open_files) == 0, "data files are still open"

    # Verbs.
    def append(
        self, data: Buffer | None = None, *, epoch: int = 0, origin: Any = "client", **options: Any
    ) -> AppendResult:
        """Append as leader; fails the test where it is refused."""
        result = self.try_append(batch() if data is None else data, epoch=epoch, origin=origin, **options)
        assert result.error is ErrorCode.NONE, result
        return result

    def try_append(self, data: Buffer, *, epoch: int = 0, origin: Any = "client", **options: Any) -> AppendResult:
        """Append as leader."""
        return self.log.append_as_leader(data, epoch, now_ms=self.clock.time_ms(), origin=origin, **options)

    def fill(self, batches: int, *, size: int = 1000, epoch: int = 0) -> None:
        """Append that many batches of one record each."""
        data = bytes(sized_batch(size, timestamp=self.clock.time_ms()))
        for _ in range(batches):
            self.append(bytearray(data), epoch=epoch)

    def follow(self, data: Buffer) -> AppendResult:
        """Append as follower; fails the test where it is refused."""
        result = self.log.append_as_follower(data)
        assert result.error is ErrorCode.NONE, result
        return result

    def commit(self) -> None:
        """Everything is replicated."""
        self.log.update_high_watermark(self.log.log_end_offset)

    def read(self, offset: int, max_bytes: int = 1 << 20, **options: Any) -> ReadResult:
        """Read, waiting for the device where needed."""
        result = self.log.read(offset, max_bytes, **options)
        return result.cold() if result.cold is not None else result

    def look_up(self, timestamp: int | None) -> TimestampOffset | None:
        """`look_up` here."""
        return look_up(self.log, timestamp)

    def read_all(self, start: int | None = None, max_bytes: int = 1 << 20) -> list[int]:
        """The offsets of everything from `start` (default: the log's start) on."""
        offset = self.log.log_start_offset if start is None else start
        found: list[int] = []
        while True:
            result = self.read(offset, max_bytes)
            assert result.error is ErrorCode.NONE, result
            if not len(result.records):
                return found
            found += [o for o in offsets(result.records) if o >= offset]
            assert result.next_offset > offset
            offset = result.next_offset

    def names(self) -> list[str]:
        """The files of the log's directory."""
        return self.disk.list(self.directory)

    def bytes_of(self, name: str) -> bytes:
        """A file's contents."""
        return self.disk.read_file(f"{self.directory}/{name}")

    def overwrite(self, name: str, position: int, data: bytes) -> None:
        """Damage a file."""
        file = self.disk.open(f"{self.directory}/{name}")
        file.write_at(position, data)
        file.close()

    def cut(self, name: str, size: int) -> None:
        """Cut a file short."""
        file = self.disk.open(f"{self.directory}/{name}")
        file.truncate(size)
        file.close()

    def write(self, name: str, data: bytes) -> None:
        """Put a file there."""
        self.disk.write_file_atomically(f"{self.directory}/{name}", data)


def first_batch(data: Buffer) -> RecordBatch:
    """The first batch in `data`."""
    return RecordBatch(data)
