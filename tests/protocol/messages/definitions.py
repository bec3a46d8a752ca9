"""Kafka's own definitions of messages (JSON), and how a declaration is compared with one.

They ship inside kafka-python and inside Kafka's jars; neither needs Java to be read. A definition of another
release may lack our newest versions: what is compared are the versions that both have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from blumfeld.protocol.fields import Field, VersionRange, parse_versions
from blumfeld.protocol.primitives import ZERO_UUID
from blumfeld.protocol.schema import Message, StructMeta

Definition = dict[str, Any]

PRIMITIVES = {
    "bool": "Bool",
    "bytes": "Bytes",
    "float64": "Float64",
    "int8": "Int8",
    "int16": "Int16",
    "int32": "Int32",
    "int64": "Int64",
    "records": "Records",
    "string": "String",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uuid": "Uuid",
}

ZEROES = {"Bool": False, "Bytes": b"", "Float64": 0.0, "String": "", "Uuid": ZERO_UUID, "Records": b""}


_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*')
"""A string, which may hold two slashes, or a comment."""


_JAR = re.compile(r"kafka-(clients|metadata|raft|group-coordinator|transaction-coordinator)-[\d.]+\.jar")
"""The jars that hold definitions of what we declare."""


@cache
def of_kafka_python() -> dict[str, Definition]:
    """The definitions that kafka-python ships, by message name."""
    folder = resources.files("kafka.protocol.schemas.resources")
    texts = (file.read_text() for file in folder.iterdir() if file.name.endswith(".json"))
    return _by_name(texts)


@cache
def of_jars(jars: tuple[str, ...]) -> dict[str, Definition]:
    """The definitions in Kafka's jars, by message name."""
    return _by_name(text for jar in jars if _JAR.match(Path(jar).name) for text in _in_jar(jar))


def _in_jar(jar: str) -> Iterator[str]:
    with ZipFile(jar) as archive:
        for name in archive.namelist():
            if re.search(r"message/\w+\.json$|common/metadata/\w+\.json$", name):
                yield archive.read(name).decode()


def _by_name(texts: Iterable[str]) -> dict[str, Definition]:
    found = (json.loads(_COMMENT.sub(r"\1", text)) for text in texts)
    return {definition["name"]: definition for definition in found if "fields" in definition}


def versions_of(definition: Definition) -> VersionRange:
    return parse_versions(definition["validVersions"])


FORMER_NAMES = {("TxnOffsetCommitRequest", "generationid"): "generationidormemberepoch"}
"""Fields that Kafka renamed (with 4.4), by message."""


def plain(name: str, message: str = "") -> str:
    """A field's name without what differs by convention, or release: `KRaftVersion` is `kraft_version`."""
    name = name.replace("_", "").lower()
    return FORMER_NAMES.get((message, name), name)


def differences(message: type[Message], definition: Definition) -> list[str]:
    """What the declaration says otherwise than the definition, in the versions both have."""
    both = _overlap(message.VERSIONS, versions_of(definition))
    comparison = _Comparison(definition, both)
    flexible = parse_versions(definition["flexibleVersions"])
    for version in both.all:
        ours = message.FLEXIBLE is not None and version >= message.FLEXIBLE
        if ours != (version in flexible):
            comparison.found.append(f"v{version} is {'' if ours else 'not '}flexible")
    comparison.compare(message, definition["fields"], both, message.__name__)
    return comparison.found


def _overlap(one: VersionRange, other: VersionRange) -> VersionRange:
    return VersionRange(max(one.low, other.low), min(one.high, other.high))


class _Comparison:
    def __init__(self, definition: Definition, versions: VersionRange) -> None:
        self.versions = versions
        self.common = {struct["name"]: struct["fields"] for struct in definition.get("commonStructs", ())}
        self.found: list[str] = []

    def compare(self, ours: StructMeta, theirs: list[Definition], versions: VersionRange, path: str) -> None:
        declared = {plain(field.name): field for field in ours.fields}
        defined = {plain(field["name"], path): field for field in theirs}
        order = [name for name in declared if name in defined]
        if order != [name for name in defined if name in declared]:
            self.found.append(f"{path}: the order is {order}")
        for name in declared.keys() | defined.keys():
            there = f"{path}.{name}"
            definition = defined.get(name)
            present = _field_versions(definition, versions) if definition else VersionRange(0, -1)
            field = declared.get(name)
            self._say(there, "versions", _within(field.versions, versions) if field else [], list(present.all))
            if field and definition and present.all:
                self._compare_field(field, definition, present, versions, there)

    def _compare_field(
        self, field: Field, definition: Definition, present: VersionRange, parent: VersionRange, path: str
    ) -> None:
        kind = definition["type"].removeprefix("[]")
        is_array = definition["type"] != kind
        nullable = parse_versions(definition.get("nullableVersions", "none"))
        tagged = parse_versions(definition.get("taggedVersions", "none"))
        self._say(path, "array", field.is_array, is_array)
        self._say(path, "null", _within(field.nullable, present), _within(nullable, present))
        self._say(path, "tagged", _within(field.tagged, present), _within(tagged, present))
        self._say(path, "tag", field.tag, definition.get("tag"))
        self._say(path, "default", _default_of(field), _defined_default(definition, kind, is_array))
        if present != parent:
            self._say(path, "ignorable", field.ignorable, definition.get("ignorable", False))
        if isinstance(field.type, str):
            self._say(path, "type", field.type, PRIMITIVES.get(kind, kind))
        else:
            inner = definition.get("fields") or self.common.get(kind)
            if inner is None:
                self.found.append(f"{path}: {kind} is no struct")
            else:
                self.compare(field.type, inner, present, path)

    def _say(self, path: str, what: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            self.found.append(f"{path}: {what} is {ours!r}, defined as {theirs!r}")


def _field_versions(definition: Definition, versions: VersionRange) -> VersionRange:
    text = definition.get("versions") or definition["taggedVersions"]
    return _overlap(parse_versions(text), versions)


def _within(versions: VersionRange, parent: VersionRange) -> list[int]:
    return list(_overlap(versions, parent).all)


def _default_of(field: Field) -> object:
    return field.default() if field.default is list else "a struct" if callable(field.default) else field.default


def _defined_default(definition: Definition, kind: str, is_array: bool) -> object:
    """Kafka's default. A null that is not the word "null" says nothing, and is in the definitions by mistake."""
    given = definition.get("default")
    if given == "null":
        return None
    if is_array:
        return []
    primitive = PRIMITIVES.get(kind)
    if primitive is None:
        return "a struct"
    if primitive == "Records" and "nullableVersions" in definition:
        return None
    if primitive == "Bool":
        return given in (True, "true")
    if given in (None, "") or primitive == "Uuid":
        return ZEROES.get(primitive, 0)
    return given if primitive == "String" else int(str(given), 0)
