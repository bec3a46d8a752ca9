"""What happens to a replica, and what it wants done: the two alphabets of `core.step(now, event) → effects`.

Owns the data types and nothing else. Time is in milliseconds of a monotonic clock. Effects are to be carried out in
their order; none may overtake a `PersistElection` before it is durable.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from blumfeld.cluster.raft.listener import LeaderAndEpoch, OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo, FetchResponse, FetchSnapshotResponse, Request, Response
from blumfeld.cluster.raft.quorum_state import ElectionState
from blumfeld.cluster.raft.voters import Endpoint, VoterSet

# ---------------------------------------------------------------- events


class Tick(NamedTuple):
    """The time of `core.next_deadline` has come. Harmless at any other time."""


class Received(NamedTuple):
    """A request of another replica; `token` comes back in the `Reply`."""

    request: Request
    token: Any


class Answered(NamedTuple):
    """The answer to the `Send` of that correlation id."""

    correlation_id: int
    response: Response


class Failure(Enum):
    """Why a request got no answer."""

    LOST = "the connection broke, or no answer came in time"
    REFUSED = "nobody listens there: the process is gone, or not there yet"
    UNSUPPORTED = "the other side does not know this request, or not in a version that can say it"


class Failed(NamedTuple):
    """No answer will come to the `Send` of that correlation id."""

    correlation_id: int
    failure: Failure


class Append(NamedTuple):
    """The state machine of the leader of `epoch` appends so many records as one batch."""

    epoch: int
    record_count: int
    payload: Any


class Flushed(NamedTuple):
    """A `Flush` is done."""

    generation: int
    up_to: int


class SnapshotTaken(NamedTuple):
    """The state machine's own snapshot is durable."""

    id: OffsetAndEpoch


class SnapshotInstalled(NamedTuple):
    """A downloaded snapshot is complete, checked and durable; what it says of voters and kraft.version."""

    id: OffsetAndEpoch
    voters: VoterSet | None
    kraft_version: int


class SnapshotRejected(NamedTuple):
    """A downloaded snapshot did not read as one."""

    id: OffsetAndEpoch


class Clean(NamedTuple):
    """Retention wants the log to start at this snapshot, and older snapshots gone."""

    id: OffsetAndEpoch


class PeerUnreachable(NamedTuple):
    """Positive evidence that a node's process is gone: its connection broke *and* a new one was refused."""

    node_id: int
    evidence: str = ""


class Stalled(NamedTuple):
    """Our own loop stood still: that time counts against nobody."""

    duration_ms: float


class Resign(NamedTuple):
    """The state machine cannot go on leading `epoch`."""

    epoch: int


class Shutdown(NamedTuple):
    """Leave gracefully."""


Event: TypeAlias = (
    Tick
    | Received
    | Answered
    | Failed
    | Append
    | Flushed
    | SnapshotTaken
    | SnapshotInstalled
    | SnapshotRejected
    | Clean
    | PeerUnreachable
    | Stalled
    | Resign
    | Shutdown
)

# ---------------------------------------------------------------- effects


class PersistElection(NamedTuple):
    """Make epoch, vote and leader durable before any effect that follows."""

    state: ElectionState


class AppendRecords(NamedTuple):
    """Append the payload of an `Append` as one batch at this place."""

    batch: BatchInfo
    payload: Any


class AppendEpochStart(NamedTuple):
    """Append the control batch that opens an epoch: LeaderChange, and KRaftVersion and Voters where they are due."""

    batch: BatchInfo
    leader_id: int
    voter_ids: tuple[int, ...]
    granting_ids: tuple[int, ...]


class AppendFetched(NamedTuple):
    """Append these batches, the first ones of a fetch response's records, as they are."""

    batches: tuple[BatchInfo, ...]
    records: Any


class Truncate(NamedTuple):
    """Drop everything at and above `offset`."""

    offset: int


class ResetLog(NamedTuple):
    """Drop the whole log: it starts and ends at this snapshot's end, and older snapshots go."""

    id: OffsetAndEpoch


class AdvanceLogStart(NamedTuple):
    """Drop what lies below `offset`, and these snapshots."""

    offset: int
    obsolete: tuple[OffsetAndEpoch, ...]


class Flush(NamedTuple):
    """Make the log durable; answer with `Flushed`. There is never more than one under way."""

    generation: int
    up_to: int


class Send(NamedTuple):
    """Send a request; answer with `Answered` or `Failed`."""

    correlation_id: int
    node_id: int | None
    endpoint: Endpoint
    request: Request
    timeout_ms: int


class Reply(NamedTuple):
    """Answer a `Received` request."""

    token: Any
    response: Response


class ReplyWithRecords(NamedTuple):
    """Answer a fetch with up to `max_bytes` of the log from `offset` on, as it is now."""

    token: Any
    response: FetchResponse
    offset: int
    max_bytes: int


class ReplyWithSnapshot(NamedTuple):
    """Answer with up to `max_bytes` of a snapshot from `position` on; POSITION_OUT_OF_RANGE beyond its end."""

    token: Any
    response: FetchSnapshotResponse
    id: OffsetAndEpoch
    position: int
    max_bytes: int


class WriteSnapshotPart(NamedTuple):
    """Append bytes to the snapshot being downloaded, whose size is `position` (0: begin anew)."""

    id: OffsetAndEpoch
    position: int
    data: Any


class InstallSnapshot(NamedTuple):
    """The download is complete: check it, make it durable; answer `SnapshotInstalled` or `SnapshotRejected`."""

    id: OffsetAndEpoch


class AbandonSnapshot(NamedTuple):
    """Throw the incomplete download away."""

    id: OffsetAndEpoch


class HighWatermark(NamedTuple):
    """Everything below `offset` is committed."""

    offset: int


class LeaderChanged(NamedTuple):
    """There is another leader, or none; `epoch_start_offset` only where this replica leads."""

    leader: LeaderAndEpoch
    epoch_start_offset: int = -1


class Complaint(NamedTuple):
    """A peer said something that cannot be: worth a line in the log."""

    text: str


class ShutdownComplete(NamedTuple):
    """Nothing is left to do before the process ends."""


Effect: TypeAlias = (
    PersistElection
    | AppendRecords
    | AppendEpochStart
    | AppendFetched
    | Truncate
    | ResetLog
    | AdvanceLogStart
    | Flush
    | Send
    | Reply
    | ReplyWithRecords
    | ReplyWithSnapshot
    | WriteSnapshotPart
    | InstallSnapshot
    | AbandonSnapshot
    | HighWatermark
    | LeaderChanged
    | Complaint
    | ShutdownComplete
)
