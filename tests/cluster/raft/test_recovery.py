"""What a replica makes of its files after it stopped, in whatever way."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.outline import NOT_IN_THE_LOG
from blumfeld.cluster.raft.recovery import FoundSnapshot, InconsistentLogError, Recovered, recover
from tests.cluster.raft.quorum import voters_of

ZERO = OffsetAndEpoch(0, 0)
NOTHING = FoundSnapshot(None, 0)
THREE = FoundSnapshot(voters_of(1, 2, 3), 1)


def recovered(start: int, end: int, epochs: list[tuple[int, int]], snapshots: Any, **others: Any) -> Recovered:
    return recover(
        start_offset=start,
        end_offset=end,
        epochs=epochs,
        snapshots=snapshots,
        control_batches=others.pop("control_batches", ()),
        **others,
    )


def test_an_empty_directory() -> None:
    found = recovered(0, 0, [], {})
    assert found.outline.end == OffsetAndEpoch(0, 0)
    assert (found.reset_to, found.advance_to, found.obsolete) == (None, None, ())
    assert len(found.outline.voters) == 0


def test_a_formatted_directory_has_its_voters_from_0_0() -> None:
    found = recovered(0, 0, [], {ZERO: THREE})
    assert found.outline.voters == voters_of(1, 2, 3)
    assert (found.outline.kraft_version, found.outline.voters_offset) == (1, NOT_IN_THE_LOG)


def test_static_voters_serve_where_there_are_no_others() -> None:
    found = recovered(0, 0, [], {}, static_voters=voters_of(7))
    assert (found.outline.voters, found.outline.kraft_version) == (voters_of(7), 0)


def test_the_log_has_the_last_word_on_voters() -> None:
    batch = BatchInfo(4, 6, 2, voters=voters_of(1, 2), kraft_version=1)
    found = recovered(0, 9, [(1, 0), (2, 4)], {ZERO: THREE}, control_batches=[batch])
    assert (found.outline.voters, found.outline.voters_offset) == (voters_of(1, 2), 4)


def test_voters_come_from_the_newest_snapshot_and_what_follows_it() -> None:
    snapshots = {ZERO: THREE, OffsetAndEpoch(5, 1): FoundSnapshot(voters_of(1), 1)}
    later = BatchInfo(7, 7, 1, voters=voters_of(1, 2))
    assert recovered(0, 9, [(1, 0)], snapshots).outline.voters == voters_of(1)
    found = recovered(0, 9, [(1, 0)], snapshots, control_batches=[later])
    assert found.outline.voters == voters_of(1, 2)
    assert found.outline.voters_at(5) == (voters_of(1), 1)


@pytest.mark.parametrize(("end", "epochs"), [(3, [(1, 0)]), (0, []), (99, [(1, 0)])])
def test_a_snapshot_ahead_of_the_log_replaces_it(end: int, epochs: list[tuple[int, int]]) -> None:
    """Downloaded, and then the replica stopped before it dropped its log."""
    found = recovered(0, end, epochs, {ZERO: THREE, OffsetAndEpoch(50, 4): THREE})
    assert found.reset_to == 50
    assert found.outline.end == OffsetAndEpoch(50, 4)
    assert found.obsolete == (ZERO,)


def test_a_log_that_begins_below_its_snapshot_begins_at_it_again() -> None:
    found = recovered(20, 99, [(1, 20), (2, 40)], {OffsetAndEpoch(30, 1): THREE, OffsetAndEpoch(60, 2): THREE})
    assert found.advance_to == 30
    assert found.outline.start_offset == 30
    assert found.outline.epochs == [(1, 30), (2, 40)]


def test_snapshots_below_the_start_are_leftovers() -> None:
    snapshots = {ZERO: THREE, OffsetAndEpoch(10, 1): NOTHING, OffsetAndEpoch(30, 1): THREE}
    found = recovered(30, 99, [(1, 30)], snapshots)
    assert found.obsolete == (ZERO, OffsetAndEpoch(10, 1))
    assert found.outline.snapshots == [OffsetAndEpoch(30, 1)]


@pytest.mark.parametrize("snapshots", [{}, {ZERO: THREE}, {OffsetAndEpoch(10, 1): THREE}])
def test_a_log_without_its_beginning_is_no_log(snapshots: dict[OffsetAndEpoch, FoundSnapshot]) -> None:
    with pytest.raises(InconsistentLogError):
        recovered(20, 99, [(1, 20)], snapshots)
