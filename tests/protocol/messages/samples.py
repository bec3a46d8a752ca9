"""Three samples of a message in a version, the same ones each time: full, empty and default.

In a full one every value differs from its neighbours', so that two fields that changed places are seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from blumfeld.protocol.fields import Field
from blumfeld.protocol.schema import Message, Struct, StructMeta
from tests.protocol.messages.catalogue import Versioned


def samples(subject: Versioned) -> list[Message]:
    full: Message = _full(subject.message, subject.version, count(1))
    empty: Message = _empty(subject.message, subject.version)
    return [full, empty, subject.message()]


def _full(declaration: StructMeta, version: int, numbers: Iterator[int]) -> Any:
    """Two elements in each list, nothing null, every tagged field there."""
    make: Callable[..., Struct] = declaration
    fields = [field for field in declaration.fields if version in field.versions]
    return make(**{field.name: _full_value(field, version, numbers) for field in fields})


def _full_value(field: Field, version: int, numbers: Iterator[int]) -> Any:
    def value() -> Any:
        if isinstance(field.type, StructMeta):
            return _full(field.type, version, numbers)
        return _primitive(field.type, field.name, next(numbers))

    return [value(), value()] if field.is_array else value()


def _primitive(type_name: str, name: str, number: int) -> Any:
    match type_name:
        case "Bool":
            return number % 2 == 0
        case "Int8":
            return -(number % 128)
        case "Float64":
            return number + 0.5
        case "String":
            return f"{name} {number}"
        case "Bytes" | "Records":
            return f"{name} {number}".encode()
        case "Uuid":
            return number.to_bytes(16, "little")
        case "Int16" | "UInt16":
            return number + 0x100
        case "Int32" | "UInt32":
            return number + 0x10000
        case _:
            return number + (1 << 40)


def _empty(declaration: StructMeta, version: int) -> Any:
    """Null wherever it may be, no elements, and what is tagged and not null is left out."""
    make: Callable[..., Struct] = declaration
    fields = [field for field in declaration.fields if version in field.versions]
    nulls = {field.name: None for field in fields if version in field.nullable}
    structs = {
        field.name: _empty(field.type, version)
        for field in fields
        if isinstance(field.type, StructMeta) and not field.is_array
        if field.name not in nulls and version not in field.tagged
    }
    return make(**nulls, **structs)
