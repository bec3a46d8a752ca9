"""The history of leader epochs: assignment, look-up, truncation, file."""

from __future__ import annotations

import pytest

from blumfeld.storage.epochs import LeaderEpochs, MalformedCheckpoint, decode, encode


def history(*entries: tuple[int, int]) -> LeaderEpochs:
    return LeaderEpochs(list(entries))


def test_epochs_ascend() -> None:
    epochs = history((1, 0), (3, 10))
    assert epochs.latest == 3
    assert not epochs.assign(3, 15)
    assert epochs.assign(4, 20)
    assert epochs.entries == [(1, 0), (3, 10), (4, 20)]


@pytest.mark.parametrize(
    ("epoch", "start", "entries"),
    [
        (5, 10, [(1, 0), (5, 10)]),  # the epoch before it had no records
        (5, 5, [(1, 0), (5, 5)]),  # a new leader's log diverged earlier
        (2, 30, [(1, 0), (2, 30)]),  # an older epoch supersedes newer ones that were cut off
        (3, 4, [(1, 0), (3, 4)]),
        (1, 0, [(1, 0)]),
    ],
)
def test_a_conflicting_entry_replaces_newer_ones(epoch: int, start: int, entries: list[tuple[int, int]]) -> None:
    epochs = history((1, 0), (3, 10))
    epochs.assign(epoch, start)
    assert epochs.entries == entries


@pytest.mark.parametrize(
    ("asked", "answer"),
    [(-1, (-1, -1)), (0, (0, 5)), (1, (1, 5)), (2, (2, 20)), (3, (2, 20)), (4, (4, 20)), (6, (6, 99)), (7, (-1, -1))],
)
def test_where_an_epoch_ends(asked: int, answer: tuple[int, int]) -> None:
    """As OffsetForLeaderEpoch answers it; epoch 1 had no records, epoch 4 neither."""
    epochs = history((2, 5), (4, 20), (6, 21))
    if asked == 4:
        answer = (4, 21)
    assert epochs.end_offset_for(asked, 99) == answer


def test_the_epoch_of_an_offset() -> None:
    epochs = history((2, 5), (4, 20))
    assert [epochs.epoch_at(offset) for offset in (0, 4, 5, 19, 20, 99)] == [-1, -1, 2, 2, 4, 4]
    assert history().epoch_at(3) == -1


def test_truncating_both_ends() -> None:
    epochs = history((1, 0), (2, 10), (3, 20))
    epochs.truncate_from_end(20)
    assert epochs.entries == [(1, 0), (2, 10)]
    epochs.truncate_from_start(5)
    assert epochs.entries == [(1, 5), (2, 10)]
    epochs.truncate_from_start(10)
    assert epochs.entries == [(2, 10)]
    epochs.truncate_from_start(30)
    assert epochs.entries == [(2, 30)]
    epochs.clear()
    assert epochs.latest == -1


def test_changes_are_counted() -> None:
    epochs = history((1, 0))
    before = epochs.changes
    epochs.assign(1, 5)
    epochs.truncate_from_end(5)
    epochs.truncate_from_start(0)
    assert epochs.changes == before
    epochs.truncate_from_start(2)
    assert epochs.changes == before + 1


def test_the_file() -> None:
    assert encode([(1, 0), (3, 10)]) == b"0\n2\n1 0\n3 10\n"
    assert decode(b"0\n2\n1 0\n3 10\n") == [(1, 0), (3, 10)]
    assert decode(b"") == []
    assert decode(b"0\n0\n") == []


@pytest.mark.parametrize("text", [b"1\n0\n", b"0\n", b"0\n2\n1 0\n", b"0\n1\nx y\n", b"0\n2\n3 0\n1 5\n", b"\0\0\0"])
def test_a_malformed_file(text: bytes) -> None:
    with pytest.raises(MalformedCheckpoint):
        decode(text)
