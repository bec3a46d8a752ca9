"""A slow, plain reading of Kafka's serialization rules: the witness for the generated encoders.

Walks a declaration field by field, the way the protocol guide puts it. Shares with the compiler only what a
declaration says (`fields.py`), none of its code.
"""

from __future__ import annotations

import struct
from typing import Any

from blumfeld.protocol.fields import Field
from blumfeld.protocol.schema import Message, Struct, StructMeta

WIDTHS = {
    "Bool": ">?",
    "Int8": ">b",
    "Int16": ">h",
    "Int32": ">i",
    "Int64": ">q",
    "UInt16": ">H",
    "UInt32": ">I",
    "Float64": ">d",
}


def unsigned_varint(value: int) -> bytes:
    out = b""
    while True:
        if value < 128:
            return out + bytes([value])
        out += bytes([value % 128 + 128])
        value //= 128


def encode(message: Message, version: int) -> bytes:
    flexible_from = message.FLEXIBLE
    flexible = flexible_from is not None and version >= flexible_from
    return _struct(message, version, flexible)


def _struct(value: Struct, version: int, flexible: bool) -> bytes:
    out = b""
    tagged: dict[int, bytes] = dict(value.unknown_tagged_fields or {})
    for field in type(value).fields:
        if version not in field.versions:
            continue
        content = getattr(value, field.name)
        if version in field.tagged:
            if not _is_default(field, content):
                assert field.tag is not None
                tagged[field.tag] = _field(field, content, version, flexible)
        else:
            out += _field(field, content, version, flexible)
    if flexible:
        out += unsigned_varint(len(tagged))
        for tag in sorted(tagged):
            out += unsigned_varint(tag) + unsigned_varint(len(tagged[tag])) + tagged[tag]
    return out


def _is_default(field: Field, content: Any) -> bool:
    default = field.default() if callable(field.default) else field.default
    return bool(content == default)


def _field(field: Field, content: Any, version: int, flexible: bool) -> bytes:
    compact = flexible if field.flexible is None else version in field.flexible
    if field.is_array:
        if content is None:
            return b"\0" if compact else struct.pack(">i", -1)
        size = unsigned_varint(len(content) + 1) if compact else struct.pack(">i", len(content))
        return size + b"".join(_value(field.type, item, version, flexible, compact) for item in content)
    if isinstance(field.type, StructMeta) and version in field.nullable:
        null = b"\0" if version in field.tagged else b"\xff"
        return null if content is None else b"\x01" + _struct(content, version, flexible)
    return _value(field.type, content, version, flexible, compact)


def _value(kind: str | StructMeta, content: Any, version: int, flexible: bool, compact: bool) -> bytes:
    if isinstance(kind, StructMeta):
        return _struct(content, version, flexible)
    if kind == "Uuid":
        return bytes(content)
    if kind in WIDTHS:
        return struct.pack(WIDTHS[kind], content)
    if content is None:
        return b"\0" if compact else struct.pack(">h" if kind == "String" else ">i", -1)
    raw = content.encode() if kind == "String" else bytes(content)
    if compact:
        return unsigned_varint(len(raw) + 1) + raw
    return struct.pack(">h" if kind == "String" else ">i", len(raw)) + raw
