"""Java's string hash, and the partition that follows from it."""

from __future__ import annotations

import pytest

from blumfeld.coordinator.partitioning import java_hash, partition_for


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("a", 97),
        ("hello", 99162322),
        ("polygenelubricants", -(1 << 31)),
        ("ä€", ord("ä") * 31 + ord("€")),
        ("😀", 0xD83D * 31 + 0xDE00),
    ],
)
def test_hashes_are_those_of_java(text: str, value: int) -> None:
    assert java_hash(text) == value


def test_the_smallest_hash_has_no_absolute_value() -> None:
    assert partition_for("polygenelubricants", 50) == 0


@pytest.mark.parametrize(("group", "partition"), [("hello", 22), ("a", 47), ("", 0)])
def test_partitions(group: str, partition: int) -> None:
    assert partition_for(group, 50) == partition
