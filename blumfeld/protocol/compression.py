"""The four codecs of record batches, and a bound on what they may unpack to.

Owns the choice of framing: gzip; snappy in the Java client's blocks (xerial's; raw snappy is read too); lz4
frames; zstd frames. cramjam is imported when the first compressed batch is opened.

Invariant: unpacking stops at the limit: a small batch that would unpack to gigabytes costs the limit and no
more. Nothing is unpacked into memory that grows by itself: the target has a size before it starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Any, Final

from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.primitives import Buffer


class Codec(IntEnum):
    """The codec's number in a batch's attributes; its name in lower case is `compression.type`'s value."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


class CorruptCompression(ProtocolError):
    """Compressed data that is damaged, or that unpacks to more than is allowed."""


_SNAPPY_MAGIC: Final = b"\x82SNAPPY\x00"
_SNAPPY_HEADER: Final = _SNAPPY_MAGIC + Struct(">ii").pack(1, 1)
"""Magic, version of the writer, oldest version of a reader."""
_SNAPPY_BLOCK: Final = 32 * 1024
_SIZE: Final = Struct(">i")
_LITTLE_SIZE: Final = Struct("<I")

_GREATEST_RATIO: Final = {Codec.GZIP: 1040, Codec.LZ4: 256, Codec.ZSTD: 65536}
"""What a byte can unpack to at most (of zstd: what a sane encoder makes of zeros)."""
_SLACK: Final = 64 * 1024
_FIRST_GUESS: Final = 4
_GROWTH: Final = 4
_LARGE: Final = 2 << 20
"""What does not fit into so much gets all that is allowed. Targets of some tens of megabytes would be kept: the C
library keeps twice the largest piece below 32 MiB that it had to map."""


def compress(codec: int, data: Buffer) -> bytes:
    """`data` in the codec's framing. ValueError for a codec that does not exist."""
    codec = Codec(codec)
    if codec is Codec.NONE:
        return bytes(data)
    if codec is Codec.SNAPPY:
        return b"".join(_snappy_pieces(data))
    if codec is Codec.LZ4:
        compressor = _library(codec).Compressor(block_linked=False)  # Kafka's Java reader refuses linked blocks
        compressor.compress(data)
        return bytes(compressor.finish())
    return bytes(_library(codec).compress(data))


def decompress(codec: int, data: Buffer, max_bytes: int) -> Buffer:
    """What was compressed. CorruptCompression where it is damaged, unknown, or more than `max_bytes`."""
    try:
        codec = Codec(codec)
    except ValueError:
        raise CorruptCompression(f"there is no codec {codec}") from None
    if codec is Codec.NONE:
        if len(data) > max_bytes:
            raise _too_much(max_bytes)
        return data
    if codec is Codec.SNAPPY:
        return _unpack_snappy(memoryview(data), max_bytes)
    return _unpack(codec, data, max_bytes)


def _library(codec: Codec) -> Any:
    import cramjam

    return getattr(cramjam, codec.name.lower())


def _too_much(max_bytes: int) -> CorruptCompression:
    return CorruptCompression(f"the records unpack to more than {max_bytes} bytes")


def _unpack(codec: Codec, data: Buffer, max_bytes: int) -> Buffer:
    """Into a target of the likely size; into larger ones if it does not fit, up to what may be in it."""
    from cramjam import DecompressionError

    library = _library(codec)
    ceiling = min(max_bytes, len(data) * _GREATEST_RATIO[codec] + _SLACK)
    size = min(ceiling, _likely_size(codec, data))
    while True:
        target = bytearray(size)
        try:
            written: int = library.decompress_into(data, target)
        except DecompressionError as error:
            # The library does not say whether the target was too small or the data is damaged.
            if size >= ceiling:
                raise CorruptCompression(
                    f"{codec.name.lower()}: {error} (at most {max_bytes} bytes may be unpacked)"
                ) from None
            size = ceiling if size >= _LARGE else min(ceiling, max(size, _SLACK) * _GROWTH)
            continue
        return memoryview(target)[:written]


def _likely_size(codec: Codec, data: Buffer) -> int:
    """What the frame says, or a guess. Never trusted: only where to start."""
    if codec is Codec.GZIP and len(data) >= 18:
        size: int = _LITTLE_SIZE.unpack_from(data, len(data) - 4)[0]
        return size
    return max(_SLACK, len(data) * _FIRST_GUESS)


def _snappy_pieces(data: Buffer) -> Iterator[bytes]:
    import cramjam

    yield _SNAPPY_HEADER
    view = memoryview(data)
    for start in range(0, len(view), _SNAPPY_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _SNAPPY_BLOCK]))
        yield _SIZE.pack(len(block))
        yield block


def _unpack_snappy(data: memoryview, max_bytes: int) -> Buffer:
    if bytes(data[: len(_SNAPPY_MAGIC)]) != _SNAPPY_MAGIC:
        return _unpack_snappy_block(data, max_bytes, max_bytes)
    blocks: list[Buffer] = []
    position, room = len(_SNAPPY_HEADER), max_bytes
    if len(data) < position:
        raise CorruptCompression("snappy: the header is cut off")
    while position < len(data):
        if len(data) - position < _SIZE.size:
            raise CorruptCompression("snappy: a block's size is cut off")
        size = _SIZE.unpack_from(data, position)[0]
        position += _SIZE.size
        if not 0 < size <= len(data) - position:
            raise CorruptCompression(f"snappy: a block of {size} bytes, in {len(data) - position}")
        block = _unpack_snappy_block(data[position : position + size], room, max_bytes)
        blocks.append(block)
        room -= len(block)
        position += size
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def _unpack_snappy_block(block: memoryview, room: int, max_bytes: int) -> Buffer:
    from cramjam import DecompressionError, snappy

    try:
        size: int = snappy.decompress_raw_len(block)
        if size > room:
            raise _too_much(max_bytes)
        target = bytearray(size)
        snappy.decompress_raw_into(block, target)
    except DecompressionError as error:
        raise CorruptCompression(f"snappy: {error}") from None
    return target
