"""Which function sees to which event, request and answer; and the small ones among them.

Owns the tables that `core.py` steps by. What a table names is looked up at each step, so a test can put something else
there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blumfeld.cluster.raft import election, replication, snapshot
from blumfeld.cluster.raft.events import (
    Answered,
    Append,
    Clean,
    Failed,
    Failure,
    Flushed,
    PeerUnreachable,
    Received,
    Resign,
    Shutdown,
    SnapshotInstalled,
    SnapshotRejected,
    SnapshotTaken,
    Stalled,
    Tick,
)
from blumfeld.cluster.raft.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    VoteRequest,
    VoteResponse,
)
from blumfeld.cluster.raft.roles import Candidate, Follower, Leader, Prospective, Resigned, Unattached
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.raft.core import RaftCore
    from blumfeld.cluster.raft.peers import InFlight


def _on_tick(core: RaftCore, event: Tick) -> None:
    core.peers.expire(core.now)


def _on_received(core: RaftCore, event: Received) -> None:
    REQUEST_HANDLERS[type(event.request)](core, event.request, event.token)


def _on_answered(core: RaftCore, event: Answered) -> None:
    in_flight = core.peers.answered(event.correlation_id)
    if in_flight is None:
        return
    role = core.role
    response = event.response
    if response.error == ErrorCode.BROKER_NOT_AVAILABLE:
        good = False
        _note_gone(core, in_flight)
    elif response.epoch < 0:
        good = core.unexpected(response, in_flight)
    else:
        good = ANSWER_HANDLERS[type(response)](core, response, in_flight)
    if core.role is not role:
        return
    if good:
        core.peers.succeeded(in_flight.peer)
    else:
        core.peers.failed(in_flight.peer, core.now)


def _on_failed(core: RaftCore, event: Failed) -> None:
    in_flight = core.peers.answered(event.correlation_id)
    if in_flight is None:
        return
    core.peers.failed(in_flight.peer, core.now)
    if isinstance(in_flight.request, VoteRequest):
        election.on_vote_failed(core, event.failure, in_flight)
    elif event.failure is Failure.REFUSED:
        _note_gone(core, in_flight)


def _note_gone(core: RaftCore, in_flight: InFlight) -> None:
    """A node that is gone, or going, need not be told that this one resigned: whole clusters stop, too."""
    if isinstance(core.role, Resigned) and isinstance(in_flight.peer, int):
        core.role.unacknowledged.discard(in_flight.peer)


def _on_peer_unreachable(core: RaftCore, event: PeerUnreachable) -> None:
    """Only a follower's fetch timer is shortened. A leader's check-quorum timer never is."""
    role = core.role
    if isinstance(role, Follower) and role.leader_id == event.node_id:
        core.give_up_on_leader(role)


def _on_stalled(core: RaftCore, event: Stalled) -> None:
    role, duration = core.role, event.duration_ms
    if isinstance(role, Follower):
        role.fetch_deadline += duration
    elif isinstance(role, Leader):
        role.check_quorum_deadline += duration
    else:
        role.election_deadline += duration
    core.peers.shift(duration)


def _on_resign(core: RaftCore, event: Resign) -> None:
    if isinstance(core.role, Leader) and core.role.epoch == event.epoch:
        core.become_resigned()


def _on_shutdown(core: RaftCore, event: Shutdown) -> None:
    core.shutting_down = True
    if isinstance(core.role, Leader):
        core.become_resigned()


def _poll_leader(core: RaftCore, role: Leader) -> None:
    if core.now >= role.check_quorum_deadline and not core.log.voters.is_only(core.key):
        return core.become_resigned()
    election.tell_of_leadership(core, role)
    return replication.expire_parked(core, role)


EVENT_HANDLERS: dict[type, Callable[[RaftCore, Any], None]] = {
    Tick: _on_tick,
    Received: _on_received,
    Answered: _on_answered,
    Failed: _on_failed,
    Append: replication.on_append,
    Flushed: replication.on_flushed,
    SnapshotTaken: snapshot.on_snapshot_taken,
    SnapshotInstalled: snapshot.on_snapshot_installed,
    SnapshotRejected: snapshot.on_snapshot_rejected,
    Clean: snapshot.on_clean,
    PeerUnreachable: _on_peer_unreachable,
    Stalled: _on_stalled,
    Resign: _on_resign,
    Shutdown: _on_shutdown,
}
REQUEST_HANDLERS: dict[type, Callable[[RaftCore, Any, Any], None]] = {
    VoteRequest: election.on_vote_request,
    BeginQuorumEpochRequest: election.on_begin_quorum_epoch_request,
    EndQuorumEpochRequest: election.on_end_quorum_epoch_request,
    FetchRequest: replication.on_fetch_request,
    FetchSnapshotRequest: snapshot.on_fetch_snapshot_request,
}
ANSWER_HANDLERS: dict[type, Callable[[RaftCore, Any, InFlight], bool]] = {
    VoteResponse: election.on_vote_response,
    BeginQuorumEpochResponse: election.on_begin_quorum_epoch_response,
    EndQuorumEpochResponse: election.on_end_quorum_epoch_response,
    FetchResponse: replication.on_fetch_response,
    FetchSnapshotResponse: snapshot.on_fetch_snapshot_response,
}
POLLS: dict[type, Callable[[RaftCore, Any], None]] = {
    Unattached: election.poll_unattached,
    Prospective: election.poll_prospective,
    Candidate: election.poll_candidate,
    Follower: replication.poll_follower,
    Leader: _poll_leader,
    Resigned: election.poll_resigned,
}
