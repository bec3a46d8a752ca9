"""Hypothesis strategies: declarations made up at random, and messages of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from blumfeld.protocol.fields import NO_VERSIONS, Field, field
from blumfeld.protocol.schema import Data, Message, Struct, StructMeta

HIGHEST = 4

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Bool": st.booleans(),
    "Int8": st.integers(-(2**7), 2**7 - 1),
    "Int16": st.integers(-(2**15), 2**15 - 1),
    "Int32": st.integers(-(2**31), 2**31 - 1),
    "Int64": st.integers(-(2**63), 2**63 - 1),
    "UInt16": st.integers(0, 2**16 - 1),
    "UInt32": st.integers(0, 2**32 - 1),
    "Float64": st.floats(allow_nan=False),
    "String": st.text(max_size=6) | st.text(alphabet="kafka", min_size=120, max_size=140),
    "Bytes": st.binary(max_size=6) | st.binary(min_size=125, max_size=130),
    "Uuid": st.binary(min_size=16, max_size=16),
    "Records": st.binary(max_size=6) | st.sampled_from([bytes(4095), bytes(4096), bytes(20_000)]),
}
"""Values of every primitive, with the sizes at which a length needs another byte."""

NULLABLE = {"String", "Bytes", "Records"}


def _ranges(draw: DrawFn) -> str:
    low = draw(st.integers(0, HIGHEST))
    return draw(st.sampled_from([f"{low}+", f"{low}-{draw(st.integers(low, HIGHEST))}", "0+"]))


@st.composite
def declarations(draw: DrawFn) -> type[Message]:
    """A message of versions 0 to 4 with any kind of field, structs nested up to two deep."""
    flexible = draw(st.sampled_from(["none", "0+", "2+"]))
    namespace = _fields(draw, depth=2, flexible=flexible)
    keywords: dict[str, Any] = {"versions": f"0-{HIGHEST}", "flexible": flexible}
    made: Any = StructMeta("Made", (Data,), namespace, **keywords)
    return made  # type: ignore[no-any-return]  # a metaclass called by hand says only that it makes a type


def _fields(draw: DrawFn, depth: int, flexible: str) -> dict[str, Any]:
    annotations: dict[str, str] = {}
    namespace: dict[str, Any] = {"__annotations__": annotations, "__module__": __name__, "__qualname__": "Made"}
    for index in range(draw(st.integers(0 if depth == 2 else 1, 5))):
        name = f"field_{index}"
        kind = draw(st.sampled_from([*VALUES, *(["Struct"] * 3 if depth else [])]))
        if kind == "Struct":
            kind = f"Inner{index}"
            namespace[kind] = StructMeta(kind, (Struct,), _fields(draw, depth - 1, flexible))
        array = kind != "Records" and draw(st.booleans())
        may_be_null = array or kind in NULLABLE or kind.startswith("Inner")
        null = may_be_null and draw(st.booleans())
        annotations[name] = (f"Array[{kind}]" if array else kind) + " | None" * null
        given: dict[str, Any] = {"ignorable": draw(st.booleans())}
        if draw(st.booleans()):
            given["versions"] = _ranges(draw)
        if null and draw(st.booleans()):
            given["default"] = None
        if null and draw(st.booleans()) and given.get("default", 0) is not None:
            given["nullable"] = _ranges(draw)
        if flexible != "none" and kind != "Records" and draw(st.integers(0, 3)) == 0:
            given["tag"] = index
            given["tagged"] = flexible
        if not array and kind == "String" and draw(st.integers(0, 5)) == 0:
            given["flexible"] = "none"
        namespace[name] = field(**given)
    return namespace


@st.composite
def messages(draw: DrawFn) -> tuple[Message, int]:
    """A message that one of its versions can express, and that version."""
    declaration = draw(declarations())
    version = draw(st.integers(0, HIGHEST))
    flexible = declaration.FLEXIBLE is not None and version >= declaration.FLEXIBLE
    filled: Any = _fill(draw, declaration, version, flexible)
    return filled, version


def _fill(draw: DrawFn, struct: StructMeta, version: int, flexible: bool) -> Struct:
    values: dict[str, Any] = {}
    for one in struct.fields:
        if version in one.versions:
            values[one.name] = _content(draw, one, version, flexible)
    if flexible and draw(st.integers(0, 4)) == 0:
        unknown = st.dictionaries(st.integers(100, 20_000), st.binary(max_size=200), min_size=1, max_size=3)
        values["unknown_tagged_fields"] = draw(unknown)
    made: Struct = struct(**values)
    return made


def _content(draw: DrawFn, one: Field, version: int, flexible: bool) -> Any:
    if one.nullable != NO_VERSIONS and version in one.nullable and draw(st.integers(0, 3)) == 0:
        return None
    if one.is_array:
        return [_item(draw, one.type, version, flexible) for _ in range(draw(st.integers(0, 3)))]
    return _item(draw, one.type, version, flexible)


def _item(draw: DrawFn, kind: str | StructMeta, version: int, flexible: bool) -> Any:
    if isinstance(kind, str):
        return draw(VALUES[kind])
    return _fill(draw, kind, version, flexible)
