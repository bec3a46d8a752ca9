"""Declarations made into functions: straight-line Python source for one message in one version.

Owns what the generators of `decoders.py` and `encoders.py` share: the layout of a struct in a version, source
being written, and what the generated code calls. Sources are made of declarations alone, never of input, when
a message is first used in a version; `schema.Message` keeps the functions.

Invariants: adjacent fields of fixed width are one `struct` call, which the length that follows them joins; no
generated function calls another one per field, and none recurses: nested structs are written out in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct as Format
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blumfeld.protocol.schema import StructMeta

if TYPE_CHECKING:
    from blumfeld.protocol.fields import Field
    from blumfeld.protocol.schema import Message, Struct

FIXED: Final = {
    "Bool": "?",
    "Int8": "b",
    "Int16": "h",
    "Int32": "i",
    "Int64": "q",
    "UInt16": "H",
    "UInt32": "I",
    "Float64": "d",
    "Uuid": "16s",
}
"""The primitives of fixed width, and how `struct` writes them."""

_MISSING: Any = object()


class Layout(NamedTuple):
    """Where a struct's fields are in one version."""

    sequence: list[Field]
    tagged: list[Field]
    """By ascending tag."""
    absent: list[Field]


def layout_of(struct: StructMeta, version: int) -> Layout:
    layout = Layout([], [], [])
    for field in struct.fields:
        if version not in field.versions:
            layout.absent.append(field)
        elif version in field.tagged:
            layout.tagged.append(field)
        else:
            layout.sequence.append(field)
    layout.tagged.sort(key=lambda field: field.tag or 0)
    return layout


class Dialect(NamedTuple):
    """A message's version, and whether that is flexible (KIP-482)."""

    version: int
    flexible: bool

    def compact(self, field: Field) -> bool:
        """Whether the field's length is a varint that counts from one."""
        return self.flexible if field.flexible is None else self.version in field.flexible

    def nullable(self, field: Field) -> bool:
        return self.version in field.nullable

    def tagged(self, field: Field) -> bool:
        """Whether it is one now. A struct that may be null is marked by int8 1 or -1, but 1 or 0 where tagged."""
        return self.version in field.tagged


def dialect_of(message: type[Message], version: int) -> Dialect:
    return Dialect(version, message.FLEXIBLE is not None and version >= message.FLEXIBLE)


class Source:
    """Python source being written: lines, indentation, names that are not taken, and the globals it needs."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0
        self._names = 0
        self.globals: dict[str, Any] = {}

    def add(self, line: str) -> None:
        self._lines.append("    " * self._depth + line)

    @contextmanager
    def block(self, line: str) -> Iterator[None]:
        """An indented block under `line`."""
        self.add(line)
        self._depth += 1
        first = len(self._lines)
        yield
        if len(self._lines) == first:
            self.add("pass")
        self._depth -= 1

    def name(self, stem: str) -> str:
        """A name not used before."""
        self._names += 1
        return f"{stem}{self._names}"

    def constant(self, stem: str, value: object) -> str:
        """A global of that value."""
        name = self.name(stem)
        self.globals[name] = value
        return name

    def format(self, method: str, codes: str) -> str:
        """The global that is `struct.Struct(codes).method`; one per format."""
        name = f"{method}_{codes.replace('?', 't')}"
        if name not in self.globals:
            self.globals[name] = getattr(Format(">" + codes), method)
        return name

    def default(self, field: Field) -> str:
        """An expression of the field's default."""
        value = default_of(field)
        if callable(value):
            return "[]" if value is list else self.constant("make_", value) + "()"
        if value is None or type(value) in (int, float, bool, str, bytes):
            return repr(value)
        return self.constant("default_", value)

    def function(self, name: str, file: str) -> Callable[..., Any]:
        """What `def name` of the source defines."""
        code = compile("\n".join(self._lines) + "\n", f"<{file}>", "exec")
        exec(code, self.globals)  # noqa: S102  # the source is made of declarations, never of input
        made: Callable[..., Any] = self.globals[name]
        return made

    def __str__(self) -> str:
        return "\n".join(self._lines)


def default_of(field: Field) -> Any:
    """The field's default: a value, or a callable that makes a fresh one. Of a struct: the shared one."""
    if isinstance(field.default, StructMeta):
        return shared_default(field.default)
    return field.default


def shared_default(struct: StructMeta) -> Struct:
    """The one instance that stands for "the default" of a struct's fields: it refuses assignments.

    A response of 1,000 partitions would otherwise make thousands of structs only to leave them out again.
    """
    found = struct.__dict__.get("_shared_default")
    if found is None:
        instance: Any = struct()
        frozen = type.__new__(
            StructMeta,
            struct.__name__,
            (struct,),
            {"__slots__": (), "__setattr__": _refuse, "__qualname__": struct.__qualname__},
        )
        instance.__class__ = frozen
        struct._shared_default = found = instance
    default: Struct = found
    return default


def _refuse(self: object, name: str, value: object) -> None:
    raise AttributeError(f"{type(self).__qualname__} is the shared default: assign a new one to change {name}")


def make_constructor(struct: StructMeta) -> Callable[..., None]:
    """`__init__` with a keyword for each field, and Kafka's defaults."""
    source = Source()
    source.globals["MISSING"] = _MISSING
    parameters, assignments = [], []
    for field in struct.fields:
        name, default = field.name, source.default(field)
        fresh = default.endswith(("()", "[]"))
        parameters.append(f"{name}=MISSING" if fresh else f"{name}={default}")
        value = f"{default} if {name} is MISSING else {name}" if fresh else name
        assignments.append(f"self.{name} = {value}")
    parameters.append("unknown_tagged_fields=None")
    assignments.append("self.unknown_tagged_fields = unknown_tagged_fields")
    with source.block(f"def __init__(self, *, {', '.join(parameters)}):"):
        for line in assignments:
            source.add(line)
    return source.function("__init__", f"{struct.__qualname__}.__init__")
