"""The metadata quorum on a real loop, log and network.

Owns one replica of `__cluster_metadata-0`: it feeds events to the pure core (`core.py`, by `pump.py`), has its effects
carried out (`carrying.py`), and delivers what is committed to the listeners. Knows nothing of what the records mean.

Public face, for the controller, the broker and `launch/`:

    driver = RaftDriver(env, directory, node_id=…, directory_id=…, cluster_id=…, links=…, options=…)
    driver.register(listener)             # controller, broker: replayed from the newest snapshot on, whenever they come
    await driver.start()                  # a quorum of one leads when this returns
    offset = driver.append([record, …], epoch)      # leader only; committed when `high_watermark > offset`
    await driver.write_snapshot(snapshot_id, timestamp_ms, (encode(record) for record in image.to_records()))
    response = await driver.handle(request, api_version)        # Vote, Fetch, … of the metadata partition
    await driver.stop()

Invariants
- Listeners are never called within `append`: it returns before anything it appended is delivered.
- A disk error ends the replica's part in the quorum: it falls silent, and the node is told to stop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from blumfeld.cluster.raft import rpc
from blumfeld.cluster.raft.calls import Calls, PeerLinks
from blumfeld.cluster.raft.carrying import Carrier
from blumfeld.cluster.raft.checkpoint import Contents
from blumfeld.cluster.raft.core import RaftCore
from blumfeld.cluster.raft.delivery import Delivery
from blumfeld.cluster.raft.describe import describe_quorum
from blumfeld.cluster.raft.events import (
    Append,
    Clean,
    Effect,
    Event,
    PersistElection,
    Received,
    Resign,
    Shutdown,
    ShutdownComplete,
    SnapshotTaken,
)
from blumfeld.cluster.raft.listener import BatchTooLargeError, LeaderAndEpoch, OffsetAndEpoch, RaftListener
from blumfeld.cluster.raft.messages import sender_of
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.outline import Position
from blumfeld.cluster.raft.pump import Pump
from blumfeld.cluster.raft.quorum_state import encode
from blumfeld.cluster.raft.refusals import refuse_voter_change
from blumfeld.cluster.raft.roles import Leader
from blumfeld.cluster.raft.storing import RaftStorage
from blumfeld.cluster.raft.threads import Threads
from blumfeld.cluster.raft.voters import NO_VOTERS, Endpoint, ReplicaKey
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest

if TYPE_CHECKING:
    from blumfeld.cluster.raft import messages
    from blumfeld.cluster.raft.voters import VoterSet
    from blumfeld.env.environment import Env
    from blumfeld.protocol.schema import Request, Response

__all__ = ["NotLeaderError", "PeerLinks", "RaftDriver"]

_log = logging.getLogger(__name__)

RECORD_OVERHEAD_BYTES = 32
BATCH_OVERHEAD_BYTES = 128


class NotLeaderError(Exception):
    """An append was asked of a replica that does not lead (any more) in that epoch."""


class RaftDriver:
    """One replica: a voter, where the voter set names its id and directory, otherwise an observer.

    Args:
        directory: of `__cluster_metadata-0` itself; made where it is missing.
        listeners: this node's controller endpoints (a voter's; the first names the listener that peers are called by).
        bootstrap: (host, port) of controllers to ask while the leader is unknown.
        static_voters: the set of a kraft.version 0 quorum; otherwise the set comes from checkpoint 0-0 or the log.
        on_fault: called with what happened when the replica cannot go on, and neither can the node.
    """

    def __init__(
        self,
        env: Env,
        directory: str,
        *,
        node_id: int,
        directory_id: bytes,
        cluster_id: str,
        links: PeerLinks,
        listeners: Sequence[Endpoint] = (),
        bootstrap: Sequence[tuple[str, int]] = (),
        static_voters: VoterSet | None = None,
        options: RaftOptions | None = None,
        on_fault: Callable[[str], None] | None = None,
    ) -> None:
        self._env = env
        self._clock = env.clock
        self._key = ReplicaKey(node_id, directory_id)
        self._cluster_id = cluster_id
        self._endpoints = tuple(end for end in listeners if _is_dialable(end))
        self._listener = listeners[0].name if listeners else "CONTROLLER"
        self._bootstrap = tuple(Endpoint(self._listener, host, port) for host, port in bootstrap)
        self._static_voters = static_voters or NO_VOTERS
        self._options = options or RaftOptions()
        self._on_fault = on_fault
        self._storage = RaftStorage(env, directory, self._options)
        self._delivery = Delivery(self._storage.open_snapshot)
        self._calls = Calls(links, cluster_id, self._listener, self._post)
        self._core: RaftCore | None = None
        self._carrier: Carrier
        self._pump: Pump | None = None
        self._threads = Threads(volatile=getattr(env.disk, "volatile", False), on_error=self._fail)
        self._over = self._stopping = False
        self._started = asyncio.Event()
        self._leading = asyncio.Event()
        self._may_stop = asyncio.Event()
        self._writing_snapshot = False
        self._bytes_since_snapshot = 0
        self._last_snapshot_at = 0.0

    # ------------------------------------------------------------ starting, stopping

    def register(self, listener: RaftListener) -> None:
        """Deliver to `listener` from now on: first the newest snapshot and what follows it up to the high watermark."""
        self._delivery.register(listener)
        if self._core is not None:
            asyncio.get_running_loop().call_soon(self._deliver)

    async def start(self) -> None:
        """Open the log, recover, take part. A quorum of one has elected itself when this returns.

        Raises OSError, CorruptBatch, CorruptQuorumStateError or InconsistentLogError.
        """
        outline, election = await self._threads.result_of(self._storage.open, self._static_voters)
        core = RaftCore(
            self._key,
            endpoints=self._endpoints,
            log=outline,
            persisted=election,
            random=self._env.entropy.random,
            options=self._options,
            bootstrap=self._bootstrap,
        )
        self._carrier = Carrier(
            core,
            self._storage,
            self._delivery,
            self._calls,
            self._clock,
            post=self._post,
            in_thread=self._threads.run,
            on_bytes=self._delivered,
        )
        self._core = core
        pump = self._pump = Pump(
            core, self._clock, carry_out=self._carry_out, persist=self._persist, on_error=self._fail
        )
        self._last_snapshot_at = pump.now()
        _log.info("replica %d of %s begins at %s", self._key.id, sorted(outline.voters.ids), outline.end)
        if core.high_watermark > 0:
            self._carrier.deliver()
        self._started.set()
        pump.start()
        if core.log.voters.is_only(self._key):
            await self._leading.wait()
        if self._over:
            raise OSError("the metadata log failed while it started")

    async def stop(self, *, timeout_ms: float = 2_000) -> None:
        """Leave gracefully: a leader resigns in favour of the best successor; then close the log.

        Where the start was given up, what it had begun is waited for: when this returns, nobody is at the files.
        """
        if self._stopping:
            return
        self._stopping = True
        if self._pump is None:
            await self._threads.close()
            self._storage.abandon()
            return
        self._pump.post(Shutdown())
        try:
            await asyncio.wait_for(self._may_stop.wait(), timeout_ms / 1000)
        except TimeoutError:
            _log.info("not every voter has heard that replica %d resigned", self._key.id)
        failed, self._over = self._over, True
        self._pump.stop()
        await self._calls.close()
        await self._threads.close()
        if not failed:
            await asyncio.get_running_loop().run_in_executor(None, self._storage.close)

    # ------------------------------------------------------------ what others use

    def append(self, records: Sequence[bytes], epoch: int) -> int:
        """Append `records` as one atomic batch; returns the offset of the last one.

        It is committed when `high_watermark` passes that offset, and then delivered through `on_commit`.
        Raises NotLeaderError where this replica does not lead in `epoch`; BatchTooLargeError.
        """
        core, pump = self._core, self._pump
        if core is None or pump is None or self._over:
            raise NotLeaderError("the replica is not running")
        pump.catch_up()
        if not isinstance(core.role, Leader) or core.role.epoch != epoch:
            raise NotLeaderError(f"{core.leader_and_epoch} now, not this replica in epoch {epoch}")
        if not records:
            raise ValueError("there is nothing to append")
        size = sum(map(len, records)) + len(records) * RECORD_OVERHEAD_BYTES + BATCH_OVERHEAD_BYTES
        if size > self._options.max_batch_bytes:
            raise BatchTooLargeError(f"{len(records)} records take up to {size} bytes, more than one batch may have")
        pump.step(Append(epoch, len(records), records))
        last_offset = core.log.end_offset - 1
        pump.catch_up()
        return last_offset

    def resign(self, epoch: int) -> None:
        """Give up leadership of `epoch`, if it is still held: the controller could not go on."""
        self._post(Resign(epoch))

    @property
    def leader_and_epoch(self) -> LeaderAndEpoch:
        """The leader as this replica knows it now (listeners may learn of it later, see `RaftListener`)."""
        return LeaderAndEpoch(None, 0) if self._core is None else self._core.leader_and_epoch

    @property
    def leader_id(self) -> int | None:
        return self.leader_and_epoch.leader_id

    @property
    def high_watermark(self) -> int:
        """Everything below it is committed; 0 while nothing is known."""
        return 0 if self._core is None else self._core.high_watermark

    @property
    def log_end_offset(self) -> int:
        """The offset of the next record appended."""
        return 0 if self._core is None else self._core.log.end_offset

    @property
    def voters(self) -> VoterSet:
        """The voter set in force."""
        return NO_VOTERS if self._core is None else self._core.log.voters

    @property
    def majority_is_gone(self) -> bool:
        """Whether so many voters refuse connections that nobody can lead: they stopped, or are yet to start."""
        voters = self.voters
        gone = self._calls.refusing.intersection(voters.ids) - {self._key.id}
        return len(gone) > len(voters.ids) - voters.majority

    def controller_endpoint(self, node_id: int) -> tuple[str, int] | None:
        """Host and port of that controller: from the voter set, or as the leader told it."""
        core = self._core
        if core is None:
            return None
        voter = core.log.voters.get(node_id)
        leader_id, endpoints = core.known_leader
        if node_id == leader_id and endpoints:
            endpoint = core.pick_endpoint(endpoints)
        elif voter is not None and voter.endpoints:
            endpoint = core.pick_endpoint(voter.endpoints)
        else:
            return None
        return endpoint.host, endpoint.port

    # ------------------------------------------------------------ snapshots

    @property
    def snapshot_due(self) -> bool:
        """Whether enough was committed since the last snapshot, or enough time passed: then call `write_snapshot`."""
        options = self._options
        if self._bytes_since_snapshot >= options.snapshot_bytes:
            return True
        waited_ms = self._now() - self._last_snapshot_at
        return 0 < options.snapshot_interval_ms <= waited_ms and self._bytes_since_snapshot > 0

    async def write_snapshot(
        self, snapshot_id: OffsetAndEpoch, last_contained_log_timestamp: int, records: Iterable[bytes]
    ) -> bool:
        """Write a checkpoint of the state before `snapshot_id.offset`, then clean the log where that is due.

        `records` is consumed in a thread: it must not be changed by later deltas (an image is immutable).
        Returns False where there is such a snapshot, or a newer one, or one is being written. Raises ValueError where
        the id is not the end of a committed batch, and OSError.
        """
        core = self._core
        if core is None or self._over or self._writing_snapshot:
            return False
        latest = core.log.latest_snapshot
        if latest is not None and latest.offset >= snapshot_id.offset:
            return False
        position, _ = core.log.locate(*snapshot_id)
        if position is not Position.VALID or snapshot_id.offset > core.high_watermark:
            raise ValueError(f"{snapshot_id} is not in the committed log, which goes to {core.high_watermark}")
        voters, kraft_version = core.log.voters_at(snapshot_id.offset - 1)
        contents = Contents(voters, kraft_version, last_contained_log_timestamp, records)
        self._bytes_since_snapshot = 0
        self._last_snapshot_at = self._now()
        self._writing_snapshot = True
        await self._threads.result_of(self._write_snapshot, snapshot_id, contents)
        if self._is_running:
            self._post(SnapshotTaken(snapshot_id))
            self._storage.roll_large_segment()
            start = self._storage.to_be_cleaned(core.log, self._clock.time_ms())
            if start is not None:
                self._post(Clean(start))
        return True

    def _write_snapshot(self, snapshot_id: OffsetAndEpoch, contents: Contents) -> None:
        try:
            self._storage.write_snapshot(snapshot_id, contents)
        finally:
            self._writing_snapshot = False

    def _delivered(self, size: int) -> None:
        assert self._core is not None
        self._bytes_since_snapshot += size
        if isinstance(self._core.role, Leader) and self._core.role.high_watermark is not None:
            self._leading.set()

    # ------------------------------------------------------------ requests of others

    def handle(self, request: Request, api_version: int | None = None) -> Awaitable[Response]:
        """Answer Vote, Begin- and EndQuorumEpoch, Fetch, FetchSnapshot, DescribeQuorum, Add/Remove/UpdateVoter.

        `api_version`: what the request came in (default: the newest); older ones are told less.
        """
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        version = type(request).VERSIONS.high if api_version is None else api_version
        refused = refuse_voter_change(request)
        if refused is not None:
            future.set_result(refused)
        elif self._core is None:
            return self._handle_when_started(request, version)
        elif isinstance(request, DescribeQuorumRequest):
            future.set_result(describe_quorum(self._core, request, version, self._wall_ms))
        else:
            self._receive(request, version, future)
        return future

    async def _handle_when_started(self, request: Request, version: int) -> Response:
        await self._started.wait()
        return await self.handle(request, version)

    def _receive(self, request: Request, version: int, future: asyncio.Future[Response]) -> None:
        def answer(response: messages.Response) -> None:
            if not future.done():
                future.set_result(rpc.write_response(request, response, version))

        received = rpc.read_request(request, self._cluster_id)
        if isinstance(received, ErrorCode):
            future.set_result(rpc.refuse(request, received))
        elif self._over:
            future.set_result(rpc.refuse(request, ErrorCode.BROKER_NOT_AVAILABLE))
        else:
            self._calls.refusing.discard(sender_of(received))
            self._post(Received(received, answer))

    def _wall_ms(self, time_ms: float) -> int:
        return self._clock.time_ms() - round(self._now() - time_ms)

    def _now(self) -> float:
        return self._clock.monotonic() * 1000

    # ------------------------------------------------------------ inside

    @property
    def _is_running(self) -> bool:
        return not self._over

    def _post(self, event: Event) -> None:
        if self._pump is not None:
            self._pump.post(event)

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, ShutdownComplete):
            self._may_stop.set()
        else:
            self._carrier.carry_out(effect)

    def _persist(self, effect: PersistElection, then: Callable[[], None]) -> None:
        assert self._core is not None
        log = self._core.log
        contents = encode(effect.state, kraft_version=log.kraft_version, voter_ids=sorted(log.voters.ids))
        self._threads.run(self._storage.persist_election, contents, then=lambda _: then())

    def _deliver(self) -> None:
        if not self._over:
            self._carrier.deliver()

    def _fail(self, error: BaseException) -> None:
        """The replica cannot go on: fall silent, and have the node stopped."""
        if self._over:
            return
        self._over = True
        if self._pump is not None:
            self._pump.stop()
        self._may_stop.set()
        self._leading.set()
        _log.critical(
            "the metadata log of node %d: %s",
            self._key.id,
            error,
            exc_info=None if isinstance(error, OSError) else error,
        )
        if self._on_fault is not None:
            self._on_fault(f"the metadata log failed: {error}")


def _is_dialable(endpoint: Endpoint) -> bool:
    """Whether others could connect to it as it is written: an address of all interfaces, or port 0, cannot be told."""
    return endpoint.host not in ("", "0.0.0.0", "::") and endpoint.port > 0  # noqa: S104  compared, not bound to
