"""Snapshot files, and the batches of the metadata log."""

from __future__ import annotations

import errno

import pytest

from blumfeld.cluster.raft import checkpoint
from blumfeld.cluster.raft.batches import committed_batches, data_batch, epoch_start_batch, inspect
from blumfeld.cluster.raft.bootstrap import write_bootstrap_checkpoint
from blumfeld.cluster.raft.events import AppendEpochStart
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.recovery import FoundSnapshot
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.protocol.batch import CorruptBatch, RecordBatch
from blumfeld.protocol.messages.control_records import LeaderChangeMessage
from blumfeld.protocol.records import ControlType, read_control_records
from tests.cluster.raft.quorum import voters_of

DIRECTORY = "/data/__cluster_metadata-0"
ID = OffsetAndEpoch(100, 7)


@pytest.fixture
def disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_directories(DIRECTORY)
    return disk


def write(disk: MemoryDisk, id_: OffsetAndEpoch, records: list[bytes], kraft_version: int = 1) -> str:
    contents = checkpoint.Contents(voters_of(1, 2), kraft_version, 555, iter(records))
    checkpoint.write(disk, DIRECTORY, id_, contents, now_ms=777)
    return f"{DIRECTORY}/{checkpoint.file_name(id_)}"


def test_a_name_says_end_offset_and_epoch() -> None:
    name = checkpoint.file_name(ID)
    assert name == "00000000000000000100-0000000007.checkpoint"
    assert checkpoint.parse_name(name) == (ID, True)
    assert checkpoint.parse_name(name + ".part") == (ID, False)
    assert checkpoint.parse_name(name + ".deleted") == (ID, False)
    assert checkpoint.parse_name("00000000000000000100.log") is None


def test_what_is_written_is_read(disk: MemoryDisk) -> None:
    records = [b"record %d" % number for number in range(2_500)]
    snapshot = checkpoint.Checkpoint(disk, write(disk, ID, records), ID)
    assert snapshot.id == ID
    assert snapshot.last_contained_log_timestamp == 555
    assert snapshot.found == FoundSnapshot(voters_of(1, 2), 1)
    read = [list(batch) for batch in snapshot.batches()]
    assert [len(batch) for batch in read] == [1_024, 1_024, 452]
    assert [record for batch in read for record in batch] == records


def test_large_records_make_batches_of_their_own(disk: MemoryDisk) -> None:
    snapshot = checkpoint.Checkpoint(disk, write(disk, ID, [bytes(1 << 20)] * 3), ID)
    assert [len(batch) for batch in snapshot.batches()] == [1, 1, 1]


def test_all_batches_are_of_the_snapshots_epoch_from_offset_0_on(disk: MemoryDisk) -> None:
    data = disk.read_file(write(disk, ID, [b"a", b"b"]))
    batches = []
    position = 0
    while position < len(data):
        batches.append(RecordBatch(data, position))
        position += batches[-1].length
    assert [(batch.base_offset, batch.record_count, batch.is_control) for batch in batches] == [
        (0, 3, True),
        (3, 2, False),
        (5, 1, True),
    ]
    assert {batch.leader_epoch for batch in batches} == {7}
    assert all(batch.is_valid_crc() for batch in batches)


def test_before_kraft_version_1_a_snapshot_says_nothing_of_voters(disk: MemoryDisk) -> None:
    snapshot = checkpoint.Checkpoint(disk, write(disk, ID, [b"a"], kraft_version=0), ID)
    assert snapshot.found == FoundSnapshot(None, 0)


def test_the_bootstrap_checkpoint_holds_the_voters(disk: MemoryDisk) -> None:
    write_bootstrap_checkpoint(disk, DIRECTORY, voters_of(1, 2, 3), now_ms=1)
    found = checkpoint.found_in(disk, DIRECTORY)
    assert found == {OffsetAndEpoch(0, 0): FoundSnapshot(voters_of(1, 2, 3), 1)}


def test_partial_and_deleted_files_are_swept(disk: MemoryDisk) -> None:
    path = write(disk, ID, [b"a"])
    for name in (f"{path}.part", f"{path}.deleted"):
        disk.write_file_atomically(name, b"")
    older = OffsetAndEpoch(50, 6)
    write(disk, older, [b"a"])
    found = checkpoint.found_in(disk, DIRECTORY)
    assert found == {ID: FoundSnapshot(voters_of(1, 2), 1), older: FoundSnapshot(None, 0)}
    assert len(disk.list(DIRECTORY)) == 2


@pytest.mark.parametrize("operation", ["open", "append", "sync", "rename"])
def test_a_snapshot_that_cannot_be_written_leaves_nothing_behind(operation: str) -> None:
    disk = FaultyDisk(1)
    disk.make_directories(DIRECTORY)
    disk.inject(errno.ENOSPC, operation, checkpoint.PARTIAL)
    contents = checkpoint.Contents(voters_of(1, 2), 1, 555, [b"a"])
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(disk, DIRECTORY, ID, contents, now_ms=777)
    assert disk.list(DIRECTORY) == []
    assert disk.open_handles() == []


@pytest.mark.parametrize("cut", [1, 60, 80, 150])
def test_a_cut_file_does_not_pass_for_a_snapshot(disk: MemoryDisk, cut: int) -> None:
    path = write(disk, ID, [b"a"])
    file = disk.open(path)
    file.truncate(file.size - cut)
    with pytest.raises(CorruptBatch):
        checkpoint.Checkpoint(disk, path, ID).verify()


def test_a_damaged_file_does_not_pass_for_a_snapshot(disk: MemoryDisk) -> None:
    path = write(disk, ID, [b"a" * 100])
    file = disk.open(path)
    file.write_at(file.size - 120, b"x")
    with pytest.raises(CorruptBatch):
        checkpoint.Checkpoint(disk, path, ID).verify()


def test_something_else_is_no_snapshot(disk: MemoryDisk) -> None:
    path = f"{DIRECTORY}/{checkpoint.file_name(ID)}"
    for contents in (b"", data_batch(BatchInfo(0, 0, 1), [b"a"], timestamp_ms=1), b"garbage" * 20):
        disk.write_file_atomically(path, contents)
        with pytest.raises(CorruptBatch):
            checkpoint.Checkpoint(disk, path, ID)


# ---------------------------------------------------------------- batches


def test_a_data_batch_keeps_its_place_and_its_records() -> None:
    data = data_batch(BatchInfo(40, 41, 3), [b"x", b"y"], timestamp_ms=99)
    (batch,) = committed_batches(data)
    assert (batch.base_offset, batch.last_offset, batch.epoch, batch.timestamp_ms) == (40, 41, 3, 99)
    assert list(batch.records) == [b"x", b"y"]
    assert batch.size_bytes == len(data)
    assert list(inspect(data)) == [BatchInfo(40, 41, 3, len(data))]


def test_an_epochs_first_batch_carries_the_voters() -> None:
    info = BatchInfo(5, 7, 2, voters=voters_of(1, 2), kraft_version=1)
    data = epoch_start_batch(AppendEpochStart(info, 1, (1, 2), (1,)), timestamp_ms=9)
    assert list(inspect(data)) == [info._replace(size=len(data))]
    (batch,) = committed_batches(data)
    assert list(batch.records) == []
    controls = read_control_records(RecordBatch(data))
    assert [kind for _, kind in controls] == [
        ControlType.LEADER_CHANGE,
        ControlType.KRAFT_VERSION,
        ControlType.KRAFT_VOTERS,
    ]
    change = LeaderChangeMessage.decode(controls[0][0].value or b"", 0)
    assert (change.version, change.leader_id) == (0, 1)
    assert [voter.voter_id for voter in change.voters] == [1, 2]
    assert [voter.voter_id for voter in change.granting_voters] == [1]


def test_a_batch_cut_by_the_end_of_a_fetch_is_left_out() -> None:
    first = data_batch(BatchInfo(0, 0, 1), [b"a"], timestamp_ms=1)
    second = data_batch(BatchInfo(1, 1, 1), [b"b"], timestamp_ms=1)
    for cut in (1, 30, len(second) - 1):
        assert [info.base_offset for info in inspect((first + second)[:-cut])] == [0]


def test_a_batch_with_a_wrong_checksum_is_none() -> None:
    data = bytearray(data_batch(BatchInfo(0, 0, 1), [b"abc"], timestamp_ms=1))
    data[-2] ^= 1
    with pytest.raises(CorruptBatch):
        list(inspect(data))
