"""Messages at random, made from their declarations: whatever a version can express.

Values stay where every oracle can hold them: kio turns durations, times and error codes into objects of Python,
so those keep to sensible ranges; floats are finite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from hypothesis import strategies as st

from blumfeld.protocol.fields import Field
from blumfeld.protocol.primitives import ZERO_UUID
from blumfeld.protocol.schema import Message, Struct, StructMeta
from tests.protocol.messages.catalogue import Versioned

MAX_ELEMENTS = 2
UNKNOWN_TAGS = (100, 127, 128, 20_000)
"""Tags beyond all that are declared, with varints of one to three bytes."""

LATEST_TIME_MS = 4_000_000_000_000


def integers(bits: int, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return st.one_of(st.integers(0, 20), st.integers(low, high), st.sampled_from((low, high)))


BYTES = st.one_of(st.binary(max_size=8), st.binary(min_size=127, max_size=130))
UUIDS = st.one_of(st.binary(min_size=16, max_size=16), st.just(ZERO_UUID))
TEXTS = st.one_of(
    st.sampled_from(("", "a", "topic-0", "Käfer", "虫", "🪲", "x" * 126, "x" * 127, "y" * 300)),
    st.text(st.characters(codec="utf-8"), max_size=6),
)

PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "Bool": st.booleans(),
    "Int8": integers(8),
    "Int16": integers(16),
    "Int32": integers(32),
    "Int64": integers(64),
    "UInt16": integers(16, signed=False),
    "UInt32": integers(32, signed=False),
    "Float64": st.floats(allow_nan=False, allow_infinity=False),
    "String": TEXTS,
    "Bytes": BYTES,
    "Records": BYTES,
    "Uuid": UUIDS,
}

ERROR_CODES = st.integers(-1, 110)
TIMES = st.integers(0, LATEST_TIME_MS)
UNKNOWN_TAGGED_FIELDS = st.one_of(
    st.none(),
    st.none(),
    st.dictionaries(st.sampled_from(UNKNOWN_TAGS), BYTES, min_size=1, max_size=2),
)


def messages(subject: Versioned, *, unknown_tags: bool = True) -> st.SearchStrategy[Message]:
    """Messages of one kind that fit one version."""
    return _structs(subject.message, subject.version, unknown_tags and subject.is_flexible)


@cache
def _structs(declaration: StructMeta, version: int, unknown_tags: bool) -> st.SearchStrategy[Any]:
    values = {
        field.name: _values(field, version, unknown_tags) for field in declaration.fields if version in field.versions
    }
    if unknown_tags:
        values["unknown_tagged_fields"] = UNKNOWN_TAGGED_FIELDS
    make: Callable[..., Struct] = declaration
    return st.fixed_dictionaries(values).map(lambda chosen: make(**chosen))


def _values(field: Field, version: int, unknown_tags: bool) -> st.SearchStrategy[Any]:
    if isinstance(field.type, StructMeta):
        values = _structs(field.type, version, unknown_tags)
    else:
        values = _primitives(field.name, field.type)
    if field.is_array:
        values = st.lists(values, max_size=MAX_ELEMENTS)
    if version in field.nullable:
        values = st.one_of(values, values, st.none())
    if version in field.tagged:
        default = field.default
        values = st.one_of(values, st.builds(default) if callable(default) else st.just(default))
    return values


def _primitives(name: str, type_name: str) -> st.SearchStrategy[Any]:
    if name.endswith("error_code"):
        return ERROR_CODES
    if type_name == "Int64" and ("time" in name or name.endswith("_ms")):
        return TIMES
    return PRIMITIVES[type_name]
