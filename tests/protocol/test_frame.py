"""Frames: sizes, headers by hand against headers by declaration, both directions."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.frame import (
    FrameReader,
    decode_request_header,
    decode_response,
    encode_request,
    encode_response,
    request_header_version,
    response_header_version,
)
from blumfeld.protocol.keys import DEAD_KEYS, ApiKey, request_class
from blumfeld.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from blumfeld.protocol.messages.header import RequestHeader, ResponseHeader
from blumfeld.protocol.messages.produce import ProduceRequest, ProduceResponse
from blumfeld.protocol.primitives import Buffer


def frame_of(parts: list[Buffer]) -> bytes:
    """The frame behind its size, which must be right."""
    whole = b"".join(parts)
    assert struct.unpack_from(">i", whole)[0] == len(whole) - 4
    return whole[4:]


@pytest.mark.parametrize(
    ("key", "version", "request_header", "response_header"),
    [
        (ApiKey.PRODUCE, 8, 1, 0),
        (ApiKey.PRODUCE, 9, 2, 1),
        (ApiKey.SASL_HANDSHAKE, 1, 1, 0),
        (ApiKey.API_VERSIONS, 2, 1, 0),
        (ApiKey.API_VERSIONS, 3, 2, 0),
        (ApiKey.API_VERSIONS, 99, 2, 0),
        (ApiKey.VOTE, 0, 2, 1),
    ],
)
def test_header_versions(key: ApiKey, version: int, request_header: int, response_header: int) -> None:
    assert request_header_version(key, version) == request_header
    assert response_header_version(key, version) == response_header


@pytest.mark.parametrize("key", [-1, 95, 32767, *DEAD_KEYS])
def test_keys_without_messages_have_no_header(key: int) -> None:
    with pytest.raises(LookupError):
        request_header_version(key, 0)
    with pytest.raises(ProtocolError):
        decode_request_header(struct.pack(">hhih", key, 0, 0, -1))


@given(
    st.sampled_from([(ApiKey.PRODUCE, 3), (ApiKey.PRODUCE, 9), (ApiKey.LIST_GROUPS, 2), (ApiKey.LIST_GROUPS, 3)]),
    st.integers(-(2**31), 2**31 - 1),
    st.none() | st.text(max_size=20),
    st.none() | st.dictionaries(st.integers(0, 300), st.binary(max_size=200), min_size=1, max_size=3),
    st.binary(max_size=10),
)
def test_a_header_is_read_as_its_declaration_says(
    api: tuple[ApiKey, int], correlation_id: int, client_id: str | None, tags: dict[int, bytes] | None, body: bytes
) -> None:
    key, version = api
    header_version = request_header_version(key, version)
    header = RequestHeader(
        request_api_key=key, request_api_version=version, correlation_id=correlation_id, client_id=client_id
    )
    if header_version == 2:
        header.unknown_tagged_fields = tags
    read, rest = decode_request_header(header.encode(header_version) + body)
    assert read == header
    assert rest == body


@pytest.mark.parametrize(
    "data",
    [
        "",
        "0000",
        "0000 0009 00000001",
        "0000 0009 00000001 fffe",  # a client id of −2 bytes
        "0000 0009 00000001 0005 6162",  # one that is cut off
        "0000 0009 00000001 0002 c328 00",  # one that is not UTF-8
        "0000 0009 00000001 ffff",  # no tags where there must be
        "0000 0009 00000001 ffff ffffffff0f",  # too many
        "0000 0009 00000001 ffff 01 05 09 aa",  # one that is cut off
    ],
)
def test_broken_headers(data: str) -> None:
    with pytest.raises(ProtocolError):
        decode_request_header(bytes.fromhex(data))


def test_a_header_has_64_tagged_fields_at_most() -> None:
    start = bytes.fromhex("0000 0009 00000001 ffff")
    tags = b"".join(bytes((n, 0)) for n in range(65))
    header, body = decode_request_header(start + b"\x40" + tags[:128])
    assert header.unknown_tagged_fields is not None
    assert len(header.unknown_tagged_fields) == 64
    assert len(body) == 0
    with pytest.raises(ProtocolError, match="65 tagged fields; 64 are allowed"):
        decode_request_header(start + b"\x41" + tags)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_header_or_a_protocol_error(data: bytes) -> None:
    with suppress(ProtocolError):
        decode_request_header(data)


@pytest.mark.parametrize("version", [8, 9])
def test_a_request_goes_there_and_its_response_comes_back(version: int) -> None:
    records = bytes(10_000)
    request = ProduceRequest(
        acks=1,
        timeout_ms=5,
        topic_data=[
            ProduceRequest.Topic(
                name="t", partition_data=[ProduceRequest.Topic.Partition(index=0, records=memoryview(records))]
            )
        ],
    )
    parts = encode_request(ApiKey.PRODUCE, version, 7, "me", request)
    assert len(parts) == 3
    header, body = decode_request_header(frame_of(parts))
    assert (header.correlation_id, header.client_id, header.request_api_version) == (7, "me", version)
    assert ProduceRequest.decode(body, version) == request

    response = ProduceResponse(responses=[], throttle_time_ms=4)
    frame = frame_of(encode_response(7, version, response))
    assert ResponseHeader(correlation_id=7).encode(response_header_version(ApiKey.PRODUCE, version)) in frame
    assert decode_response(frame, ApiKey.PRODUCE, version) == (7, response)


def test_api_versions_answers_without_tags_in_its_header() -> None:
    response = ApiVersionsResponse(error_code=35, api_keys=[])
    frame = frame_of(encode_response(1, 3, response))
    assert frame[:6] == bytes.fromhex("00000001 0023")
    assert decode_response(frame, ApiKey.API_VERSIONS, 3) == (1, response)
    asked = encode_request(ApiKey.API_VERSIONS, 3, 1, None, ApiVersionsRequest())
    assert decode_request_header(frame_of(asked))[0].client_id is None


@pytest.mark.parametrize("data", ["", "0000", "00000001", "00000001 01", "00000001 00"])
def test_broken_responses(data: str) -> None:
    with pytest.raises(ProtocolError):
        decode_response(bytes.fromhex(data), ApiKey.PRODUCE, 9)


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_frames_are_cut_wherever_the_bytes_are_split(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(struct.pack(">i", len(frame)) + frame for frame in frames)
    reader = FrameReader(limit=50)
    found: list[bytes] = []
    position = 0
    while position < len(stream):
        step = data.draw(st.integers(1, 60))
        found += reader.feed(stream[position : position + step])
        position += step
    assert found == frames


@pytest.mark.parametrize("size", [-1, -(2**31), 51, 2**31 - 1])
def test_a_size_over_the_limit_is_refused_before_the_body_comes(size: int) -> None:
    with pytest.raises(ProtocolError, match="50 are allowed"):
        FrameReader(limit=50).feed(struct.pack(">i", size))


def test_every_declared_api_has_a_request_header() -> None:
    for key in (ApiKey.FETCH, ApiKey.METADATA, ApiKey.CREATE_TOPICS):
        assert request_header_version(key, request_class(key).VERSIONS.high) == 2
