"""`blumfeld dump-log`: what it shows of each file, and that damage of any kind is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from blumfeld.cli.dump_log import command
from blumfeld.env.disk import RealDisk
from blumfeld.protocol.messages.coordinator_log import encode_key, encode_value
from blumfeld.protocol.messages.metadata_log import TopicRecord, encode_metadata_record
from blumfeld.protocol.messages.offsets_log import OffsetCommitKey, OffsetCommitValue
from blumfeld.protocol.records import Header, Record, build_batch
from blumfeld.storage import checkpoint
from blumfeld.storage.snapshots import decode, encode
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


def test_damage_is_shown_where_it_is(log: Path) -> None:
    overwrite(data_file(log), 16, b"\x01")
    assert shown(data_file(log))[1] == "DAMAGED at byte 0: no batch (length 98, magic 1)"
    result = dump_log(log / "leader-epoch-checkpoint")
    assert result.exit_code == 0
    overwrite(log / "leader-epoch-checkpoint", 0, b"9")
    result = dump_log(log / "leader-epoch-checkpoint")
    assert result.exit_code == 1
    assert "not a leader epoch checkpoint" in result.output
