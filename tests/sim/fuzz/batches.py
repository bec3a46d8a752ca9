"""Record batches, sound and unsound: what may stand where Produce has its records.

Owns one of each way in which a batch can be wrong, with the CRC made right again where the wrong is meant to get past
it: counts, offsets, times, codecs, flags, producers, magic, lengths; and bombs: small batches that unpack to hundreds
of megabytes, or to millions of records.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from functools import cache

from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.compression import Codec, compress
from blumfeld.protocol.records import Record, build_batch

LENGTH_AT, EPOCH_AT, MAGIC_AT, CRC_AT, ATTRIBUTES_AT = 8, 12, 16, 17, 21
LAST_DELTA_AT, BASE_TIME_AT, MAX_TIME_AT, PRODUCER_AT, COUNT_AT = 23, 27, 35, 43, 57
HEADER_BYTES = 61
BOMB_BYTES = 300 << 20
BOMB_RECORDS = 3_000_000
ABSURD = (-(2**31), -1, 0, 1, 2, 1000, 2**31 - 1)


class Batches:
    """Makes batches up."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._ways: tuple[Callable[[], bytes], ...] = (
            self._wrong_crc,
            self._wrong_length,
            self._wrong_count,
            self._wrong_times,
            self._wrong_flags,
            self._wrong_payload,
            self._wrong_magic,
            self._producer,
            self._several,
            self._cut,
        )

    def records(self) -> bytes:
        """What a Produce request might carry for one partition."""
        draw = self._chance.random()
        if draw < 0.35:
            return self.sound()
        if draw < 0.37:
            return bomb(self._chance.randrange(6))
        return self._chance.choice(self._ways)()

    def sound(self) -> bytes:
        """A batch that a broker should take."""
        chance = self._chance
        now = int(time.time() * 1000)
        records = [
            Record(i, now, chance.choice((b"k", b"l")), chance.choice((b"v", b"w" * 100, None)))
            for i in range(chance.choice((1, 1, 2, 5)))
        ]
        return build_batch(records, codec=chance.choice(tuple(Codec)))

    def _wrong_crc(self) -> bytes:
        return _patched(self.sound(), CRC_AT, ">I", self._chance.randrange(2**32), seal=False)

    def _wrong_length(self) -> bytes:
        return _patched(self.sound(), LENGTH_AT, ">i", self._chance.choice((*ABSURD, 49, 48, 50)), seal=False)

    def _wrong_count(self) -> bytes:
        at = self._chance.choice((COUNT_AT, LAST_DELTA_AT))
        count = self._chance.choice(ABSURD)
        batch = _patched(self.sound(), at, ">i", count)
        if self._chance.random() < 0.3 and count < 2**31 - 1:  # both fields agree on it
            batch = _patched(_patched(batch, COUNT_AT, ">i", count), LAST_DELTA_AT, ">i", max(count - 1, -(2**31)))
        return batch

    def _wrong_times(self) -> bytes:
        at = self._chance.choice((BASE_TIME_AT, MAX_TIME_AT))
        return _patched(self.sound(), at, ">q", self._chance.choice((-(2**63), -2, -1, 0, 2**62, 2**63 - 1)))

    def _wrong_flags(self) -> bytes:
        flags = self._chance.choice((5, 6, 7, 0x08, 0x10, 0x20, 0x30, 0x40, 0x80, 0x7FFF, -1, -(2**15)))
        return _patched(self.sound(), ATTRIBUTES_AT, ">h", flags)

    def _wrong_payload(self) -> bytes:
        """A sound header, whose codec finds something else behind it."""
        batch = bytearray(self.sound())
        for _ in range(self._chance.choice((1, 1, 3, 10))):
            if len(batch) > HEADER_BYTES:
                batch[self._chance.randrange(HEADER_BYTES, len(batch))] = self._chance.randrange(256)
        codec = self._chance.choice((0, 1, 2, 3, 4))
        return _patched(bytes(batch), ATTRIBUTES_AT, ">h", codec)

    def _wrong_magic(self) -> bytes:
        return _patched(self.sound(), MAGIC_AT, ">b", self._chance.choice((0, 1, 3, -1, 127)), seal=False)

    def _producer(self) -> bytes:
        chance = self._chance
        batch = _patched(self.sound(), PRODUCER_AT, ">q", chance.choice((0, 1, 1000, -2, 2**63 - 1)))
        batch = _patched(batch, PRODUCER_AT + 8, ">h", chance.choice((0, 1, -1, 2**15 - 1)))
        batch = _patched(batch, PRODUCER_AT + 10, ">i", chance.choice((0, 1, 2, -1, 2**31 - 1)))
        return _patched(batch, ATTRIBUTES_AT, ">h", chance.choice((0, 0x10, 0x30)))

    def _several(self) -> bytes:
        return self.sound() + self._chance.choice((self.sound, self._wrong_count, self._wrong_length))()

    def _cut(self) -> bytes:
        batch = self.sound()
        return batch[: self._chance.randrange(len(batch))]


@cache
def bomb(which: int) -> bytes:
    """A small batch that would become a large one."""
    if which < 4:
        codec = (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD)[which]
        size = BOMB_BYTES if codec in (Codec.GZIP, Codec.ZSTD) else BOMB_BYTES // 10
        payload, count = bytes(size), 1
    else:  # as many records as there can be
        codec = (Codec.GZIP, Codec.ZSTD)[which - 4]
        payload, count = b"\x0c\x00\x00\x00\x01\x01\x00" * BOMB_RECORDS, BOMB_RECORDS
    batch = build_batch([Record(0, int(time.time() * 1000), None, None)])[:HEADER_BYTES] + compress(codec, payload)
    batch = _patched(batch, LENGTH_AT, ">i", len(batch) - 12, seal=False)
    batch = _patched(_patched(batch, COUNT_AT, ">i", count), LAST_DELTA_AT, ">i", count - 1)
    return _patched(batch, ATTRIBUTES_AT, ">h", codec)


def _patched(batch: bytes, at: int, form: str, value: int, *, seal: bool = True) -> bytes:
    """The batch with another number in its header; with the right CRC, unless told otherwise."""
    changed = bytearray(batch)
    struct.pack_into(form, changed, at, value)
    if seal:
        struct.pack_into(">I", changed, CRC_AT, crc32c(bytes(changed[ATTRIBUTES_AT:])))
    return bytes(changed)
