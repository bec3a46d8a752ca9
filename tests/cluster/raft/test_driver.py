"""The driver: the core on a real loop, real logs and a network that really encodes."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from blumfeld.cluster.raft.driver import NotLeaderError
from blumfeld.cluster.raft.listener import BatchTooLargeError, LeaderAndEpoch, OffsetAndEpoch
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.quorum_state import CorruptQuorumStateError
from blumfeld.env.clock import AdjustableClock
from blumfeld.env.disk import RealDisk
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.add_raft_voter import AddRaftVoterRequest
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest
from blumfeld.protocol.messages.fetch import FetchRequest
from blumfeld.protocol.messages.remove_raft_voter import RemoveRaftVoterRequest
from blumfeld.protocol.messages.update_raft_voter import UpdateRaftVoterRequest
from blumfeld.protocol.messages.vote import VoteRequest
from tests.cluster.raft.drivers import DIRECTORY, QUICK, Machines, Recorder, wait_for
from tests.cluster.raft.quorum import endpoint_of, key_of

TOPIC = "__cluster_metadata"


# ---------------------------------------------------------------- one voter


async def test_a_quorum_of_one_leads_when_start_returns() -> None:
    machines = Machines(1)
    driver = await machines[1].start()
    assert machines[1].recorder.leaders == [LeaderAndEpoch(1, 1)]
    assert (driver.leader_id, driver.leader_and_epoch) == (1, LeaderAndEpoch(1, 1))
    assert driver.high_watermark == driver.log_end_offset == 3
    assert driver.controller_endpoint(1) == (endpoint_of(1).host, endpoint_of(1).port)
    assert driver.controller_endpoint(2) is None
    await machines.stop()


async def test_what_is_appended_comes_back_when_it_is_committed() -> None:
    machines = Machines(1)
    node = await machines.start()
    assert await node.commit(b"a", b"b") == 4
    assert await node.commit(b"c") == 5
    assert node.recorder.records == [b"a", b"b", b"c"]
    last = node.recorder.batches[-1]
    assert (last.base_offset, last.last_offset, last.epoch, list(last.records)) == (5, 5, 1, [b"c"])
    assert node.driver.high_watermark == 6
    await machines.stop()


async def test_append_returns_before_anything_is_delivered() -> None:
    machines = Machines(1)
    node = await machines.start()
    node.recorder.story.clear()
    offsets = [node.driver.append([b"x"], 1) for _ in range(3)]
    assert offsets == [3, 4, 5]
    assert node.recorder.story == []
    await wait_for(lambda: node.recorder.next_offset == 6)
    await machines.stop()


async def test_a_listener_may_append_from_its_callbacks() -> None:
    machines = Machines(1)
    machine = machines[1]

    class Chain(Recorder):
        def on_leader_change(self, leader: LeaderAndEpoch) -> None:
            super().on_leader_change(leader)
            if leader.leader_id == 1:
                machine.driver.append([b"first"], leader.epoch)

        def on_commit(self, batches: object) -> None:
            super().on_commit(batches)  # type: ignore[arg-type]
            if self.records and len(self.records) < 4:
                machine.driver.append([b"next %d" % len(self.records)], 1)

    machine.make()
    chain = Chain()
    machine.driver.register(chain)
    machines.up[1] = machine.driver
    await machine.driver.start()
    await wait_for(lambda: len(chain.records) == 4)
    assert chain.records == machine.recorder.records == [b"first", b"next 1", b"next 2", b"next 3"]
    await machines.stop()


async def test_appends_that_cannot_be() -> None:
    machines = Machines(1)
    node = machines[1]
    with pytest.raises(NotLeaderError):
        node.make().append([b"a"], 1)
    await node.start()
    for epoch in (0, 2):
        with pytest.raises(NotLeaderError):
            node.driver.append([b"a"], epoch)
    with pytest.raises(ValueError, match="nothing to append"):
        node.driver.append([], 1)
    for records in ([bytes(9 << 20)], [bytes(1000)] * 9_000):
        with pytest.raises(BatchTooLargeError):
            node.driver.append(records, 1)
    assert node.driver.log_end_offset == 3
    await machines.stop()
    with pytest.raises(NotLeaderError):
        node.driver.append([b"a"], 1)


async def test_a_restart_brings_everything_back_in_a_new_epoch() -> None:
    machines = Machines(1)
    node = await machines.start()
    await node.commit(b"a")
    await node.stop()
    await node.start()
    assert node.recorder.records == [b"a"]
    assert node.recorder.leaders == [LeaderAndEpoch(1, 2)]
    assert node.recorder.story[-1] == "leader 1"  # the state is complete before
    await node.commit(b"b")
    assert node.recorder.batches[-1].epoch == 2
    await machines.stop()


async def test_a_listener_that_comes_late_misses_nothing() -> None:
    machines = Machines(1)
    node = await machines.start()
    await node.commit(b"a")
    assert await node.driver.write_snapshot(node.recorder.end, 1, [b"A"])
    await node.commit(b"b")
    late = Recorder()
    node.driver.register(late)
    await wait_for(lambda: late.records == [b"A", b"b"])
    assert late.leaders == [LeaderAndEpoch(1, 1)]
    await machines.stop()


async def test_a_stop_waits_for_a_start_that_was_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.cluster.raft.drivers.DIRECTORY", f"{tmp_path}/__cluster_metadata-0")
    machines = Machines(1, disk=lambda node_id: RealDisk())
    await machines.start()
    await machines.stop()
    opening, may_open = threading.Event(), threading.Event()

    def read_late(self: RealDisk, path: str) -> bytes:
        opening.set()
        assert may_open.wait(10)
        return read_file(self, path)

    read_file = RealDisk.read_file
    monkeypatch.setattr(RealDisk, "read_file", read_late)
    driver = machines[1].make()
    starting = asyncio.ensure_future(driver.start())
    assert await asyncio.to_thread(opening.wait, 10)
    starting.cancel()
    await asyncio.wait({starting})
    stopping = asyncio.ensure_future(driver.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done(), "somebody is at the files"
    may_open.set()
    await stopping
    monkeypatch.undo()
    assert not [link for link in _open_files() if link.startswith(str(tmp_path))]


def _open_files() -> list[str]:
    return [os.path.realpath(entry.path) for entry in os.scandir("/proc/self/fd")]


# ---------------------------------------------------------------- three voters


async def test_three_voters_elect_and_replicate() -> None:
    machines = Machines(3)
    leader = await machines.start()
    await leader.commit(b"a")
    await leader.commit(b"b", b"c")
    for node in machines.nodes.values():
        await wait_for(lambda node=node: node.recorder.records == [b"a", b"b", b"c"])  # type: ignore[misc]
        assert node.driver.leader_id == leader.id
        assert node.driver.controller_endpoint(leader.id) == (endpoint_of(leader.id).host, 9000 + leader.id)
    await machines.stop()


async def test_a_leader_that_stops_is_succeeded_at_once() -> None:
    machines = Machines(3, options=QUICK._replace(election_timeout_ms=5_000, fetch_timeout_ms=10_000))
    leader = await machines.start()
    await leader.commit(b"a")
    await leader.stop()
    successor = await machines.elected()
    assert successor is not leader
    await successor.commit(b"b")
    assert successor.recorder.records == [b"a", b"b"]
    await machines.stop()


async def test_a_leader_that_dies_is_succeeded_long_before_any_timeout() -> None:
    machines = Machines(3, options=RaftOptions())
    leader = await machines.start()
    await leader.commit(b"a")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await leader.kill()
    successor = await machines.elected()
    assert loop.time() - began < 1.5
    await successor.commit(b"b")
    await leader.start()
    await wait_for(lambda: leader.recorder.records == [b"a", b"b"])
    assert leader.driver.leader_id == successor.id
    await machines.stop()


async def test_a_leader_cut_off_commits_nothing_and_gives_way() -> None:
    machines = Machines(3)
    leader = await machines.start()
    await leader.commit(b"a")
    machines.cut_off.add(leader.id)
    leader.driver.append([b"lost"], leader.recorder.leaders[-1].epoch)
    successor = await machines.elected()
    await successor.commit(b"b")
    await wait_for(lambda: not leader.leads)
    assert leader.recorder.records == [b"a"]
    machines.cut_off.clear()
    await wait_for(lambda: leader.recorder.records == [b"a", b"b"])
    await machines.stop()


async def test_who_missed_too_much_fetches_the_snapshot() -> None:
    options = QUICK._replace(retention_bytes=0, fetch_max_bytes=10_000)
    machines = Machines(3, observers=1, options=options)
    leader = await machines.start()
    late = next(node for node in machines.nodes.values() if node is not leader and node.id <= 3)
    await late.stop()
    for value in range(3):
        await leader.commit(bytes(1_000), b"%d" % value)
    assert await leader.driver.write_snapshot(leader.recorder.end, 1, [b"s" * 40_000])
    await leader.commit(b"after")
    await late.start()
    await wait_for(lambda: late.recorder.records == [b"s" * 40_000, b"after"])
    assert late.recorder.snapshots[-1] == OffsetAndEpoch(9, 1)
    assert late.driver.voters.ids == {1, 2, 3}
    await late.stop()
    await late.start()
    assert late.recorder.records[0] == b"s" * 40_000
    await machines.stop()


async def test_an_observer_follows_from_nothing() -> None:
    machines = Machines(3, observers=1)
    leader = await machines.start()
    await leader.commit(b"a")
    observer = machines[4]
    await wait_for(lambda: observer.recorder.records == [b"a"])
    assert observer.driver.voters.ids == {1, 2, 3}
    assert not observer.leads
    described = await leader.driver.handle(_describe_request(), 2)
    partition = described.topics[0].partitions[0]  # type: ignore[attr-defined]
    assert [state.replica_id for state in partition.observers] == [4]
    await machines.stop()


async def test_a_clock_that_jumps_is_a_stall_and_no_silence_of_others() -> None:
    clock = AdjustableClock()
    machines = Machines(3, clock=clock)
    leader = await machines.start()
    await leader.commit(b"a")
    for _ in range(3):
        clock.advance(3_600)
        await asyncio.sleep(0.05)
        await leader.commit(b"b")
    assert leader.recorder.leaders == [LeaderAndEpoch(leader.id, leader.recorder.leaders[-1].epoch)] or (
        leader.recorder.leaders[-1].leader_id == leader.id
    )
    assert {node.driver.leader_and_epoch for node in machines.nodes.values()} == {leader.driver.leader_and_epoch}
    await machines.stop()


async def test_the_last_one_standing_knows_that_it_is() -> None:
    machines = Machines(3)
    await machines.start()
    assert not machines[1].driver.majority_is_gone
    await machines[2].stop()
    await machines[3].stop()
    await wait_for(lambda: machines[1].driver.majority_is_gone)
    await machines[2].start()
    await wait_for(lambda: not machines[1].driver.majority_is_gone)
    await machines.stop()


async def test_a_leader_may_resign() -> None:
    machines = Machines(3)
    leader = await machines.start()
    epoch = leader.recorder.leaders[-1].epoch
    leader.driver.resign(epoch)
    await wait_for(lambda: any(node.driver.leader_and_epoch.epoch > epoch for node in machines.nodes.values()))
    await (await machines.elected()).commit(b"a")
    await machines.stop()


# ---------------------------------------------------------------- requests


def _describe_request(topic: str = TOPIC) -> DescribeQuorumRequest:
    kind = DescribeQuorumRequest.Topic
    return DescribeQuorumRequest(topics=[kind(topic_name=topic, partitions=[kind.Partition(partition_index=0)])])


async def test_the_quorum_is_described_by_its_leader() -> None:
    machines = Machines(3)
    leader = await machines.start()
    await leader.commit(b"a")
    await wait_for(lambda: all(node.recorder.records == [b"a"] for node in machines.nodes.values()))
    for version in (0, 1, 2):
        response = await leader.driver.handle(_describe_request(), version)
        read = type(response).decode(response.encode(version), version)
        partition = read.topics[0].partitions[0]  # type: ignore[attr-defined]
        assert (partition.error_code, partition.leader_id, partition.high_watermark) == (0, leader.id, 4)
        assert [voter.log_end_offset for voter in partition.current_voters] == [4, 4, 4]
        if version >= 1:
            times = [voter.last_caught_up_timestamp for voter in partition.current_voters]
            assert max(times) - min(times) < 60_000
        if version >= 2:
            assert [voter.replica_directory_id for voter in partition.current_voters] == [
                key_of(node_id).directory_id for node_id in (1, 2, 3)
            ]
            assert [node.listeners[0].host for node in read.nodes] == ["host-1", "host-2", "host-3"]  # type: ignore[attr-defined]
    follower = next(node for node in machines.nodes.values() if node is not leader)
    response = await follower.driver.handle(_describe_request(), 2)
    assert response.topics[0].partitions[0].error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER  # type: ignore[attr-defined]
    response = await leader.driver.handle(_describe_request("other"), 2)
    assert response.topics[0].partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION  # type: ignore[attr-defined]
    await machines.stop()


async def test_changes_of_the_voter_set_are_unsupported() -> None:
    machines = Machines(1)
    node = await machines.start()
    requests = [
        AddRaftVoterRequest(cluster_id=None, timeout_ms=1, voter_id=2, voter_directory_id=bytes(16), listeners=[]),
        RemoveRaftVoterRequest(cluster_id=None, voter_id=2, voter_directory_id=bytes(16)),
        UpdateRaftVoterRequest(
            cluster_id=None,
            current_leader_epoch=1,
            voter_id=2,
            voter_directory_id=bytes(16),
            listeners=[],
            kraft_version_feature=UpdateRaftVoterRequest.KRaftVersionFeature(
                min_supported_version=0, max_supported_version=1
            ),
        ),
    ]
    for request in requests:
        response = await node.driver.handle(request)
        assert response.error_code == ErrorCode.UNSUPPORTED_VERSION  # type: ignore[attr-defined]
    await machines.stop()


async def test_requests_before_the_start_wait_for_it() -> None:
    machines = Machines(1)
    driver = machines[1].make()
    answer = asyncio.ensure_future(driver.handle(_describe_request(), 2))
    await asyncio.sleep(0)
    await driver.start()
    response = await answer
    assert response.topics[0].partitions[0].leader_id == 1  # type: ignore[attr-defined]
    await driver.stop()


async def test_requests_after_the_end_are_refused() -> None:
    machines = Machines(1)
    await machines.start()
    await machines[1].stop()
    request = VoteRequest(cluster_id="another", topics=[])
    response = await machines[1].driver.handle(request)
    assert response.error_code == ErrorCode.INCONSISTENT_CLUSTER_ID  # type: ignore[attr-defined]
    kind = FetchRequest.Topic
    fetch = FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        topics=[kind(topic=TOPIC, partitions=[kind.Partition(partition=0, fetch_offset=0, partition_max_bytes=1)])],
    )
    response = await machines[1].driver.handle(fetch, 12)
    assert response.error_code == ErrorCode.BROKER_NOT_AVAILABLE  # type: ignore[attr-defined]
    await machines[1].driver.stop()  # twice is harmless


# ---------------------------------------------------------------- disks


@pytest.mark.parametrize("seed", range(12))
async def test_what_was_committed_survives_a_power_cut(seed: int) -> None:
    machines = Machines(1, disk=lambda node_id: FaultyDisk(seed))
    disk = machines[1].disk
    assert isinstance(disk, FaultyDisk)
    promised: list[bytes] = []
    epochs: set[int] = set()
    for life in range(3):
        node = await machines.start()
        assert node.recorder.records[: len(promised)] == promised
        assert node.recorder.leaders[-1].epoch not in epochs
        epochs.add(node.recorder.leaders[-1].epoch)
        for number in range(5):
            await node.commit(b"%d %d" % (life, number))
        if life == 1:
            await node.driver.write_snapshot(node.recorder.end, 1, list(node.recorder.records))
        promised = list(node.recorder.records)
        node.driver.append([b"never promised"], node.recorder.leaders[-1].epoch)
        disk.kill() if seed % 3 == 0 else disk.crash()
        await node.kill()


async def test_a_failing_disk_ends_the_replicas_part() -> None:
    machines = Machines(1, disk=lambda node_id: FaultyDisk(1))
    disk = machines[1].disk
    assert isinstance(disk, FaultyDisk)
    node = await machines.start()
    await node.commit(b"a")
    disk.inject(errno.EIO, "sync", DIRECTORY)
    node.driver.append([b"b"], 1)
    await wait_for(lambda: bool(node.faults))
    with pytest.raises(NotLeaderError):
        node.driver.append([b"c"], 1)
    assert node.recorder.records == [b"a"]
    await node.driver.stop()


async def test_a_quorum_state_that_does_not_read_stops_the_start() -> None:
    machines = Machines(1)
    await machines.start()
    await machines[1].stop()
    machines[1].disk.write_file_atomically(f"{DIRECTORY}/quorum-state", b"{")
    with pytest.raises(CorruptQuorumStateError):
        await machines[1].start()


async def test_on_a_real_disk(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = f"{tmp_path_factory.mktemp('raft')}/__cluster_metadata-0"
    monkeypatch.setattr("tests.cluster.raft.drivers.DIRECTORY", directory)
    machines = Machines(1, disk=lambda node_id: RealDisk())
    node = await machines.start()
    await node.commit(b"a")
    assert await node.driver.write_snapshot(node.recorder.end, 1, [b"A"])
    await node.commit(b"b")
    await machines.stop()
    node = await machines.start()
    assert node.recorder.records == [b"A", b"b"]
    assert node.driver._threads.used
    await machines.stop()
