"""Real drivers in one process: real logs on some disk, and a network that encodes, decodes and can be cut.

`Machines` holds them by node id; a machine that is stopped refuses connections, one that is cut off is silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from blumfeld.cluster.link import Closed, Refused, TimedOut
from blumfeld.cluster.raft.bootstrap import write_bootstrap_checkpoint
from blumfeld.cluster.raft.driver import RaftDriver
from blumfeld.cluster.raft.listener import CommittedBatch, LeaderAndEpoch, OffsetAndEpoch, Snapshot
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.env import paths
from blumfeld.env.clock import Clock, SystemClock
from blumfeld.env.disk import Disk
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.environment import Env
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.env.net import RealNetwork
from blumfeld.protocol.schema import Request
from tests.cluster.raft.quorum import endpoint_of, key_of, voters_of

CLUSTER_ID = "a-cluster"
DIRECTORY = "/data/__cluster_metadata-0"
QUICK = RaftOptions(election_timeout_ms=200, fetch_timeout_ms=400, election_backoff_max_ms=100, fetch_max_wait_ms=100)


class Recorder:
    """A state machine that remembers all it was told."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.batches: list[CommittedBatch] = []
        self.leaders: list[LeaderAndEpoch] = []
        self.snapshots: list[OffsetAndEpoch] = []
        self.next_offset = 0
        self.story: list[str] = []

    def on_commit(self, batches: Sequence[CommittedBatch]) -> None:
        for batch in batches:
            assert batch.base_offset == self.next_offset, "a hole, or a repetition"
            self.next_offset = batch.last_offset + 1
            self.batches.append(batch)
            self.records.extend(batch.records)
        self.story.append("commit")

    def on_load_snapshot(self, snapshot: Snapshot) -> None:
        self.records = [record for batch in snapshot.batches() for record in batch]
        self.next_offset = snapshot.id.offset
        self.snapshots.append(snapshot.id)
        self.story.append("snapshot")

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        self.leaders.append(leader)
        self.story.append(f"leader {leader.leader_id}")

    @property
    def end(self) -> OffsetAndEpoch:
        """Where a snapshot of this state would end."""
        return OffsetAndEpoch(self.batches[-1].last_offset + 1, self.batches[-1].epoch)


class Machine:
    """One node: its disk outlives its driver."""

    def __init__(self, machines: Machines, node_id: int, disk: Disk, clock: Clock, options: RaftOptions) -> None:
        self.machines = machines
        self.id = node_id
        self.disk = disk
        self.env = Env(clock, SeededEntropy(node_id), disk, RealNetwork())
        self.options = options
        self.faults: list[str] = []
        self.driver: RaftDriver
        self.recorder: Recorder

    def make(self) -> RaftDriver:
        self.recorder = Recorder()
        self.driver = RaftDriver(
            self.env,
            DIRECTORY,
            node_id=self.id,
            directory_id=key_of(self.id).directory_id,
            cluster_id=CLUSTER_ID,
            links=_Links(self.machines, self.id),
            listeners=[endpoint_of(self.id)],
            bootstrap=[(endpoint_of(voter).host, endpoint_of(voter).port) for voter in self.machines.voter_ids],
            options=self.options,
            on_fault=self.faults.append,
        )
        self.driver.register(self.recorder)
        return self.driver

    async def start(self) -> RaftDriver:
        driver = self.make()
        self.machines.up[self.id] = driver
        await driver.start()
        return driver

    async def stop(self) -> None:
        """Gracefully."""
        await self.driver.stop(timeout_ms=1_000)
        self.machines.gone(self.id)

    async def kill(self) -> None:
        """Nobody hears of it, and nothing is written any more."""
        self.machines.gone(self.id)
        driver = self.driver
        assert driver._pump is not None
        driver._over = True
        driver._pump.stop()
        await driver._calls.close()
        await driver._threads.close()
        self.driver._storage.log.abandon()

    @property
    def leads(self) -> bool:
        """Whether its state machine knows that it leads."""
        return bool(self.recorder.leaders) and self.recorder.leaders[-1].leader_id == self.id

    async def commit(self, *records: bytes) -> int:
        """Append, and wait until it has come back as committed."""
        offset = self.driver.append(records, self.recorder.leaders[-1].epoch)
        await wait_for(lambda: self.recorder.next_offset > offset)
        return offset


class Machines:
    """Some nodes and the network between them."""

    def __init__(
        self,
        voters: int,
        observers: int = 0,
        *,
        disk: Callable[[int], Disk] = lambda node_id: MemoryDisk(),
        clock: Clock | None = None,
        options: RaftOptions = QUICK,
    ) -> None:
        self.voter_ids = range(1, voters + 1)
        self.up: dict[int, RaftDriver] = {}
        self.cut_off: set[int] = set()
        self.connections: dict[int, set[asyncio.Future[Any]]] = {}
        self.nodes = {
            node_id: Machine(self, node_id, disk(node_id), clock or SystemClock(), options)
            for node_id in range(1, voters + observers + 1)
        }
        for node in self.nodes.values():
            node.disk.make_directories(paths.parent(DIRECTORY))
            node.disk.sync_directory(paths.parent(paths.parent(DIRECTORY)))
        for node_id in self.voter_ids:
            write_bootstrap_checkpoint(self.nodes[node_id].disk, DIRECTORY, voters_of(*self.voter_ids), now_ms=1)

    def __getitem__(self, node_id: int) -> Machine:
        return self.nodes[node_id]

    def gone(self, node_id: int) -> None:
        """The node's process is no more: its connections break."""
        self.up.pop(node_id, None)
        for connection in self.connections.pop(node_id, set()):
            connection.cancel()

    async def start(self) -> Machine:
        """Start all; returns the leader, once it knows."""
        await asyncio.gather(*(node.start() for node in self.nodes.values()))
        return await self.elected()

    async def elected(self) -> Machine:
        """The leader that others follow, once there is one."""

        def leader() -> Machine | None:
            for node in self.nodes.values():
                if node.id in self.up and node.id not in self.cut_off and node.leads:
                    return node
            return None

        await wait_for(lambda: leader() is not None)
        found = leader()
        assert found is not None
        return found

    async def stop(self) -> None:
        await asyncio.gather(*(node.stop() for node in self.nodes.values() if node.id in self.up))


class _Links:
    """One node's way to the others."""

    def __init__(self, machines: Machines, node_id: int) -> None:
        self._machines = machines
        self._id = node_id

    async def send(self, host: str, port: int, request: Request, *, timeout_ms: float) -> Any:
        machines = self._machines
        target = port - 9000
        version = type(request).VERSIONS.high
        data = request.encode(version)
        await asyncio.sleep(0)
        driver = machines.up.get(target)
        if machines.cut_off & {self._id, target}:
            await asyncio.sleep(timeout_ms / 1000)
            raise TimedOut(f"{host} is silent")
        if driver is None:
            raise Refused(f"nobody listens at {host}:{port}")
        answer = asyncio.ensure_future(driver.handle(type(request).decode(data, version), version))
        connections = machines.connections.setdefault(target, set())
        connections.add(answer)
        try:
            response = await asyncio.wait_for(asyncio.shield(answer), timeout_ms / 1000)
        except TimeoutError:
            raise TimedOut(host) from None
        except asyncio.CancelledError:
            if answer.cancelled() and target not in machines.up:
                raise Closed(host) from None
            raise
        finally:
            connections.discard(answer)
        if machines.cut_off & {self._id, target}:
            raise TimedOut(f"{host} is silent")
        return type(response).decode(response.encode(version), version)


async def wait_for(condition: Callable[[], bool], *, timeout_s: float = 10) -> None:
    """Wait until `condition` holds; fails after a while."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not condition():
        assert loop.time() < deadline, "waited in vain"
        await asyncio.sleep(0.002)
