"""Record batch v2 as a view over bytes: read its header, check its CRC, patch offset, epoch and time.

Owns the 61-byte header (KIP-98; `docs/protocol.md` has the layout). Never opens records: that is
`records.py`, which few modules may import. A view copies nothing and remembers its buffer.

Invariants: a `RecordBatch` lies wholly inside its buffer and has magic 2; its CRC, counts and offsets are
whatever the bytes say, until the caller checks them. The CRC covers attributes to the end, so that base
offset and leader epoch are patched without hashing again.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, pack_into
from struct import error as struct_error
from typing import Final

from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.primitives import Buffer

HEADER: Final = Struct(">qiibIhiqqqhii")
"""The whole header, for those who walk many: base offset, length, epoch, magic, CRC, attributes, …"""
_PREFIX: Final = Struct(">qi")

HEADER_SIZE: Final = HEADER.size
"""Bytes before the records."""
PREFIX_SIZE: Final = _PREFIX.size
"""Base offset and length field, which that length does not count."""
MAGIC: Final = 2

_MAGIC_AT: Final = 16
CRC_AT: Final = 17
ATTRIBUTES_AT: Final = 21
_MAX_TIMESTAMP_AT: Final = 35

CODEC_MASK: Final = 0x07
APPEND_TIME_FLAG: Final = 0x08
TRANSACTIONAL_FLAG: Final = 0x10
CONTROL_FLAG: Final = 0x20
DELETE_HORIZON_FLAG: Final = 0x40

NO_PRODUCER_ID: Final = -1
NO_SEQUENCE: Final = -1
_MAX_SEQUENCE: Final = 0x7FFFFFFF


class CorruptBatch(ProtocolError):
    """Bytes that should be a record batch are none: cut off, or garbage."""


class UnsupportedMagic(CorruptBatch):
    """A record set in a format older or newer than magic 2."""


class RecordBatch:
    """The batch at `position` of `buffer`, its header read once."""

    __slots__ = (
        "attributes",
        "base_offset",
        "base_sequence",
        "base_timestamp",
        "buffer",
        "crc",
        "last_offset_delta",
        "leader_epoch",
        "length",
        "magic",
        "max_timestamp",
        "position",
        "producer_epoch",
        "producer_id",
        "record_count",
    )

    buffer: Buffer
    position: int
    base_offset: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int
    length: int
    """The whole batch in bytes, the 12 before the length field's count included."""
    base_timestamp: int
    """Of the first record, in ms; the delete horizon where that flag is set."""

    def __init__(self, buffer: Buffer, position: int = 0) -> None:
        """Raises CorruptBatch unless a whole batch of magic 2 starts at `position`."""
        self.buffer = buffer
        self.position = position
        try:
            (
                self.base_offset,
                length,
                self.leader_epoch,
                self.magic,
                self.crc,
                self.attributes,
                self.last_offset_delta,
                self.base_timestamp,
                self.max_timestamp,
                self.producer_id,
                self.producer_epoch,
                self.base_sequence,
                self.record_count,
            ) = HEADER.unpack_from(buffer, position)
        except struct_error:
            raise _why_not_a_header(buffer, position) from None
        self.length = length = length + PREFIX_SIZE
        if self.magic != MAGIC:
            raise UnsupportedMagic(f"record format {self.magic}, only {MAGIC} is supported")
        if length < HEADER_SIZE:
            raise CorruptBatch(f"a batch of {length} bytes is shorter than its header")
        if length > len(buffer) - position:
            raise CorruptBatch(f"a batch of {length} bytes, of which {len(buffer) - position} are there")

    def __repr__(self) -> str:
        return (
            f"RecordBatch({self.base_offset}…{self.last_offset}, {self.record_count} records, "
            f"{self.length} bytes, epoch {self.leader_epoch}, attributes {self.attributes:#x})"
        )

    @property
    def view(self) -> memoryview:
        """The batch's bytes, uncopied."""
        return memoryview(self.buffer)[self.position : self.position + self.length]

    @property
    def payload(self) -> memoryview:
        """The records' bytes, uncopied and unopened (compressed, where `codec` says so)."""
        return memoryview(self.buffer)[self.position + HEADER_SIZE : self.position + self.length]

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """Sequences wrap round to 0 after 2³¹−1."""
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return (self.base_sequence + self.last_offset_delta) & _MAX_SEQUENCE

    @property
    def codec(self) -> int:
        """A `compression.Codec`, if it is one."""
        return self.attributes & CODEC_MASK

    @property
    def timestamp_type(self) -> int:
        """0: the producer's time (CreateTime); 1: the broker's (LogAppendTime)."""
        return (self.attributes & APPEND_TIME_FLAG) >> 3

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL_FLAG != 0

    @property
    def is_control(self) -> bool:
        return self.attributes & CONTROL_FLAG != 0

    @property
    def has_producer_id(self) -> bool:
        """Whether an idempotent or transactional producer wrote it."""
        return self.producer_id != NO_PRODUCER_ID

    @property
    def delete_horizon(self) -> int | None:
        """When compaction may drop the batch's tombstones or markers, in ms (KIP-534)."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON_FLAG else None

    def is_valid_crc(self) -> bool:
        """Whether the bytes after the CRC field are those that were hashed."""
        return crc32c(self.view[ATTRIBUTES_AT:]) == self.crc


def iterate_batches(buffer: Buffer, position: int = 0, *, torn_tail: bool = False) -> Iterator[RecordBatch]:
    """The batches that fill `buffer` from `position` on.

    torn_tail: an incomplete batch at the end ends the iteration (a fetch response may be cut anywhere).
    Raises CorruptBatch on anything else that is not a batch.
    """
    end = len(buffer)
    while position < end:
        if torn_tail and is_torn(buffer, position):
            return
        batch = RecordBatch(buffer, position)
        yield batch
        position += batch.length


def is_torn(buffer: Buffer, position: int = 0) -> bool:
    """Whether what starts at `position` may be a batch that the buffer's end cuts off."""
    available = len(buffer) - position
    if available < PREFIX_SIZE:
        return True
    length: int = _PREFIX.unpack_from(buffer, position)[1]
    return available < length + PREFIX_SIZE


def set_offset_and_epoch(
    buffer: bytearray | memoryview, base_offset: int, leader_epoch: int, position: int = 0
) -> None:
    """Patch the batch at `position` as its leader does on append. The CRC stays valid."""
    pack_into(">q", buffer, position, base_offset)
    pack_into(">i", buffer, position + PREFIX_SIZE, leader_epoch)


def set_append_time(buffer: bytearray | memoryview, timestamp_ms: int, position: int = 0) -> None:
    """Give the batch at `position` the broker's time (LogAppendTime) and the CRC that goes with it."""
    attributes = RecordBatch(buffer, position).attributes | APPEND_TIME_FLAG
    _set_times(buffer, attributes, timestamp_ms, position)


def set_max_timestamp(buffer: bytearray | memoryview, timestamp_ms: int, position: int = 0) -> None:
    """Correct the batch's largest timestamp (CreateTime) and its CRC."""
    attributes = RecordBatch(buffer, position).attributes & ~APPEND_TIME_FLAG
    _set_times(buffer, attributes, timestamp_ms, position)


def _set_times(buffer: bytearray | memoryview, attributes: int, timestamp_ms: int, position: int) -> None:
    pack_into(">h", buffer, position + ATTRIBUTES_AT, attributes)
    pack_into(">q", buffer, position + _MAX_TIMESTAMP_AT, timestamp_ms)
    batch = RecordBatch(buffer, position)
    pack_into(">I", buffer, position + CRC_AT, crc32c(batch.view[ATTRIBUTES_AT:]))


def _why_not_a_header(buffer: Buffer, position: int) -> CorruptBatch:
    available = len(buffer) - position
    if available > _MAGIC_AT and buffer[position + _MAGIC_AT] != MAGIC:
        return UnsupportedMagic(f"record format {buffer[position + _MAGIC_AT]}, only {MAGIC} is supported")
    return CorruptBatch(f"{available} bytes are too few for a batch")
