"""Walking over the batches of a data file, header by header, in large reads.

Owns how to find one batch after another and when to stop. Never opens records and, unless asked, hashes nothing.

Invariant: what is yielded is a whole batch of magic 2 that lies below `end`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from blumfeld.protocol.batch import HEADER, HEADER_SIZE, MAGIC, PREFIX_SIZE

if TYPE_CHECKING:
    from blumfeld.env.disk import Buffer

CHUNK_BYTES = 1 << 20

HeaderFields = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]
"""The 61 bytes in order: base offset, length, leader epoch, magic, CRC, attributes, last offset delta, base timestamp,
max timestamp, producer id, producer epoch, base sequence, record count. `length` does not count the first 12 bytes."""


class Readable(Protocol):
    """What a walk needs of a file."""

    def read_at(self, position: int, size: int) -> Buffer:
        """`File.read_at`."""
        ...


class BadBatch(Exception):
    """What is at `position` is no whole batch."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"at byte {position}: {reason}")
        self.position = position
        self.reason = reason


def scan(
    file: Readable, start: int, end: int, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[tuple[int, HeaderFields, memoryview]]:
    """(position, header, whole batch) of each batch from `start` up to `end`.

    Raises `BadBatch` where something that is no batch, or one that `end` cuts off, comes before `end`.
    """
    unpack = HEADER.unpack_from
    position = start
    while position < end:
        chunk = memoryview(file.read_at(position, min(chunk_bytes, end - position)))
        available = len(chunk)
        at = 0
        while available - at >= HEADER_SIZE:
            header = unpack(chunk, at)
            size = header[1] + PREFIX_SIZE
            if size < HEADER_SIZE or header[3] != MAGIC:
                raise BadBatch(position + at, f"no batch (length {size}, magic {header[3]})")
            if at + size > available:
                break
            yield position + at, header, chunk[at : at + size]
            at += size
        if at:
            position += at
            continue
        if available < HEADER_SIZE:
            raise BadBatch(position, f"{available} bytes are too few for a batch")
        size = unpack(chunk, 0)[1] + PREFIX_SIZE
        if position + size > end or available < min(chunk_bytes, end - position):
            raise BadBatch(position, f"a batch of {size} bytes is cut off by the end of the file at {end}")
        whole = memoryview(file.read_at(position, size))
        if len(whole) < size:
            raise BadBatch(position, f"a batch of {size} bytes, of which {len(whole)} are there")
        yield position, unpack(whole, 0), whole
        position += size
