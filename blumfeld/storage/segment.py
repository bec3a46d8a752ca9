"""A segment: one data file of whole batches, with its sparse indexes.

Owns `<base>.log`, `.index`, `.timeindex`, `.txnindex`, what is appended to and read from them, and the largest
timestamp. Knows nothing of other segments, high watermarks and validation.

Invariants
- `size` bytes of the file are whole batches with ascending offsets ≥ `base_offset`; readers never go beyond `size`.
- An index entry is added after its batch, and only when more than index.interval.bytes passed since the last one.
- Indexes may lack entries (they are sparse) but have none that is wrong; a missing or corrupt one is built again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from blumfeld.storage.files import DataFile
from blumfeld.storage.index import MAX_RELATIVE_OFFSET, CorruptIndex, OffsetIndex, TimeIndex
from blumfeld.storage.scan import BadBatch, HeaderFields, scan
from blumfeld.storage.txn_index import TransactionIndex

if TYPE_CHECKING:
    from blumfeld.env.disk import Buffer
    from blumfeld.storage.log_config import LogConfig
    from blumfeld.storage.log_directory import LogDirectory

_logger = logging.getLogger(__name__)

LOG_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"
TXN_INDEX_SUFFIX = ".txnindex"
SUFFIXES = (LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX)
MAX_SEGMENT_BYTES = 2**31 - 1


class Segment:
    """One segment. `max_timestamp` is −1 without records; it is looked up in the time index when first asked for."""

    __slots__ = (
        "_created_ms",
        "_first_timestamp",
        "_max_timestamp",
        "_offset_of_max_timestamp",
        "_since_index",
        "base_offset",
        "config",
        "data",
        "full",
        "home",
        "offset_index",
        "roll_jitter_ms",
        "size",
        "time_index",
        "txn_index",
    )

    def __init__(
        self,
        home: LogDirectory,
        directory: str,
        base_offset: int,
        config: LogConfig,
        *,
        size: int = 0,
        new: bool = True,
        has_txn_index: bool = False,
        suffix: str = "",
    ) -> None:
        """`new`: there are no files yet (`create` makes the data file); `suffix`: `.cleaned` or `.swap` ones."""
        self.home = home
        self.base_offset = base_offset
        self.config = config
        self.size = size
        path = f"{directory}/{base_offset:020}"
        self.data = DataFile(home.open_files, path + LOG_SUFFIX + suffix)
        indexes, index_bytes = home.loaded_indexes, config.segment_index_bytes
        self.offset_index = OffsetIndex(indexes, path + INDEX_SUFFIX + suffix, base_offset, index_bytes, new=new)
        self.time_index = TimeIndex(indexes, path + TIME_INDEX_SUFFIX + suffix, base_offset, index_bytes, new=new)
        self.txn_index = TransactionIndex(home.disk, path + TXN_INDEX_SUFFIX + suffix, exists=has_txn_index)
        self.full = False
        """Whether an index has no room left, so that the segment has to be rolled."""
        jitter = min(config.segment_jitter_ms, config.roll_ms)
        self.roll_jitter_ms = home.jitter(jitter) if jitter > 0 and home.jitter is not None else 0
        self._created_ms = home.clock.time_ms()
        self._first_timestamp: int | None = None
        self._max_timestamp: int | None = -1 if size == 0 else None
        self._offset_of_max_timestamp = base_offset
        self._since_index = 0

    def __repr__(self) -> str:
        return f"Segment({self.data.path}, {self.size} bytes)"

    def create(self) -> None:
        """Make the data file, empty."""
        file = self.data.use(create=True)
        try:
            file.truncate(0)
            if self.config.preallocate:
                file.preallocate(min(self.config.segment_bytes, MAX_SEGMENT_BYTES))
        except OSError:
            self.data.close()
            raise

    # Timestamps.
    @property
    def max_timestamp(self) -> int:
        """The largest timestamp of its records, −1 if there are none."""
        if self._max_timestamp is None:
            self._load_max_timestamp()
        assert self._max_timestamp is not None
        return self._max_timestamp

    @property
    def known_max_timestamp(self) -> int | None:
        """`max_timestamp`, or None where it would have to be looked up."""
        return None if self.time_index.held else self._max_timestamp

    @property
    def offset_of_max_timestamp(self) -> int:
        """The last offset of the (first) batch that has it."""
        if self._max_timestamp is None:
            self._load_max_timestamp()
        return self._offset_of_max_timestamp

    def _load_max_timestamp(self) -> None:
        try:
            timestamp, offset = self.time_index.last()
        except CorruptIndex as error:
            self.rebuild_indexes(error)
            timestamp, offset = self.time_index.last()
        self.set_max_timestamp(timestamp, offset)

    def set_max_timestamp(self, timestamp: int, offset: int) -> None:
        """Say what a scan has found."""
        self._offset_of_max_timestamp = offset
        self._max_timestamp = timestamp

    @property
    def largest_timestamp(self) -> int:
        """What retention by time goes by: `max_timestamp`, or when the file was last written if no record has one."""
        timestamp = self.max_timestamp
        if timestamp >= 0:
            return timestamp
        with self.home.lock:  # not while a thread is renaming it
            return self.home.disk.modified_ms(self.data.path)

    @property
    def first_timestamp(self) -> int:
        """The largest timestamp of its first batch, −1 if there is none. May wait for the device."""
        return self._first_timestamp if self._first_timestamp is not None else self._load_first_timestamp()

    # Appending.
    def append(self, parts: Buffer | list[Buffer], size: int, last_offset: int, max_timestamp: int) -> int:
        """Write one batch of `size` bytes; returns its position."""
        data = self.data
        data.recent = True
        file = data.file
        if file is None:
            file = data.use()
        position = self.size
        if file.size == position:
            file.append(parts)
        else:  # the rest of the file is preallocated
            file.write_at(position, b"".join(parts) if isinstance(parts, list) else parts)
        self.size = position + size
        self.note(position, size, last_offset, max_timestamp)
        return position

    def append_batches(self, batches: Buffer, noted: list[tuple[int, int, int]]) -> int:
        """Write several batches in one go; `noted` holds (size, last offset, max timestamp) of each."""
        file = self.data.use()
        first = position = self.size
        if file.size == position:
            file.append(batches)
        else:
            file.write_at(position, batches)
        self.size = position + len(batches)
        for size, last_offset, max_timestamp in noted:
            self.note(position, size, last_offset, max_timestamp)
            position += size
        return first

    def note(self, position: int, size: int, last_offset: int, max_timestamp: int) -> None:
        """Count a batch that is in the file in: largest timestamp and, now and then, index entries."""
        if position == 0:
            self._first_timestamp = max_timestamp
        largest = self._max_timestamp
        if largest is None:
            largest = self.max_timestamp
        if max_timestamp > largest:
            self._max_timestamp = max_timestamp
            self._offset_of_max_timestamp = last_offset
        since = self._since_index
        if since > self.config.index_interval_bytes:
            self.offset_index.append(last_offset, position)
            self.time_index.append(self.max_timestamp, self._offset_of_max_timestamp)
            self.full = self.offset_index.full or self.time_index.full
            since = 0
        self._since_index = since + size

    def should_roll(self, size: int, last_offset: int, max_timestamp: int, now_ms: int) -> bool:
        """Whether batches of `size` bytes up to `last_offset` belong into a new segment."""
        own = self.size
        config = self.config
        if own == 0:
            return last_offset - self.base_offset > MAX_RELATIVE_OFFSET
        if own + size > config.segment_bytes or self.full or last_offset - self.base_offset > MAX_RELATIVE_OFFSET:
            return True
        first = self._first_timestamp
        if first is None:
            first = self._load_first_timestamp()
        waited = max_timestamp - first if first >= 0 else now_ms - self._created_ms
        return waited > config.roll_ms - self.roll_jitter_ms

    def _load_first_timestamp(self) -> int:
        first = -1
        try:
            for _, header, _ in scan(self.data.use(), 0, self.size, chunk_bytes=4096):
                first = header[8]
                break
        except BadBatch as error:
            _logger.error("%s is damaged %s", self.data.path, error)
        self._first_timestamp = first
        return first

    # Finding.
    def start_position(self, offset: int, at_once: int | None = None) -> tuple[int, int]:
        """`OffsetIndex.position_for`, building the indexes again where they are corrupt."""
        try:
            return self.offset_index.position_for(offset, at_once)
        except CorruptIndex as error:
            self.rebuild_indexes(error)
            return self.offset_index.position_for(offset)

    def find(self, offset: int) -> tuple[int, HeaderFields] | None:
        """Position and header of the batch that holds `offset` or is the first after it; None at the end."""
        start, _ = self.start_position(offset)
        for position, header, _ in scan(self.data.use(), start, self.size, chunk_bytes=16384):
            if header[0] + header[6] >= offset:
                return position, header
        return None

    def end_below(self, offset: int) -> int:
        """The offset after the last batch that lies wholly below `offset`; the base offset if none does."""
        start, _ = self.start_position(offset - 1)  # of a batch that ends below `offset`, where one is indexed
        end = self.base_offset
        for _, header, _ in scan(self.data.use(), start, self.size, chunk_bytes=16384):
            last = header[0] + header[6]
            if last >= offset:
                break
            end = last + 1
        return end

    def batches(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, HeaderFields, memoryview]]:
        """(position, header, whole batch) of the batches from position `start` on; `BadBatch` where damaged."""
        return scan(self.data.use(), start, self.size if end is None else end)

    def next_offset(self) -> int:
        """The offset after its last batch; the base offset while empty. Reads from the last index entry on."""
        if self.size == 0:
            return self.base_offset
        try:
            start = self.offset_index.last_position()
            if start >= self.size:
                raise CorruptIndex(f"{self.offset_index.path} points to byte {start} of {self.size}")
        except CorruptIndex as error:
            self.rebuild_indexes(error)
            start = self.offset_index.last_position()
        after = self.base_offset
        for _, header, _ in scan(self.data.use(), start, self.size, chunk_bytes=65536):
            after = header[0] + header[6] + 1
        return after

    # Changing.
    def truncate_to(self, offset: int) -> int:
        """Cut the file before the batch that holds or follows `offset`; returns where the records now end."""
        found = self.find(offset)
        try:
            self.time_index.truncate(offset)
        except CorruptIndex as error:
            self.rebuild_indexes(error)
            self.time_index.truncate(offset)
        self.offset_index.truncate(offset)
        self.txn_index.truncate(offset)
        self.full = False
        self._since_index = 0
        if found is not None:
            position, _ = found
            self.data.use().truncate(position)
            self.size = position
            if position == 0:
                self._first_timestamp = None
                self._created_ms = self.home.clock.time_ms()
            self._find_max_timestamp()
        return self.next_offset()

    def _find_max_timestamp(self) -> None:
        """What is the largest timestamp now: the time index knows up to its last entry, the rest is scanned."""
        timestamp, offset = self.time_index.last()
        start = self.offset_index.position_for(offset)[0]
        for _, header, _ in scan(self.data.use(), start, self.size):
            if header[8] > timestamp:
                timestamp, offset = header[8], header[0] + header[6]
        self.set_max_timestamp(timestamp, offset)

    def rebuild_indexes(self, reason: object) -> None:
        """Build the offset and time indexes from the data file."""
        _logger.warning("the indexes of %s are built again: %s", self.data.path, reason)
        self.offset_index.hold()
        self.time_index.hold()
        self.set_max_timestamp(-1, self.base_offset)
        self._since_index = 0
        try:
            for position, header, batch in scan(self.data.use(), 0, self.size):
                self.note(position, len(batch), header[0] + header[6], header[8])
        except BadBatch as error:
            _logger.error("%s is damaged %s", self.data.path, error)
        self.time_index.append(self.max_timestamp, self._offset_of_max_timestamp)
        self.offset_index.replace()
        self.time_index.replace()

    def start_over(self) -> None:
        """Forget what indexes and timestamps say: a recovery scan is about to `note` every batch again."""
        self.offset_index.reset()
        self.time_index.reset()
        self.txn_index.reset()
        self.full = False
        self._since_index = 0
        self._first_timestamp = None
        self.set_max_timestamp(-1, self.base_offset)

    def seal(self, *, sync: bool = False) -> None:
        """Nothing more is appended for now: the final time entry, index files cut to their entries."""
        if self.size:
            self.time_index.append(self.max_timestamp, self._offset_of_max_timestamp)
        self.offset_index.seal(sync=sync)
        self.time_index.seal(sync=sync)
        if sync:
            self.txn_index.sync()
        with self.data.pinned() as file:
            if file.size > self.size:  # preallocated
                file.truncate(self.size)
            if sync:  # a truncation is as good as undone until then
                file.sync()

    def sync(self) -> None:
        """Make everything of a sealed segment durable; from any thread."""
        with self.data.pinned() as file:
            file.sync()
        self.offset_index.sync()
        self.time_index.sync()
        self.txn_index.sync()

    def release(self) -> None:
        """Hold no handle and no index in memory."""
        self.data.close()
        self.offset_index.write()
        self.time_index.write()
        self.offset_index.release()
        self.time_index.release()

    # Names.
    def paths(self) -> list[str]:
        """Its files, the data file first; those that may be missing included."""
        return [self.data.path, self.offset_index.path, self.time_index.path, self.txn_index.path]

    def rename(self, old_suffix: str, new_suffix: str) -> list[str]:
        """Give all its files another suffix, the data file first; the new paths. From any thread."""
        disk = self.home.disk
        renamed = []
        with self.home.lock:  # whoever opens a file by its path holds it too
            for holder in (self.data, self.offset_index, self.time_index, self.txn_index):
                target = holder.path.removesuffix(old_suffix) + new_suffix
                try:
                    disk.rename(holder.path, target)
                except FileNotFoundError:
                    if holder is self.data:
                        raise
                else:
                    renamed.append(target)
                holder.path = target
        return renamed
