"""Records from Apache Kafka's internal logs as a file: one of each type and version that a broker wrote.

`tests/interop/record_golden.py` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parent / "logged.jsonl"

METADATA, OFFSETS, TRANSACTIONS = "__cluster_metadata", "__consumer_offsets", "__transaction_state"


class Logged(NamedTuple):
    """One record as it lay in a log."""

    log: str
    control: bool
    key: bytes | None
    value: bytes | None

    @property
    def kind(self) -> tuple[object, ...]:
        """What tells records apart: type and version, which are the first bytes of key and value."""
        of_key = None if self.key is None else self.key[: 4 if self.control else 2]
        of_value = None if self.value is None else self.value[: 3 if self.log == METADATA and not self.control else 2]
        return self.log, self.control, of_key, of_value


def choose(records: Iterable[Logged]) -> list[Logged]:
    """The longest record of each kind, for it says most."""
    chosen: dict[tuple[object, ...], Logged] = {}
    for record in records:
        best = chosen.get(record.kind)
        if best is None or len(record.value or b"") > len(best.value or b""):
            chosen[record.kind] = record
    return sorted(chosen.values(), key=repr)


@cache
def logged() -> tuple[Logged, ...]:
    lines = (json.loads(line) for line in FILE.read_text().splitlines())
    return tuple(Logged(one["log"], one["control"], _bytes(one["key"]), _bytes(one["value"])) for one in lines)


def write(records: list[Logged]) -> None:
    lines = (
        {"log": one.log, "control": one.control, "key": _hex(one.key), "value": _hex(one.value)} for one in records
    )
    FILE.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
