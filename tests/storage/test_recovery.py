"""Opening a log: after a clean stop, after a kill, and after damage."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from blumfeld.storage.errors import CorruptLog
from blumfeld.storage.segment import Segment
from tests.storage.builders import LogBench, batch, sized_batch

FIRST = "00000000000000000000.log"
TOPIC_ID = bytes(range(16))


@pytest.mark.parametrize("stop", ["restart", "reopen"])
def test_everything_is_there_again(bench: LogBench, stop: str) -> None:
    bench.configure(segment_bytes=20_000)
    bench.fill(50, epoch=3)
    bench.append(batch(b"a", b"b", b"c"), epoch=4)
    before = [(s.base_offset, s.size, s.max_timestamp) for s in bench.log.segments]
    getattr(bench, stop)()
    log = bench.log
    assert log.log_end_offset == 53
    assert [(s.base_offset, s.size, s.max_timestamp) for s in log.segments] == before
    assert log.epochs.entries == [(3, 0), (4, 50)]
    assert log.latest_epoch == 4
    assert bench.read_all() == list(range(53))
    assert bench.append().base_offset == 53


def test_after_a_clean_stop_nothing_is_scanned(bench: LogBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.fill(50)
    bench.log.close()
    monkeypatch.setattr(Segment, "batches", lambda *_: pytest.fail("scanned"))
    log = bench.open(clean=True)
    assert log.log_end_offset == 50
    assert log.recovery_point == 50


@pytest.mark.parametrize("missing", [1, 500, 939, 940, 999])
def test_a_torn_last_batch_is_cut_off(bench: LogBench, missing: int) -> None:
    bench.fill(10)
    bench.kill()
    bench.cut(FIRST, 10_000 - missing)
    assert bench.open().log_end_offset == 9
    assert bench.disk.size(f"{bench.directory}/{FIRST}") == 9000
    assert bench.append().base_offset == 9
    assert bench.read_all() == list(range(10))


@pytest.mark.parametrize("position", [8, 16, 17, 21, 30, 61, 900])
def test_a_batch_that_was_damaged_before_it_was_flushed_ends_the_log(bench: LogBench, position: int) -> None:
    bench.fill(10)
    bench.kill()
    bench.overwrite(FIRST, 4000 + position, b"\x81\x82")
    assert bench.open().log_end_offset == 4
    assert bench.read_all() == list(range(4))


def test_preallocated_zeros_are_no_batches(bench: LogBench) -> None:
    bench.fill(3)
    bench.kill()
    bench.overwrite(FIRST, 3000, bytes(5000))
    assert bench.open().log_end_offset == 3
    assert bench.log.size == 3000


def test_segments_behind_the_damage_go(bench: LogBench) -> None:
    bench.configure(segment_bytes=3000)
    bench.fill(12)
    bench.kill()
    bench.overwrite("00000000000000000003.log", 1500, b"\xff")
    log = bench.open()
    assert log.log_end_offset == 4
    assert [segment.base_offset for segment in log.segments] == [0, 3]
    assert "00000000000000000006.log" not in bench.names()
    assert bench.read_all() == list(range(4))


def test_a_segment_that_repeats_offsets_ends_the_log(bench: LogBench) -> None:
    bench.configure(segment_bytes=3000)
    bench.fill(6)
    bench.kill()
    bench.write("00000000000000000006.log", bench.bytes_of("00000000000000000003.log"))
    assert bench.open().log_end_offset == 6
    assert bench.log.active.size == 0


def test_a_segment_that_begins_within_the_one_before_goes(bench: LogBench) -> None:
    bench.configure(segment_bytes=6000)
    bench.fill(6)
    bench.kill()
    bench.write("00000000000000000003.log", bytes(sized_batch(1000, base_offset=7)))
    assert bench.open().log_end_offset == 6
    assert [segment.base_offset for segment in bench.log.segments] == [0]
    assert bench.append().base_offset == 6
    assert bench.read_all() == list(range(7))


def test_damage_below_the_recovery_point_is_an_error_that_says_what_to_do(bench: LogBench) -> None:
    bench.fill(10)
    bench.log.flush()
    bench.kill()
    bench.overwrite(FIRST, 4500, b"\xff")
    with pytest.raises(CorruptLog, match=r"Offsets 4 to 9 had been flushed.*another replica"):
        bench.open(recovery_point=10)
    assert bench.disk.size(f"{bench.directory}/{FIRST}") == 10_000, "nothing was cut"
    assert bench.open(recovery_point=4).log_end_offset == 4


def test_a_flushed_tail_that_is_gone_is_an_error(bench: LogBench) -> None:
    bench.fill(10)
    bench.log.flush()
    bench.kill()
    bench.cut(FIRST, 5000)
    with pytest.raises(CorruptLog, match="everything below 10 had been flushed"):
        bench.open(recovery_point=10)


def test_only_segments_from_the_recovery_point_on_are_scanned(bench: LogBench) -> None:
    bench.configure(segment_bytes=3000)
    bench.fill(12)
    bench.kill()
    bench.overwrite(FIRST, 1500, b"\xff")  # where nobody looks
    log = bench.open(recovery_point=6)
    assert log.log_end_offset == 12
    assert log.recovery_point == 6
    assert bench.read_all(3) == list(range(3, 12))


def test_the_recovery_point_never_exceeds_the_end(bench: LogBench) -> None:
    assert bench.open(recovery_point=0).recovery_point == 0
    bench.fill(3)
    assert bench.reopen().recovery_point == 0
    bench.log.flush()
    assert bench.log.recovery_point == 3


@pytest.mark.parametrize("name", [".index", ".timeindex"])
@pytest.mark.parametrize("damage", ["missing", "garbage", "empty"])
@pytest.mark.parametrize("stop", ["clean", "unclean"])
def test_lost_and_damaged_indexes_are_built_again(bench: LogBench, name: str, damage: str, stop: str) -> None:
    bench.configure(segment_bytes=30_000, index_interval_bytes=500)
    for number in range(40):
        bench.append(sized_batch(1000, timestamp=1_700_000_000_000 + number))
    expected = [segment.offset_index.all() for segment in bench.log.segments]
    times = [segment.max_timestamp for segment in bench.log.segments]
    bench.log.close()
    for base in ("00000000000000000000", "00000000000000000030"):
        if damage == "missing":
            bench.disk.remove(f"{bench.directory}/{base}{name}")
        else:
            bench.write(base + name, b"\xff" * 24 if damage == "garbage" else b"")
    log = bench.open(clean=stop == "clean", recovery_point=35)
    assert bench.read_all(max_bytes=1) == list(range(40))
    if name == ".index" and damage != "empty":
        assert [segment.offset_index.all() for segment in log.segments] == expected
    if name == ".timeindex" and damage == "garbage":
        assert [segment.max_timestamp for segment in log.segments] == times


def test_orphaned_index_files_go(bench: LogBench) -> None:
    bench.fill(3)
    bench.kill()
    bench.write("00000000000000000099.index", b"")
    bench.write("00000000000000000099.txnindex", b"")
    bench.write("leftover.tmp", b"")
    bench.write("notes.txt", b"mine")
    bench.open()
    assert not [name for name in bench.names() if name.startswith("00000000000000000099") or name.endswith(".tmp")]
    assert "notes.txt" in bench.names()


def test_files_that_were_to_be_deleted_go_but_raft_checkpoints_are_left_alone(bench: LogBench) -> None:
    bench.fill(3)
    bench.kill()
    bench.write("00000000000000000099.log.deleted", b"x")
    bench.write("00000000000000000005-0000000001.checkpoint.deleted", b"x")
    bench.open()
    assert "00000000000000000099.log.deleted" not in bench.names()
    assert "00000000000000000005-0000000001.checkpoint.deleted" in bench.names()


@pytest.mark.parametrize("damage", [None, b"", b"garbage", b"0\n1\n9 "])
def test_epochs_are_found_again_in_the_batches(bench: LogBench, damage: bytes | None) -> None:
    bench.configure(segment_bytes=3000)
    for epoch in (1, 1, 2, 2, 5, 5, 5, 9):
        bench.append(sized_batch(1000), epoch=epoch)
    expected = [(1, 0), (2, 2), (5, 4), (9, 7)]
    bench.log.close()
    if damage is None:
        bench.disk.remove(f"{bench.directory}/leader-epoch-checkpoint")
    else:
        bench.write("leader-epoch-checkpoint", damage)
    bench.open(clean=True)
    if damage != b"":
        assert bench.log.epochs.entries == expected
    bench.reopen()
    assert bench.log.epochs.entries == expected


def test_epochs_of_a_file_that_is_behind_or_ahead_of_the_batches(bench: LogBench) -> None:
    for epoch in (1, 1, 3, 3):
        bench.append(epoch=epoch)
    bench.kill()
    bench.write(
        "leader-epoch-checkpoint", b"0\n2\n1 0\n2 3\n"
    )  # epoch 2 was cut off again, 3 never made it to the file
    bench.open()
    assert bench.log.epochs.entries == [(1, 0), (3, 2)]


def test_a_log_below_its_start_begins_anew(bench: LogBench) -> None:
    bench.fill(5)
    bench.kill()
    log = bench.open(log_start_offset=100)
    assert (log.log_start_offset, log.log_end_offset) == (100, 100)
    assert bench.append().base_offset == 100


def test_what_a_crash_brought_back_below_the_start_is_not_missed(bench: LogBench) -> None:
    """The log had begun anew at its start, which a second power cut undid, and not quite."""
    bench.fill(5)
    bench.kill()
    log = bench.open(recovery_point=8, log_start_offset=10)
    assert (log.log_start_offset, log.log_end_offset) == (10, 10)


def test_damage_to_what_has_been_deleted_is_none(bench: LogBench) -> None:
    bench.fill(10)
    bench.kill()
    bench.overwrite(FIRST, 4500, b"\xff")
    log = bench.open(recovery_point=8, log_start_offset=8)
    assert (log.log_start_offset, log.log_end_offset) == (8, 8)


def test_a_directory_without_segments_begins_at_its_start(bench: LogBench) -> None:
    bench.disk.make_directories(bench.directory)
    log = bench.open(log_start_offset=7, clean=True)
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark) == (7, 7, 7)


def test_the_high_watermark_is_within_the_log(bench: LogBench) -> None:
    bench.fill(5)
    assert bench.reopen(high_watermark=3).high_watermark == 3
    assert bench.reopen(high_watermark=99).high_watermark == 5


def test_the_topic_id_is_kept(bench: LogBench) -> None:
    bench.open(topic_id=TOPIC_ID)
    bench.fill(1)
    assert bench.reopen().topic_id == TOPIC_ID
    with pytest.raises(CorruptLog, match="another topic of that name"):
        bench.reopen(topic_id=bytes(16))


def test_a_damaged_topic_id_is_written_again(bench: LogBench) -> None:
    bench.open(topic_id=TOPIC_ID)
    bench.write("partition.metadata", b"\0\0\0\0")
    assert bench.reopen(topic_id=TOPIC_ID).topic_id == TOPIC_ID
    assert bench.reopen().topic_id == TOPIC_ID


def test_what_is_cut_is_reported(bench: LogBench, caplog: pytest.LogCaptureFixture) -> None:
    bench.fill(10)
    bench.kill()
    bench.cut(FIRST, 9500)
    with caplog.at_level(logging.WARNING):
        bench.open()
    assert "cut at offset 9, 500 bytes that were never flushed go" in caplog.text


def test_a_long_recovery_says_how_far_it_has_come(
    bench: LogBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.configure(segment_bytes=3000)
    bench.fill(30)
    bench.kill()
    batches = Segment.batches

    def slowly(self: Segment, start: int = 0) -> Any:
        bench.clock.advance(2)
        return batches(self, start)

    monkeypatch.setattr(Segment, "batches", slowly)
    with caplog.at_level(logging.INFO):
        bench.open()
    assert [record.getMessage() for record in caplog.records if "segments recovered" in record.getMessage()] == [
        "topic-0: 3 of 10 segments recovered, up to offset 9",
        "topic-0: 6 of 10 segments recovered, up to offset 18",
        "topic-0: 9 of 10 segments recovered, up to offset 27",
    ]


def test_opening_twice_gives_the_same_log(bench: LogBench) -> None:
    bench.configure(segment_bytes=5000)
    for sequence in range(20):
        bench.append(
            sized_batch(700, producer_id=1, producer_epoch=0, base_sequence=sequence, transactional=sequence > 10),
            epoch=sequence // 7,
        )
    bench.kill()
    bench.cut("00000000000000000014.log", 3800)
    states = []
    for _ in range(3):
        log = bench.reopen()
        states.append(
            (
                log.log_end_offset,
                log.epochs.entries,
                [producer.as_tuple() for producer in log.producers.by_id.values()],
                log.producers.ongoing,
                [(segment.base_offset, segment.size, segment.offset_index.all()) for segment in log.segments],
                bench.names(),
            )
        )
    assert states[0] == states[1] == states[2]
    assert states[0][0] == 19
