"""`blumfeld dump-log`: what it shows of each file, and that damage of any kind is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from blumfeld.cli.dump_log import command
from blumfeld.env.disk import RealDisk
from blumfeld.protocol.messages.control_records import SnapshotFooterRecord, SnapshotHeaderRecord
from blumfeld.protocol.messages.coordinator_log import encode_key, encode_value
from blumfeld.protocol.messages.metadata_log import TopicRecord, encode_metadata_record
from blumfeld.protocol.messages.offsets_log import OffsetCommitKey, OffsetCommitValue
from blumfeld.protocol.records import ControlType, Header, Record, build_batch, control_batch
from blumfeld.storage import checkpoint
from blumfeld.storage.snapshots import decode, encode
from tests.storage.builders import batch
from tests.storage.history import History


def dump_log(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def shown(*arguments: str | Path) -> list[str]:
    result = dump_log(*arguments)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def items(*arguments: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shown(*arguments, "--json")]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A partition's directory: several segments, keys, tombstones, codecs, a committed and an aborted transaction."""
    history = History(disk=RealDisk(), directory=str(tmp_path / "topic-0"), index_interval_bytes=300)
    history.write((b"a", b"1"), (b"b", None), codec=1)
    history.put("c", "3", producer_id=7)
    history.put("t", "committed", producer_id=11, transactional=True)
    history.end(11, commit=True)
    history.put("t", "aborted", producer_id=12, transactional=True)
    history.end(12, commit=False)
    for number in range(60):
        history.put(f"k{number}", "v" * 40, producer_id=7)
    history.log.assign_epoch(1, 0)
    history.log.close()
    return tmp_path / "topic-0"


def data_file(log: Path) -> Path:
    return log / "00000000000000000000.log"


def test_batches_in_a_line_each(log: Path) -> None:
    lines = shown(data_file(log))
    assert lines[0] == f"== {data_file(log)}"
    assert lines[1] == (
        "offsets 0…1  2 records  98 bytes at 0  CreateTime 2023-11-14T22:13:20.001+00:00  epoch 1  gzip"
    )
    assert lines[2].endswith("epoch 1  none  producer 7/0 from 0")
    assert lines[3].endswith("producer 11/0 from 0  transactional")
    assert lines[4].endswith("producer 11/0 from -1  transactional  control")


def test_records_with_their_values(log: Path) -> None:
    lines = shown(data_file(log), "--records")
    assert lines[2:4] == [
        "  0  2023-11-14T22:13:20.000+00:00  key 'a'  value '1'",
        "  1  2023-11-14T22:13:20.001+00:00  key 'b'  value null",
    ]
    assert "COMMIT EndTxnMarker(coordinator_epoch=0)" in lines[9]
    assert lines[13].endswith("ABORT EndTxnMarker(coordinator_epoch=0)")


@pytest.mark.parametrize(
    ("how", "key", "value"),
    [("text", "'k'", "'{\"a\": 1}'"), ("json", "6b", '{"a": 1}'), ("hex", "6b", "7b2261223a20317d")],
)
def test_values_as_text_json_or_hex(tmp_path: Path, how: str, key: str, value: str) -> None:
    path = tmp_path / "00000000000000000000.log"
    path.write_bytes(build_batch([Record(0, 0, b"k", b'{"a": 1}', (Header("h", b"\xff"),))]))
    line = shown(path, "--records", "--values", how)[2]
    assert f"key {key}  value {value}" in line
    assert "header h=" in line


def test_json_has_everything(log: Path) -> None:
    batch, first, second = items(data_file(log), "--records")[:3]
    assert (batch["kind"], batch["codec"], batch["valid"], batch["base_offset"]) == ("batch", "gzip", True, 0)
    assert (first["key"], first["value"], second["value"]) == ("a", "1", None)
    assert first["file"] == str(data_file(log))


def test_indexes_snapshots_and_checkpoints(log: Path) -> None:
    entries = items(log / "00000000000000000000.index")
    positions = {item["position"]: item["last_offset"] for item in items(data_file(log))}
    assert entries
    assert all(positions[entry["position"]] == entry["offset"] for entry in entries)
    assert shown(log / "00000000000000000000.timeindex")[1].startswith("time entry  timestamp 17000000000")
    assert shown(log / "00000000000000000000.txnindex")[1:] == [
        "aborted  producer id 12  first offset 5  last offset 6  last stable offset 7"
    ]
    snapshot = max(log.glob("*.snapshot"))
    assert {item["producer_id"] for item in items(snapshot)} == {7, 11, 12}
    assert shown(log / "leader-epoch-checkpoint")[1:] == ["epoch  epoch 1  start offset 0"]


def test_small_files_of_a_log_directory(tmp_path: Path) -> None:
    (tmp_path / checkpoint.RECOVERY_POINTS).write_bytes(checkpoint.encode_offsets({("orders", 2): 17}))
    (tmp_path / checkpoint.CLEAN_SHUTDOWN).write_bytes(checkpoint.encode_clean_shutdown(5))
    (tmp_path / checkpoint.META_PROPERTIES).write_bytes(checkpoint.encode_properties({"node.id": "1"}))
    (tmp_path / checkpoint.PARTITION_METADATA).write_bytes(checkpoint.encode_partition_metadata(bytes(15) + b"\x7f"))
    (tmp_path / "something else").write_bytes(b"x")
    lines = "\n".join(shown(tmp_path))
    assert "orders-2  17" in lines
    assert "clean shutdown  broker epoch 5" in lines
    assert "node.id=1" in lines
    assert "topic id  topic id AAAAAAAAAAAAAAAAAAAAfw" in lines
    assert "something else" not in lines


def test_metadata_and_offsets_are_told_by_their_records(tmp_path: Path) -> None:
    metadata = tmp_path / "__cluster_metadata-0" / "00000000000000000000.log"
    metadata.parent.mkdir()
    topic = TopicRecord(name="orders", topic_id=bytes(16))
    metadata.write_bytes(build_batch([Record(0, 0, None, encode_metadata_record(topic, 0))]))
    assert "v0 TopicRecord(name='orders'" in shown(metadata, "--records")[2]
    offsets = tmp_path / "__consumer_offsets-3" / "00000000000000000000.log"
    offsets.parent.mkdir()
    key = OffsetCommitKey(group="g", topic="orders", partition=2)
    value = OffsetCommitValue(offset=42, metadata="", commit_timestamp=0)
    records = [Record(0, 0, encode_key(key), encode_value(value, 3)), Record(1, 0, encode_key(key), None)]
    offsets.write_bytes(build_batch(records))
    lines = shown(offsets, "--records")
    assert "OffsetCommitKey(group='g', topic='orders', partition=2) → OffsetCommitValue(offset=42" in lines[2]
    assert lines[3].endswith("→ tombstone")


def test_a_sound_directory_has_no_problems(log: Path) -> None:
    assert shown(log, "--verify") == ["no problems"]
    assert shown(log.parent, "--verify") == ["no problems"]
    assert shown(data_file(log), "--verify") == ["no problems"]


def test_what_a_log_no_longer_needs_is_no_problem(log: Path) -> None:
    half = data_file(log).read_bytes()[:-9]
    for suffix in (".cleaned", ".deleted"):
        (log / f"{0:020}.log{suffix}").write_bytes(half)
        (log / f"{0:020}.index{suffix}").write_bytes(b"123")
    assert shown(log, "--verify") == ["no problems"]


def test_epochs_that_ended_below_the_logs_start_need_not_be_listed(tmp_path: Path) -> None:
    history = History(disk=RealDisk(), directory=str(tmp_path / "topic-0"))
    for epoch in (1, 2, 3):
        history.log.assign_epoch(epoch, history.log.log_end_offset)
        history.log.append_as_leader(batch(), epoch, now_ms=history.clock.time_ms())
    history.log.update_high_watermark(3)
    history.log.advance_log_start_offset(2)
    history.log.close()
    assert shown(tmp_path / "topic-0", "--verify") == ["no problems"]


def test_a_compacted_directory_has_no_problems(tmp_path: Path) -> None:
    history = History(disk=RealDisk(), directory=str(tmp_path / "topic-0"), index_interval_bytes=300)
    for number in range(100):
        history.put(f"k{number % 7}", "v" * 30, producer_id=number % 3)
    for value in ("first", "last"):  # of these the last batch stays, emptied
        history.put("a", value, producer_id=11, transactional=True)
    history.end(11, commit=False)
    history.roll()
    history.compact()
    history.log.close()
    history.log.home.empty_trash(1 << 60)
    assert shown(tmp_path, "--verify") == ["no problems"]


def overwrite(path: Path, position: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[position : position + len(data)] = data
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "position", "data", "what"),
    [
        ("00000000000000000000.log", 70, b"X", "batch 0 at byte 0: the CRC does not fit"),
        ("00000000000000000000.log", 8, b"\x7f", "is cut off by the end of the file"),
        ("00000000000000000000.log", 16, b"\x01", "no batch (length 98, magic 1)"),
        ("00000000000000000000.log", 98, bytes(8), "offset 2 or more follows"),
        ("00000000000000000000.index", 7, b"\x01", "no batch that ends at"),
        ("00000000000000000000.timeindex", 7, b"\xff", "largest timestamp"),
        ("00000000000000000000.txnindex", 9, b"\x63", "producer 12: offsets 5 to 6 were aborted, but are not listed"),
        ("00000000000000000000.txnindex", 25, b"\x05", "producer 12: no marker at 5 aborts offsets 5 to 5"),
        ("00000000000000000000.txnindex", 1, b"\x02", "has an entry of version 2, not 0"),
        ("00000000000000000000.txnindex", 34, b"\x00", "has 35 bytes, no multiple of 34"),
        ("00000000000000000000.index", 40, bytes(3) + b"\x01", "no multiple of 8"),
        ("leader-epoch-checkpoint", 0, b"9", "not a leader epoch checkpoint"),
        ("leader-epoch-checkpoint", 4, b"7", "is not listed"),
    ],
)
def test_damage_is_found(log: Path, name: str, position: int, data: bytes, what: str) -> None:
    overwrite(log / name, position, data)
    result = dump_log(log, "--verify")
    assert result.exit_code == 1
    assert what in result.output
    assert str(log / name) in result.output
    problems = [json.loads(line) for line in dump_log(log, "--verify", "--json").output.splitlines()]
    assert any(problem["path"] == str(log / name) and what in problem["what"] for problem in problems)


def test_a_damaged_snapshot_and_one_that_lies(log: Path) -> None:
    snapshots = sorted(log.glob("*.snapshot"))
    overwrite(snapshots[0], 20, b"\xff")
    assert "the CRC does not fit" in dump_log(log, "--verify").output
    snapshots[0].write_bytes(snapshots[-1].read_bytes())
    assert "producer 7 cannot have written offset" in dump_log(log, "--verify").output
    snapshots[0].write_bytes(encode([]))
    assert dump_log(log, "--verify").exit_code == 0, "whom a snapshot has forgotten, it may have"
    liar = decode(snapshots[-1].read_bytes())[0]
    liar.batches[-1].last_sequence += 1
    snapshots[-1].write_bytes(encode([liar]))
    assert "producer 7 wrote sequence" in dump_log(log, "--verify").output


def test_segments_that_overlap_are_seen(log: Path) -> None:
    second = sorted(log.glob("*.log"))[1]
    second.rename(log / "00000000000000000003.log")
    assert "it begins below offset" in dump_log(log, "--verify").output


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (checkpoint.RECOVERY_POINTS, "was flushed"),
        (checkpoint.LOG_START_OFFSETS, "was deleted"),
        (checkpoint.CLEANER_OFFSETS, "was compacted"),
    ],
)
def test_checkpoints_that_claim_more_than_there_is(log: Path, name: str, what: str) -> None:
    end = items(max(log.glob("*.log")))[-1]["last_offset"] + 1
    path = log.parent / name
    path.write_bytes(checkpoint.encode_offsets({("topic", 0): end, ("gone", 1): 99}))
    assert shown(log.parent, "--verify") == ["no problems"]
    path.write_bytes(checkpoint.encode_offsets({("topic", 0): end + 1}))
    result = dump_log(log.parent, "--verify")
    assert result.exit_code == 1
    assert f"{path}: topic-0 {what} up to {end + 1}, but ends at {end}" in result.output


def test_a_data_file_that_is_gone_is_missed_unless_the_log_is_compacted(log: Path) -> None:
    _, second, third = sorted(log.glob("*.log"))[:3]
    second.unlink()
    result = dump_log(log.parent, "--verify")
    assert result.exit_code == 1
    missing = f"offsets {int(second.stem)} to {int(third.stem) - 1} are missing before it: is a data file gone?"
    assert result.output.splitlines()[0] == f"{third}: {missing}"
    (log.parent / checkpoint.CLEANER_OFFSETS).write_bytes(checkpoint.encode_offsets({("topic", 0): int(third.stem)}))
    assert shown(log.parent, "--verify") == ["no problems"]


def metadata_snapshot(directory: Path) -> Path:
    """A snapshot of the metadata log, as a controller writes it."""
    name = "00000000000000000007-0000000002.checkpoint"
    topic = TopicRecord(name="orders", topic_id=bytes(16))
    parts = [
        control_batch(
            [(ControlType.SNAPSHOT_HEADER, SnapshotHeaderRecord(version=0, last_contained_log_timestamp=0).encode(0))],
            base_offset=0,
            timestamp=0,
            leader_epoch=2,
        ),
        build_batch([Record(1, 0, None, encode_metadata_record(topic, 0))], base_offset=1, leader_epoch=2),
        control_batch(
            [(ControlType.SNAPSHOT_FOOTER, SnapshotFooterRecord(version=0).encode(0))],
            base_offset=2,
            timestamp=0,
            leader_epoch=2,
        ),
    ]
    path = directory / "__cluster_metadata-0" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(parts))
    return path


def test_a_metadata_snapshot_is_shown_and_verified(tmp_path: Path) -> None:
    path = metadata_snapshot(tmp_path)
    lines = shown(path, "--records")
    assert "SNAPSHOT_HEADER" in lines[2]
    assert "v0 TopicRecord(name='orders'" in lines[4]
    assert "SNAPSHOT_FOOTER" in lines[6]
    assert shown(tmp_path, "--verify") == ["no problems"]
    whole = path.read_bytes()
    size = int.from_bytes(whole[8:12], "big") + 12
    for damaged, what in (
        (whole[: size + 70] + b"X" + whole[size + 71 :], f"batch 1 at byte {size}: the CRC does not fit"),
        (whole[:-1], "is cut off by the end of the file"),
        (whole[:size], "it does not end with a snapshot's footer"),
        (whole[size:], "it does not begin with a snapshot's header"),
        (b"", "it does not begin with a snapshot's header"),
    ):
        path.write_bytes(damaged)
        for given in (path, tmp_path):
            result = dump_log(given, "--verify")
            assert result.exit_code == 1, what
            assert what in result.output
    path.rename(f"{path}.part")
    assert shown(tmp_path, "--verify") == ["no problems"], "it was never finished"


@pytest.mark.parametrize(
    ("name", "good", "damaged", "what"),
    [
        (checkpoint.RECOVERY_POINTS, b"0\n1\nt 0 1\n", b"0\n2\nt 0 1\n", "checkpoint"),
        (checkpoint.LOG_START_OFFSETS, b"0\n0\n", b"1\n0\n", "version 1 is not 0"),
        (checkpoint.HIGH_WATERMARKS, b"0\n1\nt 0 1\n", b"0\n1\nt 0 x\n", "checkpoint"),
        (checkpoint.CLEANER_OFFSETS, b"0\n1\nt 0 1\n", b"\xff\xfe", "checkpoint"),
        (checkpoint.PARTITION_METADATA, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAfw", b"version: 0\n", "topic_id"),
        (checkpoint.CLEAN_SHUTDOWN, b'{"version":0,"brokerEpoch":4}', b'{"version":0,"brok', "is no JSON"),
        (checkpoint.META_PROPERTIES, b"version=1\nnode.id=1\n", b"\0\0\0\0", "node.id '' is no node's id"),
        (checkpoint.META_PROPERTIES, b"node.id=1\n", b"node.id=1\ndirectory.id=nothing\n", "is no id"),
        ("quorum-state", b'{"leaderEpoch":3,"data_version":1}', b'{"leaderEpoch":3,"da', "is no JSON"),
    ],
)
def test_damage_to_a_small_file_is_found(tmp_path: Path, name: str, good: bytes, damaged: bytes, what: str) -> None:
    path = tmp_path / name
    path.write_bytes(good)
    assert shown(path, "--verify") == ["no problems"]
    path.write_bytes(damaged)
    for given in (path, tmp_path):
        result = dump_log(given, "--verify")
        assert result.exit_code == 1, result.output
        assert result.output.startswith(f"{path}: ")
        assert what in result.output


def test_damage_is_shown_where_it_is(log: Path) -> None:
    overwrite(data_file(log), 16, b"\x01")
    assert shown(data_file(log))[1] == "DAMAGED at byte 0: no batch (length 98, magic 1)"
    result = dump_log(log / "leader-epoch-checkpoint")
    assert result.exit_code == 0
    overwrite(log / "leader-epoch-checkpoint", 0, b"9")
    result = dump_log(log / "leader-epoch-checkpoint")
    assert result.exit_code == 1
    assert "not a leader epoch checkpoint" in result.output
