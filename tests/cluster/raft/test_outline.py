"""The shape of the log: epochs, truncation points, snapshots, the voters in force."""

from __future__ import annotations

import pytest

from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.outline import NOT_IN_THE_LOG, LogOutline, Position
from tests.cluster.raft.quorum import voters_of

DIVERGING, SNAPSHOT, VALID = Position.DIVERGING, Position.SNAPSHOT, Position.VALID


def outline() -> LogOutline:
    """Epoch 1 from 0 to 9, epoch 3 from 10 to 19, epoch 4 from 20 to 29."""
    return LogOutline(end_offset=30, epochs=[(1, 0), (3, 10), (4, 20)])


def cleaned() -> LogOutline:
    """The same, beginning at a snapshot that ends at 10, so that its last record is of epoch 1."""
    log = LogOutline(start_offset=10, end_offset=30, epochs=[(3, 10), (4, 20)], snapshots=[OffsetAndEpoch(10, 1)])
    log.add_snapshot(OffsetAndEpoch(15, 3))
    return log


@pytest.mark.parametrize(
    ("offset", "epoch", "position", "where"),
    [
        (0, 0, VALID, (0, 0)),
        (30, 4, VALID, (30, 4)),
        (25, 4, VALID, (25, 4)),
        (20, 3, VALID, (20, 3)),
        (21, 3, DIVERGING, (20, 3)),
        (12, 2, DIVERGING, (10, 1)),
        (5, 2, DIVERGING, (10, 1)),
        (31, 4, DIVERGING, (30, 4)),
        (30, 9, DIVERGING, (30, 4)),
        (3, 0, DIVERGING, (0, 0)),
    ],
)
def test_where_another_log_parts_from_this_one(
    offset: int, epoch: int, position: Position, where: tuple[int, int]
) -> None:
    assert outline().locate(offset, epoch) == (position, where)


@pytest.mark.parametrize(
    ("offset", "epoch", "position", "where"),
    [
        (0, 0, SNAPSHOT, (15, 3)),
        (9, 1, SNAPSHOT, (15, 3)),
        (10, 1, VALID, (10, 1)),
        (10, 3, SNAPSHOT, (15, 3)),
        (12, 0, SNAPSHOT, (15, 3)),
        (12, 1, DIVERGING, (10, 1)),
        (12, 3, VALID, (12, 3)),
        (30, 4, VALID, (30, 4)),
    ],
)
def test_what_lies_before_the_log_is_in_the_snapshot(
    offset: int, epoch: int, position: Position, where: tuple[int, int]
) -> None:
    assert cleaned().locate(offset, epoch) == (position, where)


@pytest.mark.parametrize(
    ("diverging", "point"),
    [((20, 3), 20), ((15, 3), 15), ((25, 3), 20), ((12, 2), 10), ((99, 9), 30), ((4, 0), 4), ((99, 0), 30)],
)
def test_where_to_cut(diverging: tuple[int, int], point: int) -> None:
    assert outline().truncation_point(OffsetAndEpoch(*diverging)) == point


def test_appends_extend_the_log_and_its_epochs() -> None:
    log = LogOutline()
    log.append(BatchInfo(0, 4, 1))
    log.append(BatchInfo(5, 5, 1))
    log.append(BatchInfo(6, 9, 4))
    assert log.epochs == [(1, 0), (4, 6)]
    assert log.end == OffsetAndEpoch(10, 4)
    assert log.durable_offset == 0


def test_a_truncation_takes_epochs_and_durability_with_it() -> None:
    log = outline()
    log.truncate(20)
    assert (log.end, log.durable_offset, log.epochs) == (OffsetAndEpoch(20, 3), 20, [(1, 0), (3, 10)])
    log.truncate(15)
    assert log.end == OffsetAndEpoch(15, 3)
    log.truncate(99)
    assert log.end_offset == 15


def test_a_flush_that_began_before_a_truncation_proves_nothing() -> None:
    log = LogOutline()
    log.append(BatchInfo(0, 9, 1))
    generation = log.generation
    log.truncate(5)
    log.append(BatchInfo(5, 9, 2))
    assert not log.flushed(generation, 10)
    assert log.durable_offset == 0
    assert log.flushed(log.generation, 7)
    assert log.durable_offset == 7
    assert not log.flushed(log.generation, 6)


def test_cleaning_keeps_the_epoch_that_goes_on() -> None:
    log = outline()
    log.add_snapshot(OffsetAndEpoch(5, 1))
    log.add_snapshot(OffsetAndEpoch(15, 3))
    assert log.advance_start(OffsetAndEpoch(15, 3)) == (OffsetAndEpoch(5, 1),)
    assert log.epochs == [(3, 15), (4, 20)]
    assert log.snapshots == [OffsetAndEpoch(15, 3)]


def test_a_log_cleaned_to_its_end_remembers_its_epoch_by_the_snapshot() -> None:
    log = outline()
    log.add_snapshot(OffsetAndEpoch(30, 4))
    log.advance_start(OffsetAndEpoch(30, 4))
    assert log.end == OffsetAndEpoch(30, 4)
    assert log.locate(30, 4) == (VALID, OffsetAndEpoch(30, 4))
    log.append(BatchInfo(30, 30, 4))
    assert log.epochs == [(4, 30)]


def test_a_reset_forgets_all_but_the_snapshot() -> None:
    log = outline()
    log.reset(OffsetAndEpoch(50, 6), voters_of(1, 2), 1)
    assert (log.start_offset, log.end, log.durable_offset) == (50, OffsetAndEpoch(50, 6), 50)
    assert log.voters == voters_of(1, 2)
    assert log.voters_offset == 49


def test_voters_are_in_force_when_appended_and_leave_with_a_truncation() -> None:
    log = LogOutline(voters=voters_of(1), kraft_version=1)
    assert log.voters_offset == NOT_IN_THE_LOG
    log.append(BatchInfo(0, 2, 1, voters=voters_of(1, 2), kraft_version=1))
    log.append(BatchInfo(3, 3, 1))
    log.append(BatchInfo(4, 4, 1, voters=voters_of(1, 2, 3)))
    assert (log.voters, log.voters_offset, log.kraft_version) == (voters_of(1, 2, 3), 4, 1)
    assert log.voters_at(3) == (voters_of(1, 2), 1)
    assert log.voters_at(-1) == (voters_of(1), 1)
    log.truncate(4)
    assert log.voters == voters_of(1, 2)
    log.truncate(0)
    assert log.voters == voters_of(1)


def test_cleaning_keeps_the_voters_in_force_at_the_start() -> None:
    log = LogOutline(voters=voters_of(1), kraft_version=1)
    log.append(BatchInfo(0, 0, 1, voters=voters_of(1, 2)))
    log.append(BatchInfo(1, 9, 1))
    log.append(BatchInfo(10, 10, 1, voters=voters_of(1, 2, 3)))
    log.add_snapshot(OffsetAndEpoch(5, 1))
    log.advance_start(OffsetAndEpoch(5, 1))
    assert log.voters_at(4) == (voters_of(1, 2), 1)
    assert log.voters == voters_of(1, 2, 3)
