"""Codecs: round trips, other writers' framing, bombs and damage."""

from __future__ import annotations

import gzip
import random
import resource
import struct
import sys
from contextlib import suppress

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blumfeld.protocol.compression import Codec, CorruptCompression, compress, decompress

SAMPLES = {
    "empty": b"",
    "one": b"a",
    "text": b"a ball rolls, another follows; " * 4000,
    "noise": random.Random(4).randbytes(150_000),
    "zeros": bytes(3_000_000),
}
PACKED = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]


@pytest.mark.parametrize("codec", Codec, ids=lambda codec: codec.name)
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_what_is_packed_is_unpacked_within_its_exact_size(codec: Codec, sample: bytes) -> None:
    packed = compress(codec, sample)
    assert decompress(codec, packed, len(sample)) == sample
    assert decompress(codec, memoryview(bytearray(packed)), len(sample) + 1) == sample
    if sample:
        with pytest.raises(CorruptCompression):
            decompress(codec, packed, len(sample) - 1)


@given(st.sampled_from(PACKED), st.binary(max_size=2000))
def test_garbage_is_corrupt(codec: Codec, data: bytes) -> None:
    with suppress(CorruptCompression):
        assert len(decompress(codec, data, 10_000)) <= 10_000


@pytest.mark.parametrize("codec", PACKED, ids=lambda codec: codec.name)
def test_cut_off_data_is_corrupt(codec: Codec) -> None:
    packed = compress(codec, SAMPLES["text"])
    for size in (1, 10, len(packed) // 2, len(packed) - 1):
        with pytest.raises(CorruptCompression):
            decompress(codec, packed[:size], 1 << 20)


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_codecs_that_do_not_exist(codec: int) -> None:
    with pytest.raises(CorruptCompression, match="no codec"):
        decompress(codec, b"", 10)
    with pytest.raises(ValueError):
        compress(codec, b"")


def test_gzip_of_other_writers() -> None:
    text = SAMPLES["text"]
    assert decompress(Codec.GZIP, gzip.compress(text), len(text)) == text
    assert gzip.decompress(compress(Codec.GZIP, text)) == text
    members = gzip.compress(b"first ") + gzip.compress(b"second")
    assert decompress(Codec.GZIP, members, 100) == b"first second"


def test_a_gzip_trailer_that_lies_is_not_believed() -> None:
    packed = bytearray(gzip.compress(b"small"))
    packed[-4:] = b"\xff\xff\xff\xff"
    with pytest.raises(CorruptCompression):
        decompress(Codec.GZIP, packed, 1 << 30)


def test_lz4_blocks_stand_alone() -> None:
    """Apache Kafka's Java reader takes no frame whose blocks depend on each other."""
    independent_blocks = 0x20
    assert compress(Codec.LZ4, bytes(300_000))[4] & independent_blocks


def test_snappy_raw_and_in_xerial_blocks() -> None:
    text = SAMPLES["text"]
    assert decompress(Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(text)), len(text)) == text
    packed = compress(Codec.SNAPPY, text)
    assert packed[:16] == b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
    first = struct.unpack_from(">i", packed, 16)[0]
    assert bytes(cramjam.snappy.decompress_raw(packed[20 : 20 + first])) == text[: 32 * 1024]


@pytest.mark.parametrize(
    "rest",
    ["000000", "00000000", "ffffffff", "7fffffff", "00000005 0161", "00000006 ffffffffff0f"],
)
def test_xerial_blocks_that_are_damaged(rest: str) -> None:
    header = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
    with pytest.raises(CorruptCompression):
        decompress(Codec.SNAPPY, header + bytes.fromhex(rest), 1 << 20)
    with pytest.raises(CorruptCompression):
        decompress(Codec.SNAPPY, header[:-1], 1 << 20)


def test_a_snappy_length_that_lies_costs_nothing() -> None:
    with pytest.raises(CorruptCompression, match="more than 1000 bytes"):
        decompress(Codec.SNAPPY, bytes.fromhex("ffffffff0f 00"), 1000)


@pytest.mark.parametrize(
    "settings",
    [
        {"block_linked": True},
        {"block_linked": False},
        {"content_checksum": True},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_lz4_frames_of_other_writers(settings: dict[str, bool]) -> None:
    text = SAMPLES["text"]
    compressor = cramjam.lz4.Compressor(**settings)
    compressor.compress(text)
    assert decompress(Codec.LZ4, bytes(compressor.finish()), len(text)) == text


def test_zstd_frames_written_as_a_stream() -> None:
    compressor = cramjam.zstd.Compressor()
    for start in range(0, len(SAMPLES["text"]), 1000):
        compressor.compress(SAMPLES["text"][start : start + 1000])
    assert decompress(Codec.ZSTD, bytes(compressor.finish()), 1 << 20) == SAMPLES["text"]


@pytest.mark.parametrize("codec", PACKED, ids=lambda codec: codec.name)
@pytest.mark.skipif(sys.platform == "win32", reason="resource usage is POSIX's")
def test_a_bomb_costs_no_more_than_the_limit(codec: Codec) -> None:
    bomb = compress(codec, bytes(200_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptCompression):
        decompress(codec, bomb, 4_000_000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1024 if sys.platform == "linux" else 1) < 20_000_000
