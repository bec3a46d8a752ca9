"""The four codecs of record batches, and a bound on what they may unpack to.

Owns the choice of framing: gzip; snappy as the Java client writes it (xerial blocks) and raw; lz4 frames;
zstd frames. cramjam is imported when the first compressed batch is opened.

Invariant: decompression stops at the limit: a small batch that unpacks to gigabytes costs the limit, no more.
"""

from __future__ import annotations

from enum import IntEnum

from blumfeld.protocol.primitives import Buffer


class Codec(IntEnum):
    """The codec's number in a batch's attributes; its name in lower case is `compression.type`'s value."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


def compress(codec: Codec, data: Buffer) -> bytes:
    """`data` in the codec's framing."""
    raise AssertionError("not yet")


def decompress(codec: Codec, data: Buffer, max_bytes: int) -> Buffer:
    """What was compressed. CorruptBatch where it is damaged, or unpacks to more than `max_bytes`."""
    raise AssertionError("not yet")
