"""Elections: asking for votes, giving them, and telling of their outcome.

Owns Vote (with pre-vote, KIP-996), BeginQuorumEpoch and EndQuorumEpoch on both sides, and the timers of the roles that
seek or leave leadership. Knows nothing of what is in the log but its end.

A pre-vote binds nobody: it is granted where the asker's log is up to date and no leader is known to be alive. A vote is
given once an epoch, to an up-to-date log, and persisted before it is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blumfeld.cluster.raft.events import Failure
from blumfeld.cluster.raft.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    VoteRequest,
    VoteResponse,
)
from blumfeld.cluster.raft.roles import (
    NEVER,
    Candidate,
    Follower,
    Leader,
    Prospective,
    Resigned,
    Unattached,
)
from blumfeld.cluster.raft.voters import ReplicaKey
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.raft.core import RaftCore
    from blumfeld.cluster.raft.peers import InFlight

LOST_ELECTION_BACKOFF_MS = 50


# ---------------------------------------------------------------- giving votes


def on_vote_request(core: RaftCore, request: VoteRequest, token: Any) -> None:
    """Answers FENCED_LEADER_EPOCH, INVALID_REQUEST, INVALID_VOTER_KEY, or whether the vote is granted."""

    def reply(error: ErrorCode, granted: bool = False) -> None:
        leader_id, endpoints = core.known_leader
        core.reply(token, VoteResponse(error, core.epoch, leader_id, endpoints, granted))

    highest_last_epoch = request.epoch if request.pre_vote else request.epoch - 1
    if request.last_offset < 0 or not 0 <= request.last_epoch <= highest_last_epoch:
        return reply(ErrorCode.INVALID_REQUEST)
    error = refusal_by_epoch(core, request.candidate.id, request.epoch)
    if error:
        return reply(error)
    if request.epoch > core.epoch:
        core.become_unattached(request.epoch)
    if not is_meant_for(core, request.voter):
        return reply(ErrorCode.INVALID_VOTER_KEY)
    granted = _may_grant(core, request)
    if granted and not request.pre_vote:
        _vote_for(core, request.candidate)
    return reply(ErrorCode.NONE, granted)


def refusal_by_epoch(core: RaftCore, node_id: int, epoch: int) -> ErrorCode | None:
    """Whether a request that claims something about `epoch` comes too late, or from nobody."""
    if epoch < core.epoch:
        return ErrorCode.FENCED_LEADER_EPOCH
    return ErrorCode.INVALID_REQUEST if node_id < 0 else None


def is_meant_for(core: RaftCore, voter: ReplicaKey | None) -> bool:
    """Whether the voter key of a request is this replica's; older versions name none."""
    return voter is None or core.is_me(voter)


def _may_grant(core: RaftCore, request: VoteRequest) -> bool:
    end = core.log.end
    is_up_to_date = (request.last_epoch, request.last_offset) >= (end.epoch, end.offset)
    role = core.role
    if not is_up_to_date or isinstance(role, Leader):
        return False
    if request.pre_vote:
        return not isinstance(role, Follower) or not role.has_fetched or role.suspected
    if not isinstance(role, Unattached | Prospective):
        return False
    if role.voted is not None:
        return role.voted == request.candidate
    return role.leader_id is None


def _vote_for(core: RaftCore, candidate: ReplicaKey) -> None:
    role = core.role
    assert isinstance(role, Unattached | Prospective)
    if role.voted is None:
        role.voted = candidate
        role.election_deadline = core.now + core.random_election_timeout_ms()


# ---------------------------------------------------------------- asking for votes


def poll_unattached(core: RaftCore, role: Unattached) -> None:
    if core.is_voter and role.election_deadline == NEVER:
        role.election_deadline = core.now + core.random_election_timeout_ms()
    if core.is_voter and not core.shutting_down and core.now >= role.election_deadline:
        core.become_prospective()
    elif not core.shutting_down:
        core.fetch_from_anybody()


def poll_prospective(core: RaftCore, role: Prospective) -> None:
    if role.ballots.is_won:
        core.become_candidate()
    elif role.ballots.is_lost or core.now >= role.election_deadline:
        if role.leader_id is not None and role.endpoints:
            core.become_follower(role.epoch, role.leader_id, role.endpoints)
        else:
            core.become_unattached(role.epoch, leader_id=role.leader_id)
    else:
        _ask_for_votes(core, role, pre_vote=True)


def poll_candidate(core: RaftCore, role: Candidate) -> None:
    if role.ballots.is_won:
        core.become_leader()
    elif core.now >= role.election_deadline:
        core.become_prospective()
    elif not role.ballots.is_lost:
        _ask_for_votes(core, role, pre_vote=False)
    elif not role.lost:
        role.lost = True
        core.lost_elections += 1
        longest = min(LOST_ELECTION_BACKOFF_MS << min(core.lost_elections, 10), core.options.election_backoff_max_ms)
        role.election_deadline = min(role.election_deadline, core.now + core.random() * longest)


def _ask_for_votes(core: RaftCore, role: Prospective | Candidate, *, pre_vote: bool) -> None:
    end = core.log.end
    for voter in role.ballots.voters:
        if role.ballots.is_open(voter.id) and core.peers.is_ready(voter.id, core.now):
            core.send_to_voter(voter, VoteRequest(role.epoch, core.key, end.offset, end.epoch, pre_vote, voter.key))


def on_vote_response(core: RaftCore, response: VoteResponse, in_flight: InFlight) -> bool:
    """Count a vote; whether the peer may be asked again at once."""
    handled = core.absorb(response)
    if handled is not None:
        return handled
    if response.error:
        return core.unexpected(response, in_flight)
    role = core.role
    assert isinstance(in_flight.request, VoteRequest)
    if isinstance(role, Prospective if in_flight.request.pre_vote else Candidate):
        assert isinstance(role, Prospective | Candidate)
        assert isinstance(in_flight.peer, int)
        role.ballots.count(in_flight.peer, response.granted)
    return True


def on_vote_failed(core: RaftCore, failure: Failure, in_flight: InFlight) -> None:
    """A voter is gone, or knows no pre-votes: then go on as before KIP-996."""
    role = core.role
    if failure is Failure.UNSUPPORTED and isinstance(role, Prospective):
        core.become_candidate()
    elif failure is Failure.REFUSED and isinstance(role, Prospective | Candidate):
        assert isinstance(in_flight.peer, int)
        role.ballots.unreachable.add(in_flight.peer)


# ---------------------------------------------------------------- a leader's beginning


def on_begin_quorum_epoch_request(core: RaftCore, request: BeginQuorumEpochRequest, token: Any) -> None:
    error = refusal_by_epoch(core, request.leader_id, request.epoch)
    if error is None and not core.accept_leader(request.epoch, request.leader_id, request.endpoints):
        error = ErrorCode.INVALID_REQUEST
    role = core.role
    if error is None and isinstance(role, Prospective):  # it knew of that leader, and took it for dead
        core.become_follower(request.epoch, request.leader_id, role.endpoints)
    if error is None and not is_meant_for(core, request.voter):
        error = ErrorCode.INVALID_VOTER_KEY
    leader_id, endpoints = core.known_leader
    core.reply(token, BeginQuorumEpochResponse(error or ErrorCode.NONE, core.epoch, leader_id, endpoints))


def tell_of_leadership(core: RaftCore, role: Leader) -> None:
    """Send BeginQuorumEpoch to voters that have not been heard of lately, now and then."""
    if core.now < role.begin_quorum_epoch_deadline:
        return
    role.begin_quorum_epoch_deadline = core.now + core.options.begin_quorum_epoch_timeout_ms
    quiet_since = core.now - core.options.begin_quorum_epoch_timeout_ms
    for voter in core.log.voters:
        if core.is_me(voter.key) or not core.peers.is_ready(voter.id, core.now):
            continue
        progress = role.progress_of(voter.key, core.log.voters)
        if progress.last_fetch < 0 or progress.last_fetch <= quiet_since:
            core.send_to_voter(voter, BeginQuorumEpochRequest(role.epoch, core.key.id, core.own_endpoints, voter.key))


def on_begin_quorum_epoch_response(core: RaftCore, response: BeginQuorumEpochResponse, in_flight: InFlight) -> bool:
    handled = core.absorb(response)
    if handled is not None:
        return handled
    if response.error:
        return core.unexpected(response, in_flight)
    if isinstance(core.role, Leader) and isinstance(in_flight.peer, int):
        progress = core.role.voters.get(in_flight.peer)
        if progress is not None:
            progress.acknowledged = True
    return True


# ---------------------------------------------------------------- a leader's end


def poll_resigned(core: RaftCore, role: Resigned) -> None:
    if not core.shutting_down and core.now >= role.election_deadline:
        # The epoch has to rise: in this one the replica has been leader, and others would still name it.
        return core.become_unattached(role.epoch + 1)
    for voter in core.log.voters:
        if voter.id in role.unacknowledged and core.peers.is_ready(voter.id, core.now):
            core.send_to_voter(
                voter, EndQuorumEpochRequest(role.epoch, core.key.id, core.own_endpoints, role.preferred)
            )
    return None


def on_end_quorum_epoch_request(core: RaftCore, request: EndQuorumEpochRequest, token: Any) -> None:
    error = refusal_by_epoch(core, request.leader_id, request.epoch)
    if error is None and not core.accept_leader(request.epoch, request.leader_id, request.endpoints):
        error = ErrorCode.INVALID_REQUEST
    role = core.role
    if error is None and isinstance(role, Follower) and role.leader_id == request.leader_id:
        role.suspected = True
        role.fetch_deadline = min(role.fetch_deadline, core.now + _turn_ms(core, request.preferred))
    leader_id, endpoints = core.known_leader
    core.reply(token, EndQuorumEpochResponse(error or ErrorCode.NONE, core.epoch, leader_id, endpoints))


def _turn_ms(core: RaftCore, preferred: tuple[ReplicaKey, ...]) -> float:
    """How long to wait for better successors: nothing for the first, then exponentially more up to the maximum."""
    if not preferred:
        return core.random() * core.options.startup_election_timeout_ms
    longest = core.options.election_backoff_max_ms
    for position, key in enumerate(preferred):
        if core.is_me(key):
            return 0 if position == 0 else min(longest, (longest >> (len(preferred) - 1)) << (position - 1))
    return longest


def on_end_quorum_epoch_response(core: RaftCore, response: EndQuorumEpochResponse, in_flight: InFlight) -> bool:
    handled = core.absorb(response)
    if handled is not None:
        return handled
    if response.error:
        return core.unexpected(response, in_flight)
    if isinstance(core.role, Resigned) and isinstance(in_flight.peer, int):
        core.role.unacknowledged.discard(in_flight.peer)
    return True
