"""Apache Kafka's own log and tools over our files, and we over Kafka's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blumfeld.cli.log_verification import verify
from blumfeld.env.clock import SystemClock
from blumfeld.env.disk import DiskBusy, RealDisk
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.records import Record, build_batch
from blumfeld.storage.compaction import Limits, Round, assess
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig
from blumfeld.storage.segment import Segment
from tests.storage.builders import batch, look_up, marker
from tests.storage.kafka_logs import KafkaLogs, dump, files_of

pytestmark = pytest.mark.java

CONFIG = LogConfig(segment_bytes=5000, index_interval_bytes=500, segment_index_bytes=1000)


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaLogs]:
    process = KafkaLogs()
    yield process
    process.close()


def open_log(directory: Path, *, clean: bool, recovery_point: int = 0) -> Log:
    return Log.open(str(directory), CONFIG, RealDisk(), SystemClock(), clean=clean, recovery_point=recovery_point)


def fill(log: Log, seed: int) -> None:
    """All kinds of batches."""
    rng = random.Random(seed)
    now = SystemClock().time_ms()
    sequences = [0] * 4
    open_transactions: set[int] = set()
    for step in range(80):
        producer, codec, count = rng.randrange(4), rng.choice(list(Codec)), rng.randrange(1, 6)
        epoch = step // 20 + 1
        if producer in open_transactions and rng.random() < 0.3:
            data = marker(commit=rng.random() < 0.5, producer_id=producer, coordinator_epoch=3, timestamp=now)
            assert not log.append_as_leader(data, epoch, now_ms=now, origin="coordinator").error
            open_transactions.remove(producer)
            continue
        records = [
            Record(i, now + rng.randrange(1000), b"key%d" % i, rng.randbytes(rng.randrange(300))) for i in range(count)
        ]
        identity: dict[str, Any] = {}
        if producer:
            identity = {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequences[producer]}
            identity["transactional"] = producer > 1
            sequences[producer] += count
            if producer > 1:
                open_transactions.add(producer)
        result = log.append_as_leader(build_batch(records, codec=codec, **identity), epoch, now_ms=now)
        assert not result.error, result
    log.update_high_watermark(log.log_end_offset)


def describe(log: Log, times: list[list[int]]) -> dict[str, Any]:
    """As the Java program describes a log; `times` says which times to look up."""
    from blumfeld.protocol.batch import iterate_batches
    from blumfeld.protocol.records import read_records

    log.update_high_watermark(log.log_end_offset)
    records: list[list[int]] = []
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        result = log.read(offset, 3000)
        for each in iterate_batches(result.records if result.cold is None else result.cold().records):
            records += [[r.offset, r.timestamp, len(r.value or b"")] for r in read_records(each)]
            offset = each.next_offset
    found = [(time, look_up(log, time)) for time, _ in times]
    return {
        "start": log.log_start_offset,
        "end": log.log_end_offset,
        "last_stable": log.last_stable_offset,
        "epochs": [list(entry) for entry in log.epochs.entries],
        "producers": sorted(
            [p.producer_id, p.epoch, p.last_sequence, p.coordinator_epoch, p.txn_first_offset]
            for p in log.producers.by_id.values()
        ),
        "aborted": [list(a.as_tuple()) for a in log.aborted_transactions(0, log.log_end_offset)],
        "records": [[offset, time, size] for offset, time, size in records],
        "times": [[time, position.offset if position else -1] for time, position in found],
    }


def assert_same(theirs: dict[str, Any], log: Log) -> None:
    theirs["producers"].sort()
    for aspect, ours in describe(log, theirs["times"]).items():
        if aspect == "records":  # Kafka counts the value of a marker too, and an absent one as -1
            ours = [[offset, time, max(size, 0)] for offset, time, size in ours]
            theirs[aspect] = [[offset, time, max(size, 0)] for offset, time, size in theirs[aspect]]
        assert ours == theirs[aspect], aspect


@pytest.mark.parametrize("stop", ["clean", "killed"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kafka_reads_ours(kafka: KafkaLogs, tmp_path: Path, seed: int, stop: str) -> None:
    directory = tmp_path / "t-0"
    log = open_log(directory, clean=True)
    fill(log, seed)
    if stop == "clean":
        log.close()
    else:
        log.abandon()
    copy_size = sum(path.stat().st_size for path in directory.glob("*.log"))
    theirs = kafka.ask("open", directory, str(stop == "clean").lower(), 0)
    assert sum(path.stat().st_size for path in directory.glob("*.log")) == copy_size
    again = open_log(directory, clean=True)
    assert again.log_end_offset > 100
    assert_same(theirs, again)
    again.abandon()


@pytest.mark.parametrize("stop", ["clean", "killed"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_we_read_kafkas(
    kafka: KafkaLogs, tmp_path: Path, seed: int, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "t-0"
    theirs = kafka.ask("make", directory, seed, str(stop == "clean").lower())
    assert list(verify([str(directory)], lambda size: None)) == []
    if stop == "clean":
        monkeypatch.setattr(Segment, "rebuild_indexes", lambda *_: pytest.fail("their indexes are good"))
    log = open_log(directory, clean=stop == "clean")
    assert len(log.segments) > 3
    assert_same(theirs, log)
    assert not log.append_as_leader(batch(b"next"), 9, now_ms=SystemClock().time_ms()).error
    log.close()
    assert kafka.ask("open", directory, "true", 0)["end"] == theirs["end"] + 1


def test_kafkas_lock_and_ours_keep_each_other_out(kafka: KafkaLogs, tmp_path: Path) -> None:
    disk, path = RealDisk(), tmp_path / ".lock"
    lock = disk.lock(str(path))
    assert not kafka.ask("lock", path)["locked"]
    lock.release()
    assert kafka.ask("lock", path)["locked"]
    with pytest.raises(DiskBusy):
        disk.lock(str(path))
    kafka.ask("unlock", path)
    disk.lock(str(path)).release()


def test_we_go_on_where_kafka_was_and_kafka_where_we_were(kafka: KafkaLogs, tmp_path: Path) -> None:
    directory = tmp_path / "t-0"
    kafka.ask("make", directory, 4, "true")
    for number in range(3):
        log = open_log(directory, clean=True)
        for _ in range(20):
            assert not log.append_as_leader(batch(bytes(300)), 10 + number, now_ms=SystemClock().time_ms()).error
        end = log.log_end_offset
        log.close()
        assert kafka.ask("open", directory, "true", 0)["end"] == end


def compact(log: Log) -> None:
    """One round over all of it."""
    now_ms = SystemClock().time_ms()
    due = assess(log, 0, now_ms)
    assert due is not None
    for step in Round(due, now_ms, Limits(1 << 20, 4_096)).steps():
        step()


def lose_power(directory: Path) -> None:
    """What a power cut may leave: a batch torn at the end, and indexes that lost theirs."""
    newest = max(path for path in directory.glob("*.log") if path.stat().st_size)
    with newest.open("ab") as file:
        file.write(bytes(batch(b"torn", base_offset=int(newest.stem) + 1_000))[:-3])
    for index in (newest.with_suffix(".index"), newest.with_suffix(".timeindex")):
        index.write_bytes(b"")


@pytest.mark.parametrize(
    "fate",
    ["closed", "killed and recovered", "torn and recovered", "compacted", "compacted, killed and recovered"],
)
def test_dump_log_segments_has_nothing_to_complain_of(tmp_path: Path, fate: str) -> None:
    directory = tmp_path / "t-0"
    log = open_log(directory, clean=True)
    fill(log, 9)
    aborted = log.aborted_transactions(0, log.log_end_offset)
    if "compacted" in fate:
        compact(log)
    if "recovered" in fate:
        log.abandon()
        if "torn" in fate:
            lose_power(directory)
        log = open_log(directory, clean=False)
    end = log.log_end_offset
    log.close()
    output = dump(*files_of(directory), has_gaps="compacted" in fate)
    assert f"lastOffset: {end - 1} " in output
    assert output.count("Dumping") > (4 if "compacted" in fate else 10)
    assert "coordinatorEpoch: 3" in output
    assert "currentTxnFirstOffset: " in output, "of a producer's snapshot"
    if fate == "closed":
        for transaction in aborted:
            assert f"producerId: {transaction.producer_id} firstOffset: {transaction.first_offset} " in output
    indexes = [path for path in files_of(directory) if path.suffix in (".index", ".timeindex")]
    checked = dump(*indexes, options=("--index-sanity-check",))
    assert checked.count("passed sanity check") + checked.count(" is empty.") == len(indexes)
