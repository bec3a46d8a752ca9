"""The metadata quorum on a real loop, log and network.

Owns one replica of `__cluster_metadata-0`: it feeds events to the pure core (`core.py`), carries its effects out in
order, and delivers what is committed to the listeners. Knows nothing of what the records mean.

Public face, for the controller, the broker and `launch/`:

    driver = RaftDriver(env, directory, node_id=…, directory_id=…, cluster_id=…, links=…, options=…)
    driver.register(listener)             # controller, broker: replayed from the newest snapshot on, whenever they come
    await driver.start()                  # a quorum of one leads when this returns
    offset = driver.append([record, …], epoch)      # leader only; committed when `high_watermark > offset`
    await driver.write_snapshot(image.offset_and_epoch, timestamp, (encode(r) for r in image.to_records()))
    response = await driver.handle(request)         # Vote, Fetch, … of the metadata partition
    await driver.stop()
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from blumfeld.cluster.raft.listener import LeaderAndEpoch, OffsetAndEpoch, RaftListener
from blumfeld.cluster.raft.options import RaftOptions

if TYPE_CHECKING:
    from blumfeld.cluster.raft.voters import Endpoint, VoterSet
    from blumfeld.env.environment import Env
    from blumfeld.protocol.schema import Request, Response


class NotLeaderError(Exception):
    """An append was asked of a replica that does not lead (any more) in that epoch."""


class PeerLinks(Protocol):
    """The links to other nodes' controller listeners; `cluster.link.Link` behind a cache by address."""

    async def send(self, host: str, port: int, request: Request, *, timeout_ms: float) -> Any:
        """Send `request`, return the decoded response.

        Raises `LinkError` (of which `Refused` is evidence that the process is gone, and `UnsupportedByPeer` that the
        other side is older), or ProtocolError.
        """
        ...


class RaftDriver:
    """One replica: a voter, where the voter set names its id and directory, otherwise an observer.

    Args:
        directory: of `__cluster_metadata-0` itself; made where it is missing.
        listeners: this node's controller endpoints (a voter's; the first names the listener that peers are called by).
        bootstrap: (host, port) of controllers to ask while the leader is unknown.
        static_voters: the set of a kraft.version 0 quorum; otherwise the set comes from checkpoint 0-0 or the log.
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
    ) -> None:
        raise NotImplementedError

    def register(self, listener: RaftListener) -> None:
        """Deliver to `listener` from now on: first the newest snapshot and what follows it up to the high watermark."""
        raise NotImplementedError

    async def start(self) -> None:
        """Open the log, recover, take part. A quorum of one has elected itself when this returns."""
        raise NotImplementedError

    async def stop(self, *, timeout_ms: float = 2_000) -> None:
        """Leave gracefully: a leader resigns in favour of the best successor; then close the log."""
        raise NotImplementedError

    def append(self, records: Sequence[bytes], epoch: int) -> int:
        """Append `records` as one atomic batch; returns the offset of the last one.

        It is committed when `high_watermark` passes that offset, and then delivered through `on_commit`.
        Raises NotLeaderError where this replica does not lead in `epoch`; ValueError where the batch is too large.
        """
        raise NotImplementedError

    def resign(self, epoch: int) -> None:
        """Give up leadership of `epoch`, if it is still held: the controller could not go on."""
        raise NotImplementedError

    @property
    def leader_and_epoch(self) -> LeaderAndEpoch:
        """The leader as this replica knows it now (listeners may learn of it later, see `RaftListener`)."""
        raise NotImplementedError

    @property
    def leader_id(self) -> int | None:
        raise NotImplementedError

    @property
    def high_watermark(self) -> int:
        """Everything below it is committed; 0 while nothing is known."""
        raise NotImplementedError

    @property
    def log_end_offset(self) -> int:
        """The offset of the next record appended."""
        raise NotImplementedError

    @property
    def voters(self) -> VoterSet:
        """The voter set in force."""
        raise NotImplementedError

    def controller_endpoint(self, node_id: int) -> tuple[str, int] | None:
        """Host and port of that controller: from the voter set, or as the leader told it."""
        raise NotImplementedError

    @property
    def snapshot_due(self) -> bool:
        """Whether enough was committed since the last snapshot, or enough time passed: then call `write_snapshot`."""
        raise NotImplementedError

    def write_snapshot(
        self, snapshot_id: OffsetAndEpoch, last_contained_log_timestamp: int, records: Iterable[bytes]
    ) -> Awaitable[bool]:
        """Write a checkpoint of the state before `snapshot_id.offset`, then clean the log where that is due.

        `records` is consumed in a thread: it must not be changed by later deltas (an image is immutable).
        Returns False where there is such a snapshot, or a newer one. The id must be the end of a committed batch.
        """
        raise NotImplementedError

    def handle(self, request: Request) -> Awaitable[Response]:
        """Answer Vote, Begin- and EndQuorumEpoch, Fetch, FetchSnapshot, DescribeQuorum, Add/Remove/UpdateVoter."""
        raise NotImplementedError

    def peer_unreachable(self, node_id: int) -> None:
        """Somebody else has evidence that this node's process is gone (refused connection after a broken one)."""
        raise NotImplementedError
