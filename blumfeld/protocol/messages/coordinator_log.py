"""How coordinators frame the records of their internal topics, and what else carries its version in front.

A record's key is an int16 type and the key's fields (version 0 for good); its value is an int16 version and
the value's fields, or null: a tombstone. Versioned messages outside logs (a consumer's subscription, a
principal) look like such values.

Invariant: a type we do not know is skipped, as Kafka skips it (newer brokers wrote it about groups we cannot
have); a known type that cannot be decoded is a ProtocolError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.primitives import Buffer
from blumfeld.protocol.schema import Message, Record

KEY_VERSION = 0

_Message = TypeVar("_Message", bound=Message)


def encode_versioned(message: Message, version: int) -> bytes:
    """An int16 version, then the message in it."""
    return version.to_bytes(2, "big") + message.encode(version)


def decode_versioned(declaration: type[_Message], buffer: Buffer) -> _Message:
    """The message behind its int16 version. ProtocolError for a version we do not know, too."""
    return declaration.decode(memoryview(buffer)[2:], _int16(buffer))


def encode_key(key: Record) -> bytes:
    """The key of a record: its type, then its fields."""
    assert key.KEY is not None
    return key.KEY.to_bytes(2, "big") + key.encode(KEY_VERSION)


def encode_value(value: Record, version: int) -> bytes:
    """The value of a record: its version, then its fields."""
    return encode_versioned(value, version)


class RecordTypes:
    """The record types of one internal topic: key and value declarations by type number."""

    def __init__(self, types: Mapping[int, tuple[type[Record], type[Record]]]) -> None:
        self._types = types
        for number, (key, value) in types.items():
            assert key.KEY == value.KEY == number

    def __iter__(self) -> Iterator[tuple[type[Record], type[Record]]]:
        return iter(self._types.values())

    def decode_key(self, buffer: Buffer) -> Record | None:
        """The key of a record; None where its type is not known."""
        known = self._types.get(_int16(buffer))
        return known and known[0].decode(memoryview(buffer)[2:], KEY_VERSION)

    def decode_value(self, key: Record, buffer: Buffer) -> Record:
        """The value that goes with a key (a tombstone has none to decode)."""
        assert key.KEY is not None
        return decode_versioned(self._types[key.KEY][1], buffer)


def _int16(buffer: Buffer) -> int:
    if len(buffer) < 2:
        raise ProtocolError(f"{len(buffer)} bytes are too few for a type or version")
    return int.from_bytes(buffer[:2], "big", signed=True)
