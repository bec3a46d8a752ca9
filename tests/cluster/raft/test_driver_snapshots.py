"""Snapshots of a running replica: written, served, when they are due, and the log that is cleaned behind them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from blumfeld.cluster.raft import checkpoint
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.env.clock import AdjustableClock
from blumfeld.env.disk import RealDisk
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.fetch_snapshot import FetchSnapshotRequest, FetchSnapshotResponse
from tests.cluster.raft.drivers import DIRECTORY, QUICK, Machine, Machines, wait_for

TOPIC = "__cluster_metadata"


async def test_a_snapshot_is_where_the_next_start_begins() -> None:
    machines = Machines(1)
    node = await machines.start()
    await node.commit(b"a", b"b")
    assert await node.driver.write_snapshot(node.recorder.end, 123, iter([b"sum of a and b"]))
    await node.commit(b"c")
    await node.stop()
    await node.start()
    assert node.recorder.snapshots == [OffsetAndEpoch(5, 1)]
    assert node.recorder.records == [b"sum of a and b", b"c"]
    await machines.stop()


async def test_snapshots_that_cannot_be() -> None:
    machines = Machines(1)
    node = await machines.start()
    await node.commit(b"a", b"b")
    end = node.recorder.end
    with pytest.raises(ValueError):
        await node.driver.write_snapshot(end._replace(offset=end.offset + 1), 1, [])
    with pytest.raises(ValueError):
        await node.driver.write_snapshot(end._replace(epoch=0), 1, [])
    assert await node.driver.write_snapshot(end, 1, [])
    assert not await node.driver.write_snapshot(end, 1, [])
    assert not await node.driver.write_snapshot(OffsetAndEpoch(3, 1), 1, [])
    await machines.stop()
    assert not await node.driver.write_snapshot(end, 1, [])


async def _snapshot(node: Machine) -> bool:
    """Write one that is due; then none is."""
    assert node.driver.snapshot_due
    written = await node.driver.write_snapshot(node.recorder.end, 1, [b"x"])
    return written and not node.driver.snapshot_due


async def test_a_stop_waits_for_a_snapshot_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.cluster.raft.drivers.DIRECTORY", f"{tmp_path}/__cluster_metadata-0")
    machines = Machines(1, disk=lambda node_id: RealDisk())
    node = await machines.start()
    await node.commit(b"a")
    writing = asyncio.ensure_future(node.driver.write_snapshot(node.recorder.end, 1, [b"A"] * 20_000))
    await asyncio.sleep(0)
    assert not await node.driver.write_snapshot(node.recorder.end, 1, [b"A"])  # one at a time
    await node.stop()
    assert await writing
    await node.start()
    assert node.recorder.snapshots
    await node.stop()


async def test_a_snapshot_is_due_by_size_or_by_time() -> None:
    clock = AdjustableClock()
    options = QUICK._replace(snapshot_bytes=1_000, snapshot_interval_ms=60_000)
    machines = Machines(1, clock=clock, options=options)
    node = await machines.start()
    assert not node.driver.snapshot_due
    await node.commit(bytes(1_000))
    assert await _snapshot(node)
    clock.advance(61)
    assert not node.driver.snapshot_due  # nothing new to say
    await node.commit(b"y")
    assert await _snapshot(node)
    await machines.stop()


async def test_who_asks_for_a_snapshot_from_beyond_its_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from where no file can reach: a system refuses to read there."""
    monkeypatch.setattr("tests.cluster.raft.drivers.DIRECTORY", f"{tmp_path}/__cluster_metadata-0")
    machines = Machines(1, disk=lambda node_id: RealDisk())
    node = await machines.start()
    await node.commit(b"a")
    offset, epoch = node.recorder.end
    assert await node.driver.write_snapshot(node.recorder.end, 1, [b"A"])
    kind = FetchSnapshotRequest.Topic.Partition
    for position in (1 << 20, (1 << 63) - 1):
        partition = kind(
            partition=0,
            current_leader_epoch=epoch,
            snapshot_id=kind.SnapshotId(end_offset=offset, epoch=epoch),
            position=position,
        )
        request = FetchSnapshotRequest(topics=[FetchSnapshotRequest.Topic(name=TOPIC, partitions=[partition])])
        async with asyncio.timeout(10):
            response = await node.driver.handle(request)
        assert isinstance(response, FetchSnapshotResponse)
        assert response.topics[0].partitions[0].error_code == ErrorCode.POSITION_OUT_OF_RANGE
    assert await node.commit(b"b")
    assert node.faults == []
    await machines.stop()


async def test_retention_cleans_the_log_behind_the_snapshots() -> None:
    options = QUICK._replace(retention_bytes=4_000_000)
    machines = Machines(1, options=options)
    node = await machines.start()
    for _ in range(4):
        for _ in range(3):
            await node.commit(bytes(500_000))
        assert await node.driver.write_snapshot(node.recorder.end, 1, [b"small"])
    log = node.driver._storage.log
    await wait_for(lambda: log.log_start_offset > 0)
    assert log.size < 4_000_000
    names = node.disk.list(DIRECTORY)
    assert checkpoint.file_name(OffsetAndEpoch(0, 0)) not in names
    assert len([name for name in names if name.endswith(".log")]) < 5
    await node.stop()
    await node.start()
    assert node.recorder.records == [b"small"]
    assert node.driver.voters.ids == {1}
    await machines.stop()


async def test_old_snapshots_go_by_age() -> None:
    clock = AdjustableClock()
    machines = Machines(1, clock=clock, options=QUICK._replace(retention_ms=100_000))
    node = await machines.start()
    log = node.driver._storage.log
    for value in (b"a", b"b", b"c"):
        await node.commit(value)
        assert await node.driver.write_snapshot(node.recorder.end, clock.time_ms(), [value])
        clock.advance(61)
    await wait_for(lambda: log.log_start_offset == 5)
    snapshots = [name for name in node.disk.list(DIRECTORY) if name.endswith(".checkpoint")]
    assert snapshots == [checkpoint.file_name(OffsetAndEpoch(end, 1)) for end in (5, 6)]
    await machines.stop()


async def test_an_old_snapshot_that_does_not_read_keeps_nothing_else() -> None:
    machines = Machines(1)
    node = await machines.start()
    log = node.driver._storage.log
    ends = []
    for value in (b"a", b"b", b"c"):
        await node.commit(value)
        assert await node.driver.write_snapshot(node.recorder.end, node.env.clock.time_ms(), [value])
        ends.append(node.recorder.end)
        if value == b"b":
            assert log.log_start_offset == 0
            node.disk.write_file_atomically(f"{DIRECTORY}/{checkpoint.file_name(ends[0])}", b"damage")
    await wait_for(lambda: log.log_start_offset == ends[1].offset)
    assert node.faults == []
    await machines.stop()
