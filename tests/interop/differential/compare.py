"""Two transcripts side by side: where they differ, and whether `docs/compatibility.md` says so.

Owns the table's format: rows of `| step | field | Apache Kafka | Blumfeld | why |` between two markers. Step and field
may have `*`; a value may be `*` where it does not matter. Every difference has a row, and every row a difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

TABLE = Path(__file__).parents[3] / "docs" / "compatibility.md"
BEGIN, END = "<!-- differences: begin -->", "<!-- differences: end -->"
MISSING, HERE = "(nothing)", "(something)"
IDENTIFYING = (
    "name",
    "topic",
    "topic_name",
    "resource_name",
    "key",
    "group_id",
    "partition_index",
    "partition",
    "index",
    "partition_id",
    "api_key",
    "feature",
    "member_id",
    "replica_id",
    "batch_index",
)
MAX_SHOWN = 300


class Difference(NamedTuple):
    """One field of one step."""

    step: str
    field: str
    kafka: str
    ours: str

    def __str__(self) -> str:
        return f"| {self.step} | {self.field} | {escaped(self.kafka)} | {escaped(self.ours)} |"


class Row(NamedTuple):
    """One row of the table."""

    step: str
    field: str
    kafka: str
    ours: str
    why: str

    def explains(self, difference: Difference) -> bool:
        return (
            matches(difference.step, self.step)
            and matches(difference.field, self.field)
            and self.kafka in ("*", difference.kafka)
            and self.ours in ("*", difference.ours)
        )


def differences(kafka: Mapping[str, Any], ours: Mapping[str, Any]) -> list[Difference]:
    """Field by field, in the order of the script."""
    return [
        Difference(step, field, left, right)
        for step in dict.fromkeys((*kafka, *ours))
        for field, left, right in _differing("", kafka.get(step, MISSING), ours.get(step, MISSING))
    ]


def _differing(path: str, kafka: Any, ours: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(kafka, dict) and isinstance(ours, dict):
        for name in dict.fromkeys((*kafka, *ours)):
            inner = f"{path}.{name}" if path else name
            yield from _differing(inner, kafka.get(name, MISSING), ours.get(name, MISSING))
    elif _has_elements(kafka) and _has_elements(ours) and any(isinstance(item, dict) for item in (*kafka, *ours)):
        theirs, mine = _by_identity(kafka), _by_identity(ours)
        for name in dict.fromkeys((*theirs, *mine)):
            yield from _differing(f"{path}[{name}]", theirs.get(name, MISSING), mine.get(name, MISSING))
    elif kafka != ours:
        yield path or "answer", _text(kafka), _text(ours)


def _has_elements(value: Any) -> bool:
    return isinstance(value, list)


def _by_identity(items: list[Any]) -> dict[str, Any]:
    """Elements by what identifies them; the second of a name is `name 2`."""
    found: dict[str, Any] = {}
    for item in items:
        name = identity(item)
        count = sum(other == name or other.startswith(f"{name} ") for other in found)
        found[name if not count else f"{name} {count + 1}"] = item
    return found


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return HERE
    return (value if isinstance(value, str) else json.dumps(value))[:MAX_SHOWN]


def identity(item: Mapping[str, Any]) -> str:
    for name in IDENTIFYING:
        if item.get(name) not in (None, ""):
            return str(item[name])
    return str(item.get("topic_id", ""))


def matches(text: str, pattern: str) -> bool:
    """`*` stands for anything; brackets for themselves."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def escaped(text: str) -> str:
    return f"`{text}`".replace("|", "\\|").replace("\n", "⏎") if text != "*" else text


def rows(text: str | None = None) -> list[Row]:
    """The table's rows."""
    text = TABLE.read_text() if text is None else text
    found = []
    for line in text[text.index(BEGIN) : text.index(END)].splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "\0").split("|")[1:-1]]
        if len(cells) == 5 and cells[0].startswith("`"):
            plain = [cell.replace("\0", "|").replace("⏎", "\n") for cell in cells]
            step, field, kafka, ours = (cell[1:-1] if cell.startswith("`") else cell for cell in plain[:4])
            found.append(Row(step, field, kafka, ours, plain[4]))
    return found


def unexplained(found: list[Difference], table: list[Row]) -> tuple[list[Difference], list[Row]]:
    """Differences without a row, and rows without a difference."""
    return (
        [difference for difference in found if not any(row.explains(difference) for row in table)],
        [row for row in table if not any(row.explains(difference) for difference in found)],
    )
