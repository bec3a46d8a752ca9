"""The wire's primitive types, as the declarations name them.

Owns the vocabulary of field types (each an alias of the Python type that holds the value), the varints
that are not generated inline, and the text form of UUIDs. Knows nothing of messages.

Invariants: a `Uuid` is 16 raw bytes, so that it is hashable and needs no conversion between wire, log and
image; `Records` are never copied, so they are whatever buffer they came in.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeAlias

from blumfeld.protocol.errors import ProtocolError

Buffer: TypeAlias = bytes | bytearray | memoryview

Bool: TypeAlias = bool
Int8: TypeAlias = int
Int16: TypeAlias = int
Int32: TypeAlias = int
Int64: TypeAlias = int
UInt16: TypeAlias = int
UInt32: TypeAlias = int
Float64: TypeAlias = float
String: TypeAlias = str
Bytes: TypeAlias = bytes
Uuid: TypeAlias = bytes
Records: TypeAlias = Buffer
Array = list

ZERO_UUID: Uuid = bytes(16)
"""The absent UUID. Kafka calls it `Uuid.ZERO_UUID`."""


def uuid_to_text(uuid: Uuid) -> str:
    """The 22 characters of URL-safe base64 in which Kafka writes a UUID."""
    return urlsafe_b64encode(uuid)[:22].decode("ascii")


def uuid_from_text(text: str) -> Uuid:
    """The 16 bytes of a UUID written by `uuid_to_text`; ValueError where it is not one."""
    if len(text) != 22:
        raise ValueError(f"not a UUID in base64: {text!r} has {len(text)} characters, 22 are needed")
    try:
        uuid = urlsafe_b64decode(text + "==")
    except ValueError as error:
        raise ValueError(f"not a UUID in base64: {text!r}") from error
    if len(uuid) != 16 or uuid_to_text(uuid) != text:
        raise ValueError(f"not a UUID in base64: {text!r}")
    return uuid


def encode_unsigned_varint(value: int) -> bytes:
    """Seven bits a byte, low bits first; value is 0 … 2³²−1 (KIP-482)."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode_unsigned_varint(buffer: Buffer, position: int) -> tuple[int, int]:
    """The value at `position` and the position after it. ProtocolError past 32 bits or the buffer's end."""
    value = 0
    try:
        for shift in (0, 7, 14, 21, 28):
            byte = buffer[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > 0xFFFFFFFF:
                    break
                return value, position
    except IndexError:
        raise ProtocolError("a varint is cut off by the end of the data") from None
    raise ProtocolError("a varint has more than 32 bits")


def encode_varint(value: int) -> bytes:
    """A signed number of up to 64 bits, zigzag: small magnitudes are short (records use it)."""
    value = (value << 1) ^ (value >> 63)
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode_varint(buffer: Buffer, position: int) -> tuple[int, int]:
    """A zigzag number of at most 32 bits and the position after it."""
    try:
        raw = buffer[position]
        if raw < 0x80:
            position += 1
        else:
            second = buffer[position + 1]
            if second < 0x80:
                raw += (second << 7) - 0x80
                position += 2
            else:
                raw, position = decode_unsigned_varint(buffer, position)
    except IndexError:
        raise ProtocolError("a varint is cut off by the end of the data") from None
    return (raw >> 1) ^ -(raw & 1), position


def decode_varlong(buffer: Buffer, position: int) -> tuple[int, int]:
    """A zigzag number of at most 64 bits and the position after it."""
    value = 0
    try:
        for shift in range(0, 70, 7):
            byte = buffer[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > 0xFFFFFFFFFFFFFFFF:
                    break
                return (value >> 1) ^ -(value & 1), position
    except IndexError:
        raise ProtocolError("a varint is cut off by the end of the data") from None
    raise ProtocolError("a varint has more than 64 bits")


def read_tagged_fields(data: Buffer, position: int, count: int) -> tuple[dict[int, bytes], int]:
    """`count` tagged fields as they are, by tag, and the position after them (KIP-482).

    The last one may be cut off: the position is past the end then, which the caller checks.
    """
    fields = {}
    for _ in range(count):
        tag, position = decode_unsigned_varint(data, position)
        size, position = decode_unsigned_varint(data, position)
        fields[tag] = bytes(data[position : position + size])
        position += size
    return fields, position
