"""Cleaning one batch: which of its records a compaction keeps, and the batch that is left.

Owns the rules of Kafka's cleaner (KIP-58, KIP-98, KIP-534) and the rewriting of batches. Pure: bytes in, bytes out.
Records are copied as they are; only where a batch gets its delete horizon are their timestamps encoded anew.

A record stays if no newer one of its key is known, and it has a value or its batch's delete horizon has not come yet.
Data of aborted transactions go; a marker goes when nothing of its transaction is left and its own horizon has come. A
batch that has lost all its records stays, empty, where it is the last of a live producer (its sequence and epoch) or
the last of the round (where the log ended). A live producer without a data batch in its epoch keeps its marker whole
(Kafka empties it, and with it loses the epoch when the state is built again).

Invariants: offsets, producer, epochs and sequences of a batch never change; a batch that keeps everything is returned
byte for byte; cleaning what was cleaned at the same time changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from blumfeld.protocol.batch import (
    ATTRIBUTES_AT,
    CODEC_MASK,
    CRC_AT,
    DELETE_HORIZON_FLAG,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    PREFIX_SIZE,
    CorruptBatch,
    RecordBatch,
)
from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.compression import compress, decompress
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.primitives import Buffer, decode_unsigned_varint, decode_varint, decode_varlong, encode_varint
from blumfeld.storage.cleaned_transactions import CleanedTransactions
from blumfeld.storage.offset_map import SHORT_KEY, OffsetMap

MAX_UNPACKED_BYTES = 256 << 20
_BREATHS = 64
_SIGN = 1 << 63
_CRC = Struct(">I")


def _no_breath() -> None:
    """Nobody waits."""


class Cleaning:
    """One round over a log.

    `upper`: where the segment that is being written ends. `last_batches`: of each live producer, the last offset of its
    newest data batch (−1 if it has none) and its epoch. `breathe` is called often, so that other threads get their
    turn.
    """

    __slots__ = (
        "breathe",
        "delete_retention_ms",
        "last_batches",
        "now_ms",
        "offsets",
        "records_kept",
        "records_read",
        "transactions",
        "upper",
    )

    def __init__(
        self,
        offsets: OffsetMap,
        transactions: CleanedTransactions,
        last_batches: dict[int, tuple[int, int]],
        *,
        upper: int,
        now_ms: int,
        delete_retention_ms: int,
        breathe: Callable[[], None] = _no_breath,
    ) -> None:
        self.offsets = offsets
        self.transactions = transactions
        self.last_batches = last_batches
        self.upper = upper
        self.now_ms = now_ms
        self.delete_retention_ms = delete_retention_ms
        self.breathe = breathe
        self.records_read = 0
        self.records_kept = 0

    def clean(self, batch: RecordBatch) -> Buffer | None:
        """What is left of `batch`: its own bytes if all is, None if nothing is. Raises ProtocolError."""
        self.breathe()
        self.records_read += batch.record_count
        if batch.is_control:
            return self._clean_control(batch)
        if self.transactions.meet_data(batch):
            return self._emptied(batch)
        if not batch.record_count:
            return batch.view if self._must_stay(batch) else None
        if batch.base_offset > self.offsets.latest_offset:
            self.records_kept += batch.record_count
            return batch.view
        return self._clean_data(batch)

    def _clean_control(self, batch: RecordBatch) -> Buffer | None:
        if not self.transactions.meet_control(batch):
            self.records_kept += batch.record_count
            return batch.view
        horizon = batch.delete_horizon
        if not batch.record_count or (horizon is not None and horizon <= self.now_ms):
            return batch.view if self._is_last_marker(batch) else self._emptied(batch)
        self.records_kept += batch.record_count
        if horizon is not None:
            return batch.view
        payload = bytes(decompress(batch.codec, batch.payload, MAX_UNPACKED_BYTES))
        pieces = [payload[start:end] for _, _, _, start, end in read_slices(payload, batch.record_count)]
        return self._rebuilt(batch, pieces, needs_horizon=True)

    def _clean_data(self, batch: RecordBatch) -> Buffer | None:
        payload = bytes(decompress(batch.codec, batch.payload, MAX_UNPACKED_BYTES))
        horizon = batch.delete_horizon
        keep_tombstones = horizon is None or self.now_ms < horizon
        base_offset, latest = batch.base_offset, self.offsets.latest_offset
        newest, short = self.offsets.get, self.offsets.offsets.get
        pieces = []
        tombstones = False
        for count, (delta, key, has_value, start, end) in enumerate(read_slices(payload, batch.record_count)):
            if not count % _BREATHS:
                self.breathe()
            offset = base_offset + delta
            if offset <= latest:
                if key is None or not (has_value or keep_tombstones):
                    continue
                if offset < (short(key, -1) if len(key) < SHORT_KEY else newest(key)):
                    continue
            pieces.append(payload[start:end])
            tombstones = tombstones or not has_value
        if not pieces:
            return self._emptied(batch)
        self.records_kept += len(pieces)
        needs_horizon = tombstones and horizon is None
        if len(pieces) == batch.record_count and not needs_horizon:
            return batch.view
        return self._rebuilt(batch, pieces, needs_horizon=needs_horizon)

    def _emptied(self, batch: RecordBatch) -> Buffer | None:
        if not self._must_stay(batch):
            return None
        if not batch.record_count:
            return batch.view
        attributes = batch.attributes & ~(CODEC_MASK | DELETE_HORIZON_FLAG)
        return _batch(batch, attributes, -1, batch.max_timestamp, 0, b"")

    def _must_stay(self, batch: RecordBatch) -> bool:
        """Whether the batch carries more than its records."""
        if batch.next_offset == self.upper:
            return True
        last = self.last_batches.get(batch.producer_id) if batch.has_producer_id else None
        return last is not None and last[0] >= 0 and batch.last_offset == last[0]

    def _is_last_marker(self, batch: RecordBatch) -> bool:
        """Whether the batch alone says which epoch a live producer has."""
        last = self.last_batches.get(batch.producer_id)
        return last is not None and last[0] < 0 and batch.producer_epoch == last[1]

    def _rebuilt(self, batch: RecordBatch, pieces: list[bytes], *, needs_horizon: bool) -> Buffer:
        """`batch` with some of its records; `needs_horizon`: they are to be dropped delete.retention.ms from now."""
        attributes, base_timestamp, max_timestamp = batch.attributes, batch.base_timestamp, batch.max_timestamp
        if not batch.timestamp_type:
            deltas = list(map(timestamp_delta, pieces))
            max_timestamp = base_timestamp + max(deltas)
            if not -_SIGN <= max_timestamp < _SIGN:
                max_timestamp = max(_wrapped(base_timestamp + delta) for delta in deltas)
        if needs_horizon:
            attributes |= DELETE_HORIZON_FLAG
            horizon = self.now_ms + self.delete_retention_ms
            pieces = [_with_base_timestamp(piece, base_timestamp - horizon) for piece in pieces]
            base_timestamp = horizon
        payload = compress(batch.codec, b"".join(pieces))
        return _batch(batch, attributes, base_timestamp, max_timestamp, len(pieces), payload)


def read_slices(payload: bytes, count: int) -> list[tuple[int, bytes | None, bool, int, int]]:
    """(offset delta, key, whether it has a value, start, end) of each record in an unpacked payload, in order.

    Raises CorruptBatch where the payload does not hold exactly `count` records.
    """
    found: list[tuple[int, bytes | None, bool, int, int]] = []
    append = found.append
    at = 0
    try:
        for _ in range(count):
            start = at
            size = payload[at]
            if size < 0x80:
                at += 1
            elif (high := payload[at + 1]) < 0x80:
                size += (high << 7) - 0x80
                at += 2
            else:
                size, at = decode_unsigned_varint(payload, at)
            end = at + (size >> 1 ^ -(size & 1))
            at += 1
            while payload[at] >= 0x80:
                at += 1
            at += 1
            delta = payload[at]
            if delta < 0x80:
                at += 1
            elif (high := payload[at + 1]) < 0x80:
                delta += (high << 7) - 0x80
                at += 2
            else:
                delta, at = decode_unsigned_varint(payload, at)
            length = payload[at]
            if length < 0x80:
                length = length >> 1 ^ -(length & 1)
                at += 1
            else:
                length, at = decode_varint(payload, at)
            key = None
            if length >= 0:
                key = payload[at : at + length]
                at += length
            has_value = not payload[at] & 1  # the least bit of a varint is its sign: a null's length is −1
            if not start < at < end <= len(payload):
                raise CorruptBatch(f"the record at {start} does not hold its key")
            append((delta >> 1 ^ -(delta & 1), key, has_value, start, end))
            at = end
    except CorruptBatch:
        raise
    except (IndexError, ProtocolError):
        raise CorruptBatch(f"{len(payload)} bytes are no {count} records") from None
    if at != len(payload):
        raise CorruptBatch(f"{len(payload) - at} bytes follow the last of {count} records")
    return found


def _timestamp_at(piece: bytes) -> int:
    """Where the timestamp delta begins in a record's bytes: after its size and its attributes."""
    at = 0
    while piece[at] >= 0x80:
        at += 1
    return at + 2


def timestamp_delta(piece: bytes) -> int:
    """A record's timestamp relative to its batch's base."""
    return decode_varlong(piece, _timestamp_at(piece))[0]


def _with_base_timestamp(piece: bytes, difference: int) -> bytes:
    """A record's bytes for a batch whose base timestamp is `difference` lower than that of its own."""
    at = _timestamp_at(piece)
    delta, rest = decode_varlong(piece, at)
    body = piece[at - 1 : at] + encode_varint(_wrapped(delta + difference)) + piece[rest:]
    return encode_varint(len(body)) + body


def _wrapped(timestamp: int) -> int:
    """As Java's 64 bits have it: a producer may send what they do not hold."""
    return (timestamp + _SIGN) % (2 * _SIGN) - _SIGN


def _batch(
    batch: RecordBatch, attributes: int, base_timestamp: int, max_timestamp: int, count: int, payload: bytes
) -> bytes:
    header = HEADER.pack(
        batch.base_offset,
        HEADER_SIZE - PREFIX_SIZE + len(payload),
        batch.leader_epoch,
        MAGIC,
        0,
        attributes,
        batch.last_offset_delta,
        base_timestamp,
        max_timestamp,
        batch.producer_id,
        batch.producer_epoch,
        batch.base_sequence,
        count,
    )
    crc = crc32c(header[ATTRIBUTES_AT:] + payload)
    return b"".join((header[:CRC_AT], _CRC.pack(crc), header[ATTRIBUTES_AT:], payload))


def fill(offsets: OffsetMap, batch: RecordBatch, start: int, transactions: CleanedTransactions) -> bool:
    """Put the keys of a batch of the dirty part, from offset `start` on; False where there is no room for all.

    Raises ProtocolError.
    """
    if batch.is_control:
        transactions.meet_control(batch)
    elif not transactions.meet_data(batch) and batch.record_count:
        payload = bytes(decompress(batch.codec, batch.payload, MAX_UNPACKED_BYTES))
        base_offset = batch.base_offset
        put, known = offsets.put, offsets.offsets
        for delta, key, _, _, _ in read_slices(payload, batch.record_count):
            offset = base_offset + delta
            if key is None or offset < start:
                continue
            if key in known and len(key) < SHORT_KEY:
                known[key] = offset
            elif not put(key, offset):
                return False
    offsets.latest_offset = max(offsets.latest_offset, batch.last_offset)
    return True
