"""A replica's files, whatever stops it in the middle."""

from __future__ import annotations

from itertools import count

import pytest

from blumfeld.cluster.raft import checkpoint
from blumfeld.cluster.raft.batches import data_batch
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.outline import LogOutline
from blumfeld.cluster.raft.storing import RaftStorage
from blumfeld.cluster.raft.voters import NO_VOTERS
from blumfeld.env import paths
from blumfeld.env.clock import ManualClock
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.environment import Env
from blumfeld.env.faulty_disk import FaultyDisk, PowerCut
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.env.net import RealNetwork
from tests.cluster.raft.quorum import voters_of

DIRECTORY = "/data/__cluster_metadata-0"
OWN = OffsetAndEpoch(3, 1)
THEIRS = OffsetAndEpoch(48, 2)
SMALL = RaftOptions(segment_bytes=200)
ENDS = 100
"""More calls than anything here makes."""


def fetched_bytes() -> bytes:
    """The leader's snapshot."""
    disk = MemoryDisk()
    disk.make_directories(DIRECTORY)
    checkpoint.write(disk, DIRECTORY, THEIRS, checkpoint.Contents(voters_of(1, 2), 1, 5, [b"a", b"b"]), now_ms=1)
    return disk.read_file(paths.join(DIRECTORY, checkpoint.file_name(THEIRS)))


def storage_of(disk: FaultyDisk) -> RaftStorage:
    return RaftStorage(Env(ManualClock(), SeededEntropy(1), disk, RealNetwork()), DIRECTORY, SMALL)


def opened(disk: FaultyDisk) -> tuple[RaftStorage, LogOutline]:
    storage = storage_of(disk)
    return storage, storage.open(NO_VOTERS)[0]


def behind(disk: FaultyDisk) -> RaftStorage:
    """A replica with a log of a few segments, and a snapshot of its own, that has fetched one from the leader."""
    storage, _ = opened(disk)
    for offset in range(6):
        batch = BatchInfo(offset, offset, 1)
        storage.append(data_batch(batch, [b"x" * 60], timestamp_ms=1), batch)
        if offset == OWN.offset:
            storage.write_snapshot(OWN, checkpoint.Contents(voters_of(1, 2), 1, 5, [b"x"]))
    storage.write_snapshot_part(THEIRS, 0, fetched_bytes())
    storage.install_snapshot(THEIRS)
    return storage


@pytest.mark.parametrize("crashes", [False, True], ids=["kill", "power cut"])
def test_a_log_that_is_to_begin_at_a_fetched_snapshot_does_so_wherever_it_is_stopped(crashes: bool) -> None:
    for calls in count():
        disk = FaultyDisk(calls)
        storage = behind(disk)
        disk.cut_power_after(calls)
        is_complete = True
        try:
            storage.reset(THEIRS)
        except PowerCut:
            is_complete = False
        for further in (calls % 7, ENDS):  # and stopped again while it does the rest
            disk.crash() if crashes else disk.kill()
            disk.cut_power_after(further)
            try:
                storage, outline = opened(disk)
            except PowerCut:
                continue
        if calls < 2 and outline.latest_snapshot == OWN:  # it had not begun, or not durably
            assert outline.end_offset >= OWN.offset
            continue
        assert (outline.start_offset, outline.end_offset) == (THEIRS.offset, THEIRS.offset), calls
        assert outline.latest_snapshot == THEIRS
        assert [name for name in disk.list(DIRECTORY) if ".checkpoint" in name] == [checkpoint.file_name(THEIRS)]
        if is_complete:
            assert calls > 5
            return
