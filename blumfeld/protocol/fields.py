"""One field of a declaration: what `field(…)` is given, and what that means.

Owns version ranges in Kafka's notation, defaults and their rules. Knows nothing of classes or bytes;
declarations import `field` from `schema.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from blumfeld.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from blumfeld.protocol.schema import StructMeta

_Value = TypeVar("_Value")
MISSING: Any = object()
_UNBOUNDED = 32767


class VersionRange(NamedTuple):
    """Versions `low` to `high`, both included. `version in range` tests for them."""

    low: int
    high: int

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and self.low <= version <= self.high

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low}-{self.high}"

    @property
    def all(self) -> range:
        return range(self.low, self.high + 1)


NO_VERSIONS = VersionRange(0, -1)


def parse_versions(text: str) -> VersionRange:
    """Kafka's notation: "3", "3-13", "9+", "none"."""
    if text == "none":
        return NO_VERSIONS
    if text.endswith("+"):
        return VersionRange(int(text[:-1]), _UNBOUNDED)
    low, _, high = text.partition("-")
    return VersionRange(int(low), int(high or low))


ZERO_VALUES: dict[str, object] = {
    "Bool": False,
    "Int8": 0,
    "Int16": 0,
    "Int32": 0,
    "Int64": 0,
    "UInt16": 0,
    "UInt32": 0,
    "Float64": 0.0,
    "String": "",
    "Bytes": b"",
    "Uuid": ZERO_UUID,
    "Records": b"",
}
"""Every primitive by its name in annotations, with the value that a field has when nothing is said."""


class Declared(NamedTuple):
    """What `field(…)` was given, until the class is first used."""

    versions: str | None = None
    nullable: str | None = None
    tag: int | None = None
    tagged: str | None = None
    default: Any = MISSING
    ignorable: bool = False
    flexible: str | None = None


@overload
def field(
    *,
    default: _Value,
    versions: str | None = None,
    nullable: str | None = None,
    tag: int | None = None,
    tagged: str | None = None,
    ignorable: bool = False,
    flexible: str | None = None,
) -> _Value: ...
@overload
def field(
    *,
    default_factory: Callable[[], _Value],
    versions: str | None = None,
    nullable: str | None = None,
    tag: int | None = None,
    tagged: str | None = None,
    ignorable: bool = False,
    flexible: str | None = None,
) -> _Value: ...
@overload
def field(
    *,
    versions: str | None = None,
    nullable: str | None = None,
    tag: int | None = None,
    tagged: str | None = None,
    ignorable: bool = False,
    flexible: str | None = None,
) -> Any: ...
def field(
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    versions: str | None = None,
    nullable: str | None = None,
    tag: int | None = None,
    tagged: str | None = None,
    ignorable: bool = False,
    flexible: str | None = None,
) -> Any:
    """Say more of a field than its type. Version ranges are in Kafka's notation ("3-7", "9+", "none").

    default: Kafka's `default`; [] is a fresh list per instance.
    default_factory: makes a fresh value of anything else (`lambda: Message.Inner()`).
    versions: those that have the field; all, where not given.
    nullable: those in which it may be None; all, where the annotation says `| None` and this is not given.
    tag, tagged: KIP-482; the field is tagged in the versions `tagged`, or wherever it is.
    ignorable: a version without the field may drop a value silently; else UnsupportedFieldError.
    flexible: versions in which lengths are compact, where they are not the message's ("none").
    """
    value = default_factory if default is MISSING else default
    return Declared(versions, nullable, tag, tagged, value, ignorable, flexible)


_ANNOTATION = re.compile(r"(?:Array\[(?P<array>[\w.]+)\]|(?P<plain>[\w.]+))(?P<null> \| None)?")


class Field:
    """One field as declared: its name, what may be in it, and in which versions it is where."""

    __slots__ = (
        "default",
        "flexible",
        "ignorable",
        "is_array",
        "name",
        "nullable",
        "tag",
        "tagged",
        "type",
        "versions",
    )

    name: str
    type: str | StructMeta
    """A primitive's name, or the Struct; of an array, that of its elements."""
    is_array: bool
    versions: VersionRange
    """The versions that have the field."""
    nullable: VersionRange
    """The versions in which it may be None."""
    tag: int | None
    tagged: VersionRange
    """The versions in which it is a tagged field; in the others it has its place in the sequence."""
    flexible: VersionRange | None
    """Where the field has flexible versions other than its message's (RequestHeader's client id)."""
    ignorable: bool
    """Whether a value may be dropped silently by a version without the field."""
    default: Any
    """Kafka's default; a callable makes a fresh one."""

    def __init__(self, name: str, annotation: str, declared: object, find_struct: Callable[[str], StructMeta]) -> None:
        given = declared if isinstance(declared, Declared) else Declared(default=declared)
        match = _ANNOTATION.fullmatch(annotation)
        if match is None:
            raise TypeError(f"{name}: {annotation!r} is no type of a field")
        type_name = match["array"] or match["plain"]
        self.name = name
        self.is_array = match["array"] is not None
        self.type = type_name if type_name in ZERO_VALUES else find_struct(type_name)
        self.versions = parse_versions(given.versions or "0+")
        self.tag = given.tag
        self.tagged = NO_VERSIONS if given.tag is None else parse_versions(given.tagged or given.versions or "0+")
        self.flexible = parse_versions(given.flexible) if given.flexible else None
        self.ignorable = given.ignorable
        self.nullable = parse_versions(given.nullable or "0+") if match["null"] else NO_VERSIONS
        self.default = self._default(given.default)
        if given.nullable and not match["null"]:
            raise TypeError(f"{name}: nullable, but the annotation does not admit None")

    def _default(self, given: Any) -> Any:
        if given is not MISSING:
            return list if given == [] else given
        if self.is_array:
            return list
        if isinstance(self.type, str):
            return None if self.type == "Records" and self.nullable != NO_VERSIONS else ZERO_VALUES[self.type]
        return self.type
