"""The log manager: directories, checkpoints, clean and unclean stops, turns."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from blumfeld.config.sources import Config, Layer
from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Disk
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.errors import CorruptLog, StorageError
from blumfeld.storage.log import Log
from blumfeld.storage.manager import LogManager
from tests.storage.builders import batch, keeps_deleted_files
from tests.storage.office import CLUSTER, ID_A, ID_B, MINUTE_MS, Late, Office, everything, fill


@pytest.fixture
def office(disk: Disk, clock: ManualClock, tmp_path: Path) -> Iterator[Office]:
    office = Office(disk, clock, f"{tmp_path}/a")
    yield office
    office.release()


@pytest.fixture
def two(disk: Disk, clock: ManualClock, tmp_path: Path) -> Iterator[Office]:
    office = Office(disk, clock, f"{tmp_path}/a", f"{tmp_path}/b")
    yield office
    office.release()


def test_the_managers_own_threads(disk: Disk, clock: ManualClock, tmp_path: Path) -> None:
    config = Config([Layer("test", {"log.dirs": f"{tmp_path}/a", "log.segment.bytes": str(1 << 20)})])
    for _ in range(2):
        manager = LogManager(config, disk, clock, SeededEntropy(1))
        manager.open(CLUSTER, 1)
        log = manager.create("t", 0, ID_A)
        fill(log, 4, clock=clock, size=400_000)
        assert manager.flushed(log, log.log_end_offset).result(10) == log.log_end_offset
        manager.turn(clock.time_ms())
        manager.close()


# Logs.
def test_logs_are_made_found_and_kept(office: Office) -> None:
    log = office.manager.create("topic-with-dash", 3, ID_A, {"retention.ms": "5"})
    assert log.topic_partition == "topic-with-dash-3"
    assert log.config.retention_ms == 5
    assert log.config.segment_bytes == 1 << 20
    assert office.manager.get("topic-with-dash", 3) is log
    assert office.manager.get("topic-with-dash", 0) is None
    assert office.manager.create("topic-with-dash", 3, ID_A, {"retention.ms": "9"}) is log
    assert log.config.retention_ms == 9
    office.manager.update_topic_config("topic-with-dash", {})
    assert log.config.retention_ms == 604_800_000
    assert list(office.manager.logs()) == [log]
    with pytest.raises(StorageError, match="an earlier topic of that name"):
        office.manager.create("topic-with-dash", 3, ID_B)


@pytest.mark.parametrize("stop", ["restart", "kill"])
def test_logs_are_there_again(two: Office, stop: str) -> None:
    for number in range(6):
        fill(two.manager.create("t", number, ID_A), number, clock=two.clock)
    places = {log.partition: log.directory for log in two.manager.logs()}
    assert len({directory.rpartition("/")[0] for directory in places.values()}) == 2
    getattr(two, stop)()
    assert {log.partition: log.directory for log in two.manager.logs()} == places
    for number in range(6):
        log = two.manager.get("t", number)
        assert log is not None
        assert log.topic_id == ID_A
        assert everything(log) == list(range(number))


def test_a_long_recovery_says_how_many_logs_it_has_done(
    office: Office, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        fill(office.manager.create("t", number, ID_A), 1, clock=office.clock)
    seconds = iter(range(0, 1000, 3))
    monkeypatch.setattr(ManualClock, "monotonic", lambda _: next(seconds))
    with caplog.at_level(logging.INFO):
        office.kill()
    said = [record.getMessage() for record in caplog.records if record.name.endswith("loading")]
    root = office.roots[0]
    assert said[0] == f"{root} was not closed cleanly: recovering 4 logs"
    assert any(line.endswith("of 4 logs recovered") for line in said[1:-1])
    assert said[-1].startswith(f"{root}: 4 logs recovered in ")


def test_a_partition_is_made_where_it_was_assigned(two: Office) -> None:
    first, second = two.open().directory_ids()
    for number in range(3):
        log = two.manager.create("t", number, ID_A, directory_id=second)
        assert two.manager.directory_of(log) == second
    assert two.manager.directory_of(two.manager.create("t", 8, ID_A, directory_id=bytes(16))) == first


def test_names_that_are_no_partitions_are_left_alone(office: Office) -> None:
    office.open()
    office.release()
    for name in ("lost+found", "notes", "t-0.abc-future", "t-1.abc-stray", "__cluster_metadata-0"):
        office.disk.make_directories(f"{office.roots[0]}/{name}")
    office.disk.make_directories(f"{office.roots[0]}/old-0.0123-delete")
    office.open()
    assert list(office.manager.logs()) == []
    office.turn()
    names = office.disk.list(office.roots[0])
    assert "old-0.0123-delete" not in names
    assert {"lost+found", "notes", "t-0.abc-future", "t-1.abc-stray", "__cluster_metadata-0"} <= set(names)


def test_the_same_partition_in_two_directories(two: Office) -> None:
    two.manager.create("t", 0, ID_A, directory_id=two.manager.directory_ids()[0])
    two.release()
    two.disk.make_directories(f"{two.roots[1]}/t-0")
    with pytest.raises(StorageError, match="t-0 is in two log directories"):
        two.open()


# Deleting.
def test_a_deleted_log_is_gone_at_once_and_its_files_later(office: Office) -> None:
    log = office.manager.create("t" * 249, 0, ID_A)
    fill(log, clock=office.clock)
    office.manager.delete("t" * 249, 0)
    assert office.manager.get("t" * 249, 0) is None
    (name,) = [name for name in office.disk.list(office.roots[0]) if name.endswith("-delete")]
    assert name.startswith("tttt")
    assert len(name) <= 255
    fill(office.manager.create("t" * 249, 0, ID_B), 1, clock=office.clock)
    office.turn(59_999)
    assert (name in office.disk.list(office.roots[0])) is keeps_deleted_files(office.disk)
    office.turn(1)
    assert name not in office.disk.list(office.roots[0])
    office.manager.delete("unknown", 0)


def test_what_waited_to_be_deleted_goes_at_the_next_start(office: Office) -> None:
    office.manager.create("t", 0, ID_A)
    office.manager.delete("t", 0)
    office.kill()
    office.turn()
    assert not [name for name in office.disk.list(office.roots[0]) if name.endswith("-delete")]


def test_checkpoints_of_a_deleted_partition_do_not_haunt_a_new_one(office: Office) -> None:
    log = office.manager.create("t", 0, ID_A)
    fill(log, 5, clock=office.clock)
    log.update_high_watermark(5)
    log.advance_log_start_offset(2)
    log.flush()
    office.turn(MINUTE_MS)
    assert office.file("recovery-point-offset-checkpoint") == "0\n1\nt 0 4\n"
    office.manager.delete("t", 0)
    fill(office.manager.create("t", 0, ID_B), 3, clock=office.clock)
    office.kill()
    again = office.manager.get("t", 0)
    assert again is not None
    assert (again.log_start_offset, again.log_end_offset, again.high_watermark) == (0, 3, 0)


# Checkpoints and stops.
@pytest.mark.parametrize("change", ["truncate", "make anew"])
def test_a_checkpoint_that_was_to_be_written_before_a_change_does_not_undo_it(office: Office, change: str) -> None:
    office.executor = late = Late()
    log = office.manager.create("t", 0, ID_A)
    office.manager.create("u", 0, ID_B)
    fill(log, 9, clock=office.clock)
    log.update_high_watermark(5)
    log.advance_log_start_offset(5)
    log.flush()
    office.turn(MINUTE_MS)
    assert late.given, "the checkpoints wait for a thread"
    if change == "truncate":
        log.truncate_to(6)
    else:
        office.manager.delete("t", 0)
        fill(office.manager.create("t", 0, ID_B), 3, clock=office.clock)
    late.run()
    office.kill()
    again = office.manager.get("t", 0)
    assert again is not None
    assert again.log_end_offset == (6 if change == "truncate" else 3)
    assert everything(again)[0] == 0
    office.turn(MINUTE_MS)
    late.run()
    assert "u 0 0" in office.file("recovery-point-offset-checkpoint"), "the next ones are written"


def test_a_checkpoint_that_a_thread_is_late_with_does_not_undo_a_later_one(office: Office) -> None:
    office.executor = late = Late()
    log = office.manager.create("t", 0, ID_A)
    for start in (1, 2):
        fill(log, 3, clock=office.clock)
        log.update_high_watermark(log.log_end_offset)
        log.advance_log_start_offset(start)
        office.turn(MINUTE_MS)
    late.given.reverse()
    late.run()
    assert office.file("log-start-offset-checkpoint") == "0\n1\nt 0 2\n"


def test_a_flush_that_outlasts_its_partition_leaves_the_next_one_of_that_name_alone(office: Office) -> None:
    office.executor = late = Late()
    log = office.manager.create("t", 0, ID_A)
    fill(log, 3, clock=office.clock)
    log.assign_epoch(7, 3)
    log.roll()
    office.manager.delete("t", 0)
    new = office.manager.create("t", 0, ID_B)
    fill(new, 1, clock=office.clock)
    new.flush()
    late.run()
    assert office.file("t-0/leader-epoch-checkpoint") == "0\n1\n1 0\n"
    assert new.home.error is None


def test_checkpoints_are_written_in_their_turns(office: Office) -> None:
    log = office.manager.create("t", 0, ID_A)
    fill(log, 5, clock=office.clock)
    log.update_high_watermark(4)
    office.turn(5_000)
    assert office.file("replication-offset-checkpoint") == "0\n1\nt 0 4\n"
    assert not office.disk.exists(f"{office.roots[0]}/recovery-point-offset-checkpoint")
    log.flush()
    log.advance_log_start_offset(2)
    office.turn(55_000)
    assert office.file("recovery-point-offset-checkpoint") == "0\n1\nt 0 4\n"
    assert office.file("log-start-offset-checkpoint") == "0\n1\nt 0 2\n"
    office.kill()
    again = office.manager.get("t", 0)
    assert again is not None
    assert (again.log_start_offset, again.high_watermark, again.recovery_point) == (2, 4, 4)


def test_a_clean_stop_is_known_at_the_next_start_and_only_then(office: Office) -> None:
    log = office.manager.create("t", 0, ID_A)
    fill(log, 5, clock=office.clock)
    log.update_high_watermark(5)
    office.manager.close(broker_epoch=42)
    assert json.loads(office.file(".kafka_cleanshutdown")) == {"version": 0, "brokerEpoch": 42}
    assert office.open().clean_shutdown_broker_epoch == 42
    assert not office.disk.exists(f"{office.roots[0]}/.kafka_cleanshutdown")
    again = office.manager.get("t", 0)
    assert again is not None
    assert (again.high_watermark, again.recovery_point) == (5, 5)
    assert office.kill().clean_shutdown_broker_epoch == -1


def test_a_stop_during_which_the_disk_fails_is_no_clean_one(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(office.manager.create("t", 0, ID_A), 3, clock=office.clock)
    home, close = office.manager.directories[0], Log.close

    def fail_first(self: Log) -> None:
        home.fail(OSError(errno.EIO, "Input/output error"), "reading in a thread")
        close(self)

    monkeypatch.setattr(Log, "close", fail_first)
    office.manager.close(7)
    assert not office.disk.exists(f"{home.path}/.kafka_cleanshutdown")


def test_a_start_ends_where_the_only_directory_cannot_be_read(office: Office) -> None:
    office.manager.create("t", 0, ID_A)
    office.release()
    office.disk.make_directories(f"{office.roots[0]}/t-0/{5:020}.log")
    with pytest.raises(StorageError, match=r"none of log\.dirs can be used"):
        office.open()
    office.disk.remove_tree(f"{office.roots[0]}/t-0/{5:020}.log")
    assert office.open().get("t", 0) is not None, "the lock was given back"


def test_different_epochs_of_two_directories_are_no_clean_stop(two: Office) -> None:
    two.open()
    two.manager.close(broker_epoch=42)
    two.disk.write_file_atomically(f"{two.roots[1]}/.kafka_cleanshutdown", b'{"version":0,"brokerEpoch":41}')
    assert two.open().clean_shutdown_broker_epoch == -1


@pytest.mark.parametrize("text", [b"", b"0\n0\n", b"garbage", b"0\n7\n"])
def test_empty_and_malformed_checkpoints_cost_a_scan_but_no_data(office: Office, text: bytes) -> None:
    fill(office.manager.create("t", 0, ID_A), 5, clock=office.clock)
    office.release()
    for name in ("recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"):
        office.disk.write_file_atomically(f"{office.roots[0]}/{name}", text)
    log = office.open().get("t", 0)
    assert log is not None
    assert everything(log) == list(range(5))


def test_a_truncation_lowers_the_checkpoint_first(office: Office) -> None:
    log = office.manager.create("t", 0, ID_A)
    fill(log, 5, clock=office.clock)
    log.flush()
    office.turn(MINUTE_MS)
    log.truncate_to(2)
    assert office.file("recovery-point-offset-checkpoint") == "0\n1\nt 0 1\n"
    office.kill()
    again = office.manager.get("t", 0)
    assert again is not None
    assert again.log_end_offset == 2


def test_a_damaged_log_is_offline_and_stays_so_until_it_is_mended(office: Office) -> None:
    fill(office.manager.create("t", 0, ID_A), 5, clock=office.clock)
    fill(office.manager.create("t", 1, ID_A), 5, clock=office.clock)
    for log in office.manager.logs():
        log.flush()
    office.turn(MINUTE_MS)
    office.release()
    path = f"{office.roots[0]}/t-0/00000000000000000000.log"
    good = office.disk.read_file(path)
    office.disk.write_file_atomically(path, good[:2500] + b"\xff" + good[2501:])
    for stop in (office.open, office.restart, office.kill):
        manager = stop()
        assert manager.get("t", 0) is None
        healthy = manager.get("t", 1)
        assert healthy is not None
        with pytest.raises(CorruptLog, match=r"t-0.*had been flushed"):
            manager.create("t", 0, ID_A)
        fill(healthy, 1, clock=office.clock)
    office.release()
    office.disk.write_file_atomically(path, good)
    mended = office.open().get("t", 0)
    assert mended is not None
    assert everything(mended) == list(range(5))


def test_a_damaged_log_can_be_deleted(office: Office) -> None:
    fill(office.manager.create("t", 0, ID_A), 5, clock=office.clock)
    next(office.manager.logs()).flush()
    office.turn(MINUTE_MS)
    office.release()
    office.disk.write_file_atomically(f"{office.roots[0]}/t-0/00000000000000000000.log", b"garbage")
    office.open().delete("t", 0)
    log = office.manager.create("t", 0, ID_B)
    assert log.log_end_offset == 0


# Turns.
def test_logs_are_flushed_after_flush_ms(office: Office) -> None:
    log = office.manager.create("t", 0, ID_A, {"flush.ms": "3000"})
    lazy = office.manager.create("t", 1, ID_A)
    fill(log, 2, clock=office.clock)
    fill(lazy, 2, clock=office.clock)
    office.turn(2000)
    assert log.recovery_point == 0
    office.turn(1000)
    assert (log.recovery_point, lazy.recovery_point) == (2, 0)
    fill(log, 1, clock=office.clock)
    office.turn(1000)
    office.turn(3000)
    assert log.recovery_point == 3


def test_a_sealed_segment_is_flushed(office: Office) -> None:
    log = office.manager.create("t", 0, ID_A, {"segment.bytes": "1048576"})
    fill(log, 3, clock=office.clock, size=600_000)
    assert len(log.segments) == 3
    assert log.recovery_point == 2


def test_waiting_for_a_flush(office: Office) -> None:
    log = office.manager.create("t", 0, ID_A, {"flush.messages": "1"})
    result = log.append_as_leader(batch(), 1, now_ms=office.clock.time_ms())
    assert result.must_flush
    assert office.manager.flushed(log, result.last_offset + 1).result(0) == 1


def test_retention_runs_in_its_turn(office: Office) -> None:
    log = office.manager.create("t", 0, ID_A, {"retention.ms": "60000", "segment.bytes": "1048576"})
    fill(log, 4, clock=office.clock, size=600_000)
    log.update_high_watermark(4)
    office.turn(299_999)
    assert log.log_start_offset == 0
    office.turn(1)
    assert log.log_start_offset == 4
    office.turn(MINUTE_MS)
    assert not [name for name in office.disk.list(log.directory) if name.endswith(".deleted")]


def test_producers_expire_in_their_turn(office: Office) -> None:
    office.properties["producer.id.expiration.ms"] = "1000"
    log = office.manager.create("t", 0, ID_A)
    log.append_as_leader(batch(b"a", producer_id=1, producer_epoch=0, base_sequence=0), 1, now_ms=1_700_000_000_000)
    office.turn(600_000)
    assert log.producers.by_id == {}


# Failing disks.
def test_a_disk_error_takes_one_directory_offline_and_leaves_the_other(clock: ManualClock) -> None:
    disk = FaultyDisk(1)
    office = Office(disk, clock, "/a", "/b")
    first, second = office.open().directory_ids()
    sick = office.manager.create("t", 0, ID_A, directory_id=first)
    well = office.manager.create("t", 1, ID_A, directory_id=second)
    told: list[bytes] = []
    office.manager.on_directory_failure = told.append
    disk.inject(5, operation="append", path="/a/", times=None)
    result = sick.append_as_leader(batch(), 1, now_ms=clock.time_ms())
    assert result.error is ErrorCode.KAFKA_STORAGE_ERROR
    assert told == [first]
    assert office.manager.offline_directory_ids() == [first]
    assert office.manager.directory_ids() == [second]
    assert office.manager.get("t", 0) is None
    assert list(office.manager.logs()) == [well]
    fill(well, clock=clock)
    with pytest.raises(StorageError, match="offline"):
        office.manager.create("t", 0, ID_A)
    with pytest.raises(StorageError, match="offline"):
        office.manager.create("t", 5, ID_A, directory_id=first)
    assert office.manager.create("t", 6, ID_A).directory == "/b/t-6"
    office.turn(10 * MINUTE_MS)
    office.manager.close()
    assert disk.exists("/b/.kafka_cleanshutdown")
    assert not disk.exists("/a/.kafka_cleanshutdown")
    assert disk.open_handles() == []


@pytest.mark.parametrize("seed", range(20))
def test_a_clean_stop_survives_a_power_cut(seed: int, clock: ManualClock) -> None:
    disk = FaultyDisk(seed)
    office = Office(disk, clock, "/data/a")
    disk.make_directories("/data/a")
    disk.sync_directory("/")
    disk.sync_directory("/data")
    for number in range(4):
        log = office.manager.create("t", number, ID_A, {"segment.bytes": "1048576"})
        fill(log, number, clock=clock, size=400_000)
        log.update_high_watermark(number)
    office.manager.close(broker_epoch=3)
    disk.crash()
    manager = office.open()
    assert manager.clean_shutdown_broker_epoch == 3
    for number in range(1, 4):
        again = manager.get("t", number)
        assert again is not None
        assert everything(again) == list(range(number))
        assert again.high_watermark == number
    office.release()


@pytest.mark.parametrize("seed", range(20))
def test_what_a_checkpoint_says_was_flushed_is_there_after_a_power_cut(seed: int, clock: ManualClock) -> None:
    disk = FaultyDisk(seed)
    disk.make_directories("/data/a")
    disk.sync_directory("/")
    disk.sync_directory("/data")
    office = Office(disk, clock, "/data/a")
    log = office.manager.create("t", 0, ID_A, {"segment.bytes": "1048576"})
    for step in range(seed % 5 + 2):
        fill(log, 2, clock=clock, size=300_000)
        if step % 2:
            log.flush()
        if step == 3:
            log.truncate_to(3)
        office.turn(20_000)
    office.release()
    disk.crash()
    again = office.open().get("t", 0)
    found = everything(again) if again is not None else []
    assert found == list(range(len(found)))
    office.release()
