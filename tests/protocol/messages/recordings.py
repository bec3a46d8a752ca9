"""Bytes that Apache Kafka's classes wrote, kept for machines without Java and for releases newer than the jars.

`tests/interop/record_messages.py` makes the files: a line of JSON for each sample, with what Kafka read.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.protocol.messages.catalogue import Versioned, all_versions

FOLDER = Path(__file__).parent / "recorded"


class Recording(NamedTuple):
    """One message as Kafka wrote it."""

    subject: Versioned
    data: bytes
    fields: dict[str, Any]
    """The message as Kafka writes it in JSON."""
    release: str


@cache
def recordings() -> tuple[Recording, ...]:
    subjects = {(s.message.__name__, s.version): s for s in all_versions()}
    return tuple(
        Recording(subjects[line["message"], line["version"]], bytes.fromhex(line["hex"]), line["fields"], file.stem)
        for file in sorted(FOLDER.glob("*.jsonl"))
        for line in map(json.loads, file.read_text().splitlines())
    )


def write(file: Path, recorded: list[Recording]) -> None:
    lines = (
        {
            "message": recording.subject.message.__name__,
            "version": recording.subject.version,
            "hex": recording.data.hex(),
            "fields": recording.fields,
        }
        for recording in recorded
    )
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines))
