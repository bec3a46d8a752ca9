"""What a stopped broker of Apache Kafka left in its internal logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.records import read_records
from tests.protocol.golden.logged import METADATA, OFFSETS, TRANSACTIONS, Logged


def harvest(data: Path) -> Iterator[Logged]:
    """Every record of the internal logs and of the metadata snapshots, control records too."""
    for log in (METADATA, OFFSETS, TRANSACTIONS):
        for file in sorted(data.glob(f"{log}-*/*")):
            if file.suffix in (".log", ".checkpoint"):
                yield from _records(log, file.read_bytes())


def _records(log: str, segment: bytes) -> Iterator[Logged]:
    for batch in iterate_batches(segment, torn_tail=True):
        for record in read_records(batch):
            yield Logged(log, batch.is_control, record.key, record.value)
