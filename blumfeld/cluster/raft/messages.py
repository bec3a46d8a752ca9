"""The quorum's messages as the core sees them: flat, for the one partition there is.

Owns the vocabulary of requests and responses between replicas. Kafka's nested messages of the same names are translated
at the edge (`rpc.py`); endpoints, cluster id and topic checks live there too. `records` and `data` are opaque.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, VoterSet
from blumfeld.protocol.errors import ErrorCode

UNKNOWN_HIGH_WATERMARK = -1
NO_HIGH_WATERMARK_SUPPORT = 0x7FFF_FFFF_FFFF_FFFF
"""What a fetch says that is older than version 18 (KIP-1166): it never waits for a high watermark."""


class BatchInfo(NamedTuple):
    """What the core must know of a batch: its place, and whether it changes the voters or kraft.version."""

    base_offset: int
    last_offset: int
    epoch: int
    size: int = 0
    voters: VoterSet | None = None
    kraft_version: int | None = None


class VoteRequest(NamedTuple):
    """Asks for a vote in `epoch`; a pre-vote (KIP-996) only asks whether one would be given in the next."""

    epoch: int
    candidate: ReplicaKey
    last_offset: int
    last_epoch: int
    pre_vote: bool
    voter: ReplicaKey | None = None


class BeginQuorumEpochRequest(NamedTuple):
    """The leader of `epoch` makes itself known."""

    epoch: int
    leader_id: int
    endpoints: tuple[Endpoint, ...] = ()
    voter: ReplicaKey | None = None


class EndQuorumEpochRequest(NamedTuple):
    """The leader of `epoch` resigns and names its successors, best first."""

    epoch: int
    leader_id: int
    endpoints: tuple[Endpoint, ...] = ()
    preferred: tuple[ReplicaKey, ...] = ()


class FetchRequest(NamedTuple):
    """Asks for what follows `offset`, whose predecessor is of `last_epoch`: an acknowledgement at the same time."""

    epoch: int
    replica: ReplicaKey
    offset: int
    last_epoch: int
    max_wait_ms: int
    max_bytes: int
    high_watermark: int = NO_HIGH_WATERMARK_SUPPORT


class FetchSnapshotRequest(NamedTuple):
    """Asks for the bytes of a snapshot from `position` on."""

    epoch: int
    replica: ReplicaKey
    id: OffsetAndEpoch
    position: int
    max_bytes: int


class VoteResponse(NamedTuple):
    error: ErrorCode
    epoch: int
    leader_id: int | None
    endpoints: tuple[Endpoint, ...] = ()
    granted: bool = False


class BeginQuorumEpochResponse(NamedTuple):
    error: ErrorCode
    epoch: int
    leader_id: int | None
    endpoints: tuple[Endpoint, ...] = ()


class EndQuorumEpochResponse(NamedTuple):
    error: ErrorCode
    epoch: int
    leader_id: int | None
    endpoints: tuple[Endpoint, ...] = ()


class FetchResponse(NamedTuple):
    """Records, or where the logs part (`diverging`), or the snapshot to be fetched instead."""

    error: ErrorCode
    epoch: int
    leader_id: int | None
    endpoints: tuple[Endpoint, ...] = ()
    high_watermark: int = UNKNOWN_HIGH_WATERMARK
    log_start_offset: int = -1
    diverging: OffsetAndEpoch | None = None
    snapshot: OffsetAndEpoch | None = None
    batches: tuple[BatchInfo, ...] = ()
    records: Any = b""


class FetchSnapshotResponse(NamedTuple):
    error: ErrorCode
    epoch: int
    leader_id: int | None
    endpoints: tuple[Endpoint, ...] = ()
    id: OffsetAndEpoch | None = None
    size: int = 0
    position: int = 0
    data: Any = b""


Request: TypeAlias = VoteRequest | BeginQuorumEpochRequest | EndQuorumEpochRequest | FetchRequest | FetchSnapshotRequest
Response: TypeAlias = (
    VoteResponse | BeginQuorumEpochResponse | EndQuorumEpochResponse | FetchResponse | FetchSnapshotResponse
)


def sender_of(request: Request) -> int:
    """The node that a request comes from."""
    if isinstance(request, VoteRequest):
        return request.candidate.id
    if isinstance(request, FetchRequest | FetchSnapshotRequest):
        return request.replica.id
    return request.leader_id
