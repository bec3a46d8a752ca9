"""Varints at the edges of their bytes, UUIDs as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.primitives import (
    ZERO_UUID,
    decode_unsigned_varint,
    decode_varint,
    decode_varlong,
    encode_unsigned_varint,
    encode_varint,
    read_tagged_fields,
    uuid_from_text,
    uuid_to_text,
)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (16383, "ff7f"),
        (16384, "808001"),
        (2**32 - 1, "ffffffff0f"),
    ],
)
def test_unsigned_varints(value: int, encoded: str) -> None:
    raw = bytes.fromhex(encoded)
    assert encode_unsigned_varint(value) == raw
    assert decode_unsigned_varint(b"?" + raw + b"?", 1) == (value, 1 + len(raw))


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, "00"), (-1, "01"), (1, "02"), (-64, "7f"), (64, "8001"), (2**31 - 1, "feffffff0f")]
)
def test_signed_varints_are_zigzag(value: int, encoded: str) -> None:
    raw = bytes.fromhex(encoded)
    assert encode_varint(value) == raw
    assert decode_varint(raw, 0) == (value, len(raw))
    assert decode_varlong(raw, 0) == (value, len(raw))


@given(st.integers(-(2**63), 2**63 - 1))
def test_longs_of_any_size_return(value: int) -> None:
    encoded = encode_varint(value)
    assert decode_varlong(encoded, 0) == (value, len(encoded))


@pytest.mark.parametrize("data", ["", "80", "ffffffff", "ffffffff1f", "ffffffffff01"])
def test_varints_that_are_cut_off_or_too_long(data: str) -> None:
    with pytest.raises(ProtocolError):
        decode_unsigned_varint(bytes.fromhex(data), 0)
    with pytest.raises(ProtocolError):
        decode_varint(bytes.fromhex(data), 0)


@pytest.mark.parametrize("data", ["", "80", "ff" * 10 + "01", "ff" * 9 + "02"])
def test_varlongs_that_are_cut_off_or_too_long(data: str) -> None:
    with pytest.raises(ProtocolError):
        decode_varlong(bytes.fromhex(data), 0)


def test_a_uuid_is_written_as_kafka_writes_it() -> None:
    assert uuid_to_text(ZERO_UUID) == "AAAAAAAAAAAAAAAAAAAAAA"
    assert uuid_to_text(bytes(range(16))) == "AAECAwQFBgcICQoLDA0ODw"
    assert uuid_from_text("AAECAwQFBgcICQoLDA0ODw") == bytes(range(16))


@given(st.binary(min_size=16, max_size=16))
def test_any_uuid_returns(uuid: bytes) -> None:
    assert uuid_from_text(uuid_to_text(uuid)) == uuid


@pytest.mark.parametrize(
    "text", ["", "AAECAwQFBgcICQoLDA0OD", "AAECAwQFBgcICQoLDA0ODw=", "AAECAwQFBgcICQoLDA0OD!", "é" * 22]
)
def test_what_is_no_uuid_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="not a UUID"):
        uuid_from_text(text)


def test_tagged_fields_are_read_as_they_are() -> None:
    assert read_tagged_fields(bytes.fromhex("01 02 aabb 03 00"), 0, 2) == ({1: b"\xaa\xbb", 3: b""}, 6)
