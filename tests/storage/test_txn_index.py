"""The transaction index: aborted ranges, and which of them concern a read."""

from __future__ import annotations

from pathlib import Path

import pytest

from blumfeld.env.disk import Disk
from blumfeld.storage.results import AbortedTransaction
from blumfeld.storage.txn_index import TransactionIndex, overlapping


@pytest.fixture
def path(disk: Disk, tmp_path: Path) -> str:
    disk.make_directories(str(tmp_path))
    return f"{tmp_path}/00000000000000000000.txnindex"


ABORTED = [
    AbortedTransaction(1, 0, 10, 5),
    AbortedTransaction(2, 5, 20, 21),
    AbortedTransaction(3, 30, 40, 41),
]


def filled(disk: Disk, path: str) -> TransactionIndex:
    index = TransactionIndex(disk, path, exists=False)
    for aborted in ABORTED:
        index.append(aborted)
    return index


def test_there_is_no_file_before_the_first_abort(disk: Disk, path: str) -> None:
    index = TransactionIndex(disk, path, exists=False)
    assert index.all() == []
    assert not disk.exists(path)
    index.append(ABORTED[0])
    assert disk.size(path) == 34


def test_entries_survive_reopening(disk: Disk, path: str) -> None:
    filled(disk, path)
    assert TransactionIndex(disk, path, exists=True).all() == ABORTED


@pytest.mark.parametrize(
    ("start", "end", "producers", "complete"),
    [
        (0, 5, [1], True),
        (0, 6, [1, 2], True),
        (11, 21, [2], True),
        (21, 30, [], True),
        (21, 31, [3], True),
        (41, 99, [], False),
    ],
)
def test_ranges_that_overlap_are_found(
    disk: Disk, path: str, start: int, end: int, producers: list[int], complete: bool
) -> None:
    found: list[AbortedTransaction] = []
    assert filled(disk, path).collect(start, end, found) is complete
    assert [aborted.producer_id for aborted in found] == producers


def test_a_copy_stays_as_it_was(disk: Disk, path: str) -> None:
    index = filled(disk, path)
    again = TransactionIndex(disk, path, exists=True)
    copy = index.copy()
    assert again.copy() == copy
    index.truncate(0)
    assert index.copy() == b""
    assert overlapping([copy[:34], b"", copy[34:]], 11, 31) == ABORTED[1:]
    assert overlapping([copy], 0, 30) == ABORTED[:2]
    assert TransactionIndex(disk, path + "x", exists=False).copy() == b""


def test_truncation_drops_markers_at_or_behind_the_offset(disk: Disk, path: str) -> None:
    index = filled(disk, path)
    index.truncate(20)
    assert index.all() == ABORTED[:1]
    assert TransactionIndex(disk, path, exists=True).all() == ABORTED[:1]
    index.append(ABORTED[2])
    assert TransactionIndex(disk, path, exists=True).all() == [ABORTED[0], ABORTED[2]]


def test_a_torn_entry_is_overwritten(disk: Disk, path: str) -> None:
    filled(disk, path)
    file = disk.open(path)
    file.truncate(34 * 2 + 11)
    file.close()
    index = TransactionIndex(disk, path, exists=True)
    assert index.all() == ABORTED[:2]
    index.append(ABORTED[2])
    assert TransactionIndex(disk, path, exists=True).all() == ABORTED


def test_reset_removes_the_file(disk: Disk, path: str) -> None:
    index = filled(disk, path)
    index.reset()
    index.reset()
    assert index.all() == []
    assert not disk.exists(path)
