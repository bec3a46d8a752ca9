"""The cleaner: the dirtiest log first, one step a turn, checkpoints that tell the truth."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic

import pytest

from blumfeld.config.sources import load
from blumfeld.env.clock import SystemClock
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.cleaned_transactions import CleanedTransactions
from blumfeld.storage.cleaner import LogCleaner, Pace
from blumfeld.storage.compaction import Interrupted, Round
from tests.storage.builders import NOW, far_future
from tests.storage.history import History


class Shop:
    """A cleaner whose steps run when the test says so."""

    def __init__(self, *histories: History, settings: tuple[str, ...] = ()) -> None:
        self.histories = histories
        self.clock = histories[0].clock
        self.waiting: list[tuple[Callable[[], object], Future[object]]] = []
        self.cleaner = LogCleaner(load(settings=settings), SystemClock(), self._submit)

    def _submit(self, step: Callable[[], object]) -> Future[object]:
        future: Future[object] = Future()
        self.waiting.append((step, future))
        return future

    def turn(self) -> None:
        self.cleaner.turn([history.log for history in self.histories], self.clock.time_ms())

    def work(self) -> None:
        """Run what the cleaner has submitted, as a thread would."""
        step, future = self.waiting.pop(0)
        try:
            future.set_result(step())
        except Exception as error:
            future.set_exception(error)

    def run(self) -> int:
        """Turns and steps until nothing is left to do; how many steps."""
        steps = 0
        self.turn()
        while self.cleaner.busy:
            if self.waiting:
                self.work()
                steps += 1
            self.turn()
        return steps


def dirty(keys: int = 5, records: int = 200) -> History:
    history = History()
    for number in range(records):
        history.put(f"k{number % keys}", f"value {number}")
    return history


def test_a_round_takes_one_step_at_a_time() -> None:
    shop = Shop(dirty())
    log = shop.histories[0].log
    assert shop.run() > 3
    assert shop.cleaner.checkpoints == {("topic", 0): log.active.base_offset}
    assert shop.cleaner.changed
    assert shop.histories[0].offsets() == shop.histories[0].survivors(log.active.base_offset, tombstones=True)
    assert shop.cleaner.last_result is not None
    assert shop.cleaner.last_result.bytes_written < shop.cleaner.last_result.bytes_read


def test_a_turn_without_a_finished_step_does_nothing() -> None:
    shop = Shop(dirty())
    shop.turn()
    shop.turn()
    assert len(shop.waiting) == 1


def test_the_dirtiest_log_goes_first() -> None:
    little, much = dirty(), dirty()
    shop = Shop(little, much)
    much.log.topic = "much"
    shop.cleaner.checkpoints = {("topic", 0): little.log.segments[1].base_offset, ("much", 0): 0}
    shop.run()
    assert shop.cleaner.checkpoints[("much", 0)] == much.log.active.base_offset
    assert shop.cleaner.checkpoints[("topic", 0)] == little.log.segments[1].base_offset
    shop.run()
    assert shop.cleaner.checkpoints[("topic", 0)] == little.log.active.base_offset


def test_a_clean_log_is_left_alone_for_a_while() -> None:
    shop = Shop(dirty(), settings=("log.cleaner.backoff.ms=15000",))
    shop.run()
    assert shop.run() == 0
    for number in range(400):
        shop.histories[0].put(f"k{number % 5}", "again")
    assert shop.run() == 0
    shop.clock.advance(15)
    assert shop.run() > 0


def test_logs_that_are_not_compacted_and_a_cleaner_that_is_off() -> None:
    history = History(cleanup_policy=("delete",))
    for _ in range(100):
        history.put("k", "v" * 50)
    assert Shop(history).run() == 0
    assert Shop(dirty(), settings=("log.cleaner.enable=false",)).run() == 0


def test_a_truncation_lowers_the_checkpoint() -> None:
    shop = Shop(dirty())
    shop.run()
    shop.cleaner.truncated("topic", 0, 1_000)
    assert shop.cleaner.checkpoints[("topic", 0)] > 17
    shop.cleaner.truncated("topic", 0, 17)
    assert shop.cleaner.checkpoints[("topic", 0)] == 17
    shop.cleaner.forget("topic", 0)
    assert shop.cleaner.checkpoints == {}


def test_a_log_cut_during_a_round_is_tried_again() -> None:
    shop = Shop(dirty())
    log = shop.histories[0].log
    shop.turn()
    log.truncate_to(log.segments[2].base_offset)
    shop.work()
    shop.turn()
    assert not shop.cleaner.busy
    assert shop.cleaner.checkpoints == {}
    shop.clock.advance(60)
    assert shop.run() > 0


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_segments_that_retention_takes_during_a_round_are_no_disk_error(steps: int) -> None:
    shop = Shop(dirty())
    log = shop.histories[0].log
    shop.turn()
    for _ in range(steps):
        shop.work()
        shop.turn()
    log.advance_log_start_offset(log.segments[3].base_offset)
    start = log.log_start_offset
    count = log.delete_old_segments(
        lambda _, following: following is not None and following.base_offset <= start, "test"
    )
    assert count > 0
    log.home.empty_trash(1 << 60)
    shop.run()
    assert log.home.error is None
    shop.clock.advance(60)
    shop.run()
    assert shop.cleaner.checkpoints[("topic", 0)] == log.active.base_offset


def test_damaged_data_make_a_log_uncleanable_and_spare_the_others() -> None:
    damaged, good = dirty(), dirty()
    damaged.log.topic = "damaged"
    segment = damaged.log.segments[0]
    segment.data.use().write_at(segment.size // 2, b"garbage" * 20)
    shop = Shop(damaged, good)
    shop.run()
    shop.run()
    assert list(shop.cleaner.uncleanable) == [("damaged", 0)]
    assert list(shop.cleaner.checkpoints) == [("topic", 0)]
    assert damaged.log.home.error is None


def test_a_time_that_64_bits_do_not_hold_is_compacted() -> None:
    """It came before the topic was compacted, or from another leader."""
    strange = History(cleanup_policy=("delete",))
    assert strange.log.append_as_leader(far_future(), 0, now_ms=NOW).error is ErrorCode.NONE
    strange.log.update_config(dirty().log.config)
    for number in range(400):
        strange.put(f"k{number % 5}", f"value {number}")
    shop = Shop(strange)
    shop.run()
    assert shop.cleaner.checkpoints == {("topic", 0): strange.log.active.base_offset}


def test_a_defect_that_one_log_meets_spares_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    strange, sound = dirty(), dirty()
    strange.log.topic = "strange"
    note = Round._note_keys

    def note_unless_strange(self: Round, transactions: CleanedTransactions) -> None:
        assert self.log is not strange.log, "a defect"
        note(self, transactions)

    monkeypatch.setattr(Round, "_note_keys", note_unless_strange)
    shop = Shop(strange, sound)
    for _ in range(2):
        shop.run()
    assert "a defect" in shop.cleaner.uncleanable[("strange", 0)]
    assert shop.cleaner.checkpoints == {("topic", 0): sound.log.active.base_offset}


def test_a_disk_error_takes_the_directory_offline() -> None:
    disk = FaultyDisk(3)
    history = History(disk=disk)
    for number in range(200):
        history.put(f"k{number % 5}", f"value {number}")
    shop = Shop(history)
    disk.inject(errno.EIO, "read_at", times=None)
    shop.run()
    assert history.log.home.error is not None
    assert shop.cleaner.checkpoints == {}
    disk.recover()
    assert shop.run() == 0


def test_closing_stops_the_round() -> None:
    history = dirty()
    with ThreadPoolExecutor(1) as threads:
        settings = ("log.cleaner.io.max.bytes.per.second=1000",)
        cleaner = LogCleaner(load(settings=settings), SystemClock(), threads.submit)
        cleaner.turn([history.log], history.clock.time_ms())
        started = monotonic()
        cleaner.close()
        assert monotonic() - started < 10
    assert not cleaner.busy
    assert history.offsets() == list(range(200))


def test_the_rate_is_kept() -> None:
    pace = Pace(SystemClock(), 100_000.0, dirty().log.home)
    started = monotonic()
    for _ in range(10):
        pace.throttle(1_000)
    assert 0.08 < monotonic() - started < 10


def test_a_pace_makes_room_for_an_append_and_can_be_stopped() -> None:
    home = dirty().log.home
    pace = Pace(SystemClock(), float("inf"), home)
    home.appending = True
    started = monotonic()
    pace.breathe()
    assert monotonic() - started >= 0.0001
    pace.stop()
    for home.appending in (True, False):
        with pytest.raises(Interrupted):
            pace.breathe()
