"""Other people's codecs, asked to read our bytes and to write them again.

kio is independent and generated from Kafka's definitions; kafka-python interprets the definitions it ships; Kafka's
own classes are the last word. None knows all: `has` says what each can judge.
"""

from __future__ import annotations

import io
import json
import subprocess
from base64 import b64encode
from functools import cache, cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, Protocol

from kafka.protocol.schemas import StructField, load_json
from kio.schema.index import schema_name_map
from kio.serial import entity_reader, entity_writer

from blumfeld.protocol.compile import default_of
from blumfeld.protocol.fields import Field
from blumfeld.protocol.primitives import uuid_to_text
from blumfeld.protocol.schema import Message, Struct
from tests.interop.java import class_path
from tests.protocol.messages.catalogue import Versioned
from tests.protocol.messages.definitions import of_kafka_python, plain, versions_of

JAVA_PROGRAM = Path(__file__).parents[2] / "interop" / "java" / "Messages.java"


class Oracle(Protocol):
    """A codec that knows declared tagged fields only: others are lost to it, or an error."""

    name: str

    def has(self, subject: Versioned) -> bool: ...

    def read_and_write(self, subject: Versioned, data: bytes) -> bytes:
        """What the oracle makes of bytes that it reads and writes again."""


class Kio:
    """Entities of kio, one class per message and version."""

    name = "kio"

    @cached_property
    def _paths(self) -> dict[tuple[str, int], str]:
        return {
            (path.partition(":")[2], version): path
            for versions in schema_name_map.values()
            for version, types in versions.items()
            for path in types.values()
        }

    def has(self, subject: Versioned) -> bool:
        return (subject.message.__name__, subject.version) in self._paths

    def read_and_write(self, subject: Versioned, data: bytes) -> bytes:
        entity_type = resolve_name(self._paths[subject.message.__name__, subject.version])
        entity, end = entity_reader(entity_type)(data, 0)
        assert end == len(data), f"kio reads {end} of {len(data)} bytes"
        output = io.BytesIO()
        entity_writer(entity_type)(output, entity)
        return output.getvalue()


class KafkaPython:
    """The generic codec of kafka-python over the definitions that it ships."""

    name = "kafka-python"

    def has(self, subject: Versioned) -> bool:
        definition = of_kafka_python().get(subject.message.__name__)
        return definition is not None and subject.version in versions_of(definition)

    def read_and_write(self, subject: Versioned, data: bytes) -> bytes:
        struct, is_header = _kafka_python_struct(subject.message.__name__)
        form = {"compact": subject.is_flexible and not is_header, "tagged": subject.is_flexible}
        buffer = io.BytesIO(data)
        values = struct.decode(buffer, version=subject.version, **form)
        assert buffer.tell() == len(data), f"kafka-python reads {buffer.tell()} of {len(data)} bytes"
        written: bytes = struct.encode(values, version=subject.version, **form)
        return written


@cache
def _kafka_python_struct(name: str) -> tuple[Any, bool]:
    """The codec of a message, and whether it is a header (those have no compact fields)."""
    definition = load_json(name)
    return StructField(definition), definition["type"] == "header"


class Answer(NamedTuple):
    """What Kafka's class read and wrote."""

    data: bytes
    fields: dict[str, Any]
    """The message as Kafka writes it in JSON."""


class Kafka:
    """Apache Kafka's own classes, in one Java process that answers a line at a time."""

    def __init__(self, jars: list[str]) -> None:
        # Started once, used for thousands of short answers: the quick compiler alone is the quickest.
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-Dfile.encoding=UTF-8"]
        command = ["java", *options, "-cp", class_path(jars), str(JAVA_PROGRAM)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", bufsize=1
        )

    def ask(self, subject: Versioned, data: bytes) -> Answer | None:
        """None where these jars do not know the message or the version. AssertionError where it is refused."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{subject.message.__name__} {subject.version} {data.hex() or '-'}\n")
        answer = self._process.stdout.readline().rstrip("\n")
        if answer == "unknown":
            return None
        written, _, fields = answer.partition(" ")
        assert written not in ("", "error"), f"{subject}: Kafka says {fields!r} of {data.hex()}"
        return Answer(b"" if written == "-" else bytes.fromhex(written), json.loads(fields))

    def close(self) -> None:
        self._process.communicate(timeout=10)


def disagreements(message: Message, version: int, fields: dict[str, Any]) -> list[str]:
    """Where the message differs from what Kafka says in JSON: names, values, and defaults left out."""
    return _disagree(message, version, fields, type(message).__name__)


def _disagree(struct: Struct, version: int, fields: dict[str, Any], path: str) -> list[str]:
    named = {plain(name, path): value for name, value in fields.items()}
    found = []
    for field in type(struct).fields:
        value = getattr(struct, field.name)
        name, there = plain(field.name), f"{path}.{field.name}"
        if version not in field.versions or field.type == "Records":
            named.pop(name, None)
        elif name in named:
            found += _differ(value, version, named.pop(name), field.type, there)
        elif version not in field.tagged or value != _default(field):
            found.append(f"{there}: {value!r} is not mentioned")
    return found + [f"{path}: there is no {name}" for name in named]


def _default(field: Field) -> Any:
    default = default_of(field)
    return default() if callable(default) else default


def _differ(ours: Any, version: int, theirs: Any, kind: object, path: str) -> list[str]:
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [text for i, (a, b) in pairs for text in _differ(a, version, b, kind, f"{path}[{i}]")]
    if isinstance(ours, Struct) and isinstance(theirs, dict):
        return _disagree(ours, version, theirs, path)
    if isinstance(ours, bytes):
        ours = uuid_to_text(ours) if kind == "Uuid" else b64encode(ours).decode()
    return [] if ours == theirs else [f"{path}: {ours!r} is {theirs!r} for Kafka"]
