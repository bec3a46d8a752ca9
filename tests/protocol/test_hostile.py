"""Every request that exists, in every version, fed with damage: a message or a ProtocolError, in bounded memory."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest

from blumfeld.protocol.decoders import MAX_ELEMENTS
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.fields import Field
from blumfeld.protocol.keys import DEAD_KEYS, ApiKey, request_class
from blumfeld.protocol.messages.metadata import MetadataRequest
from blumfeld.protocol.messages.produce import ProduceRequest
from blumfeld.protocol.schema import Message, Struct, StructMeta

MUTATIONS = 40
SAMPLES: dict[str, Any] = {
    "Bool": True,
    "Float64": 1.5,
    "String": "topic",
    "Bytes": b"bytes",
    "Uuid": bytes(range(16)),
    "Records": b"records",
}


def declared_requests() -> list[type[Message]]:
    found: list[type[Message]] = []
    for key in ApiKey:
        if key not in DEAD_KEYS:
            try:
                found.append(request_class(key))
            except LookupError:
                continue
    return found


def sample(struct: StructMeta, version: int) -> Struct:
    """An instance with two elements in every array and something in every field of the version."""
    made: Struct = struct(**{one.name: _content(one, version) for one in struct.fields if version in one.versions})
    return made


def _content(one: Field, version: int) -> Any:
    kind = one.type
    values = [sample(kind, version) if isinstance(kind, StructMeta) else SAMPLES.get(kind, 3) for _ in range(2)]
    return values if one.is_array else values[0]


def mutations(data: bytes, chance: random.Random) -> list[bytes]:
    """Cut, stretched, flipped, and with absurd numbers wherever a length may be."""
    found = [data[: chance.randrange(len(data) + 1)], data + chance.randbytes(3), chance.randbytes(len(data))]
    for _ in range(MUTATIONS):
        damaged = bytearray(data)
        position = chance.randrange(len(data) + 1)
        absurd = chance.choice(
            ["ff", "7f", "80", "00", "ffff", "7fff", "ffffffff", "7fffffff", "ffffffff0f", "8080808080"]
        )
        damaged[position : position + len(absurd) // 2] = bytes.fromhex(absurd)
        found.append(bytes(damaged))
    return found


@pytest.mark.parametrize("request_type", declared_requests(), ids=lambda message: message.__name__)
def test_a_damaged_request_is_a_message_or_a_protocol_error(request_type: type[Message]) -> None:
    chance = random.Random(request_type.__name__)
    refused = 0
    for version in request_type.VERSIONS.all:
        made = sample(request_type, version)
        assert isinstance(made, request_type)
        encoded = made.encode(version)
        assert request_type.decode(encoded, version) == made
        for damaged in mutations(encoded, chance):
            try:
                request_type.decode(damaged, version).encode(version)
            except ProtocolError:
                refused += 1
    assert refused or not request_type.fields


@pytest.mark.parametrize(
    ("message", "version", "head", "element"),
    [
        (MetadataRequest, 8, "7fffffff", "0000"),  # as many empty names as it likes
        (MetadataRequest, 9, "ffffffff0f", "0100"),
        (ProduceRequest, 3, "ffff 0001 00000000 7fffffff", "0000 00000000"),
        (ProduceRequest, 9, "00 0001 00000000 ffffffff0f", "01 01 00"),
    ],
)
@pytest.mark.parametrize("size", [0, 100_000])
def test_an_absurd_count_makes_no_more_than_the_bytes_can_hold(
    message: type[Message], version: int, head: str, element: str, size: int
) -> None:
    data = bytes.fromhex(head) + bytes.fromhex(element) * (size // (len(bytes.fromhex(element))))
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            message.decode(data, version)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000 + 100 * len(data)


def names(count: int) -> bytes:
    """A Metadata request for so many topics, all without a name."""
    return count.to_bytes(4) + bytes(2 * count) + b"\x01"


def test_a_message_may_have_a_million_elements_and_no_more() -> None:
    tracemalloc.start()
    try:
        decoded = MetadataRequest.decode(names(MAX_ELEMENTS), 4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert decoded.topics is not None
    assert len(decoded.topics) == MAX_ELEMENTS
    assert peak < 128 << 20
    with pytest.raises(ProtocolError, match="1000001 elements, where 1000000 are possible"):
        MetadataRequest.decode(names(MAX_ELEMENTS + 1), 4)


def test_nested_elements_and_tagged_fields_count_too() -> None:
    half = b"\0\1a" + (500_000).to_bytes(4) + bytes(500_000 * 8)
    with pytest.raises(ProtocolError, match="500000 elements, where 499998 are possible"):
        ProduceRequest.decode(bytes.fromhex("ffff 0001 00000000 00000002") + half + half, 3)
    tags = bytes.fromhex("00 0001 00000000 01") + bytes.fromhex("c1843d") + bytes.fromhex("0500") * 1_000_001
    with pytest.raises(ProtocolError, match="tagged fields: 1000001 elements"):
        ProduceRequest.decode(tags, 9)
