"""Producer snapshots: `<offset>.snapshot`, the state of all producers below an offset (version 1 of Kafka's format).

Owns the format (int16 version, uint32 CRC-32C of the rest, int32 count, 46 bytes a producer) and which snapshot files a
log's directory has. Knows nothing of segments.

Invariants: a snapshot whose CRC does not fit does not exist; at most one per offset.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING

from blumfeld.protocol.checksum import crc32c
from blumfeld.storage.producers import Producer, ProducerStates, WrittenBatch

if TYPE_CHECKING:
    from blumfeld.env.disk import Disk

_logger = logging.getLogger(__name__)

SUFFIX = ".snapshot"
VERSION = 1
_HEADER = Struct(">hIi")
_ENTRY = Struct(">qhiqiqiq")
_ENTRIES_AT = 6


class CorruptSnapshot(ValueError):
    """Not a producer snapshot, or a damaged one."""


def encode(producers: list[Producer]) -> bytes:
    """The file's bytes."""
    body = b"".join([_ENTRY.pack(*producer.as_tuple()) for producer in producers])
    data = bytearray(_HEADER.pack(VERSION, 0, len(producers)) + body)
    data[2:6] = crc32c(memoryview(data)[_ENTRIES_AT:]).to_bytes(4, "big")
    return bytes(data)


def decode(data: bytes) -> list[Producer]:
    """The producers of a snapshot. Raises `CorruptSnapshot`."""
    if len(data) < _HEADER.size:
        raise CorruptSnapshot(f"{len(data)} bytes are too few")
    version, crc, count = _HEADER.unpack_from(data)
    if version != VERSION:
        raise CorruptSnapshot(f"version {version} is not {VERSION}")
    if crc32c(memoryview(data)[_ENTRIES_AT:]) != crc:
        raise CorruptSnapshot("the CRC does not fit")
    if len(data) != _HEADER.size + count * _ENTRY.size:
        raise CorruptSnapshot(f"{len(data)} bytes do not hold {count} producers")
    return [_producer(*fields) for fields in _ENTRY.iter_unpack(memoryview(data)[_HEADER.size :])]


def _producer(
    producer_id: int,
    epoch: int,
    last_sequence: int,
    last_offset: int,
    offset_delta: int,
    timestamp: int,
    coordinator_epoch: int,
    txn_first_offset: int,
) -> Producer:
    producer = Producer(producer_id)
    producer.epoch = epoch
    producer.coordinator_epoch = coordinator_epoch
    producer.last_timestamp = timestamp
    producer.txn_first_offset = txn_first_offset
    if last_offset >= 0:
        first = -1 if last_sequence < 0 else (last_sequence - offset_delta) & 0x7FFFFFFF
        producer.batches.append(WrittenBatch(first, last_sequence, last_offset, offset_delta, timestamp))
    return producer


class Snapshots:
    """The snapshot files of one log. The log's owner writes them; a thread may `remove` one meanwhile."""

    __slots__ = ("_disk", "_lock", "directory", "offsets")

    def __init__(self, disk: Disk, directory: str, offsets: list[int]) -> None:
        self._disk = disk
        self._lock = threading.Lock()
        self.directory = directory
        self.offsets = sorted(offsets)

    def path(self, offset: int) -> str:
        """Where the snapshot at `offset` is."""
        return f"{self.directory}/{offset:020}{SUFFIX}"

    def write(self, states: ProducerStates, *, sync: bool = False) -> bool:
        """Write the state at its end, unless there is a snapshot as new; whether a file was written."""
        offset = states.end_offset
        if offset <= states.snapshot_offset:
            return False
        self._disk.write_file_atomically(self.path(offset), encode(list(states.by_id.values())), sync)
        with self._lock:
            self.offsets = sorted({*self.offsets, offset})
        states.snapshot_offset = offset
        return True

    def load(self, states: ProducerStates, limit: int, lowest: int) -> None:
        """Restore the newest intact snapshot at or below `limit`; without one the state is empty at `lowest`."""
        for offset in [offset for offset in reversed(self.offsets) if offset <= limit]:
            try:
                producers = decode(self._disk.read_file(self.path(offset)))
            except (CorruptSnapshot, FileNotFoundError) as error:
                _logger.warning("%s is passed over: %s", self.path(offset), error)
                self.remove(offset)
                continue
            states.restore(producers, offset)
            states.snapshot_offset = offset
            return
        states.clear(lowest)

    def remove(self, offset: int) -> None:
        """Delete one snapshot; a missing file is fine."""
        with self._lock:
            self.offsets = [other for other in self.offsets if other != offset]
        with suppress(FileNotFoundError):
            self._disk.remove(self.path(offset))

    def remove_above(self, offset: int) -> bool:
        """Delete the snapshots above `offset`; whether there were any."""
        gone = [other for other in self.offsets if other > offset]
        for other in gone:
            self.remove(other)
        return bool(gone)

    def remove_below(self, offset: int) -> None:
        """Delete the snapshots below `offset`: the batches between them and the log's first segment are gone."""
        for other in [other for other in self.offsets if other < offset]:
            self.remove(other)

    def remove_stray(self, base_offsets: set[int], end_offset: int) -> None:
        """Keep those at segments' bases and the newest one; one above the log's end goes too."""
        newest = max((offset for offset in self.offsets if offset <= end_offset), default=-1)
        for offset in self.offsets:
            if offset > end_offset or (offset not in base_offsets and offset != newest):
                self.remove(offset)
