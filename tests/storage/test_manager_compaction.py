"""The log manager compacts: rounds in its turns, and checkpoints that survive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Disk
from blumfeld.storage import checkpoint
from blumfeld.storage.compaction import Interrupted, Limits, Round, assess
from blumfeld.storage.log import Log
from tests.storage.builders import batch
from tests.storage.office import ID_A, ID_B, Late, Office


@pytest.fixture
def office(disk: Disk, clock: ManualClock, tmp_path: Path) -> Iterator[Office]:
    office = Office(disk, clock, f"{tmp_path}/a")
    yield office
    office.release()


def compacted(office: Office, partition: int = 0) -> Log:
    """A log of a compacted topic with a few keys, written over and over; several segments, all committed."""
    overrides = {"cleanup.policy": "compact", "internal.segment.bytes": "2000"}
    log = office.manager.create("compacted", partition, ID_A, overrides)
    for number in range(200):
        log.append_as_leader(batch(b"x" * 50, key=b"k%d" % (number % 5)), 1, now_ms=office.clock.time_ms())
    log.update_high_watermark(log.log_end_offset)
    return log


def test_a_dirty_log_is_compacted_in_turns_and_its_checkpoint_written(office: Office) -> None:
    log = compacted(office)
    before = log.size
    for _ in range(100):
        office.turn(100)
    assert log.size < before / 2
    written = office.disk.read_file(f"{log.home.path}/{checkpoint.CLEANER_OFFSETS}")
    assert checkpoint.decode_offsets(written) == {("compacted", 0): log.active.base_offset}
    log.truncate_to(10)
    written = office.disk.read_file(f"{log.home.path}/{checkpoint.CLEANER_OFFSETS}")
    assert checkpoint.decode_offsets(written)["compacted", 0] <= 10


def test_a_step_that_is_done_wakes_the_owner(office: Office) -> None:
    log = compacted(office)
    before = log.size
    woken: list[Callable[[], None]] = []
    office.manager.wake = woken.append
    office.turn(100)
    while woken:
        woken.pop(0)()
    assert log.size < before / 2


def test_at_the_end_a_step_that_was_done_just_before_wakes_nobody(office: Office) -> None:
    office.executor = late = Late()
    compacted(office)
    woken: list[Callable[[], None]] = []
    office.manager.wake = woken.append
    late.run()
    office.turn(100)
    late.run()
    office.manager.wake = None
    woken.pop()()
    given = list(late.given)
    late.run()
    assert not given, "no further step"


def test_a_topic_that_is_made_anew_during_a_round_gets_nothing_of_it(office: Office) -> None:
    log = compacted(office)
    due = assess(log, 0, office.clock.time_ms())
    assert due is not None
    made: list[Log] = []

    def make_anew(size: int) -> None:
        if size > 300 and not made:  # what is left of a segment is about to be written
            office.manager.delete("compacted", 0)
            made.append(office.manager.create("compacted", 0, ID_B))

    steps = Round(due, office.clock.time_ms(), Limits(throttle=make_anew)).steps()
    with pytest.raises(Interrupted, match="changed"):
        deque(step() for step in steps)
    assert made
    assert not [name for name in office.disk.list(made[0].directory) if name.endswith(".cleaned")]


def test_a_restart_goes_on_where_compaction_had_come(office: Office) -> None:
    log = compacted(office)
    for _ in range(100):
        office.turn(100)
    clean = log.active.base_offset
    office.restart()
    again = office.manager.get("compacted", 0)
    assert again is not None
    size = again.size
    for _ in range(100):
        office.turn(1_000)
    assert again.size == size, f"everything below {clean} is clean"
