"""Replication: followers and observers fetch, the leader keeps account and moves the high watermark.

Owns Fetch on both sides, appends of the leader's state machine, and the durability gate: a voter asks for what follows
only what is on its disk, and a leader counts its own log only as far as it is on its disk. Snapshots are in
`snapshot.py`.

Invariants
- The high watermark rises only past a record of the leader's own epoch, and never falls.
- A follower never cuts below its high watermark; a leader that asks for it is not obeyed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blumfeld.cluster.raft import snapshot
from blumfeld.cluster.raft.events import (
    Append,
    AppendFetched,
    AppendRecords,
    Flush,
    Flushed,
    HighWatermark,
    ReplyWithRecords,
    Truncate,
)
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import (
    NO_HIGH_WATERMARK_SUPPORT,
    UNKNOWN_HIGH_WATERMARK,
    BatchInfo,
    FetchRequest,
    FetchResponse,
)
from blumfeld.cluster.raft.outline import Position
from blumfeld.cluster.raft.roles import Follower, Leader, Parked
from blumfeld.cluster.raft.voters import ReplicaKey
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.raft.core import RaftCore
    from blumfeld.cluster.raft.peers import InFlight

OBSERVER_SESSION_MS = 300_000
MAX_OBSERVERS = 1_000


# ---------------------------------------------------------------- the leader's own log


def on_append(core: RaftCore, event: Append) -> None:
    """One atomic batch of the state machine. The driver has checked that this replica leads that epoch."""
    role = core.role
    assert isinstance(role, Leader)
    assert role.epoch == event.epoch
    base_offset = core.log.end_offset
    batch = BatchInfo(base_offset, base_offset + event.record_count - 1, role.epoch)
    core.log.append(batch)
    core.emit(AppendRecords(batch, event.payload))
    appended(core, role)


def appended(core: RaftCore, role: Leader) -> None:
    """The leader's log has grown: make it durable, and let waiting fetches have it."""
    request_flush(core)
    answer_parked(core, role)


def request_flush(core: RaftCore) -> None:
    """Have the log made durable, unless that is under way or, for an observer, nobody's business."""
    log = core.log
    if not core.flushing and log.durable_offset < log.end_offset and core.is_voter:
        core.flushing = True
        core.emit(Flush(log.generation, log.end_offset))


def on_flushed(core: RaftCore, event: Flushed) -> None:
    core.flushing = False
    counts = core.log.flushed(event.generation, event.up_to)
    request_flush(core)
    if counts and isinstance(core.role, Leader):
        update_high_watermark(core, core.role)


def update_high_watermark(core: RaftCore, role: Leader) -> None:
    """The largest offset that a majority of voters has on disk, if the leader's own epoch reaches it."""
    voters = core.log.voters
    ends = sorted(
        core.log.durable_offset if core.is_me(voter.key) else role.progress_of(voter.key, voters).end_offset
        for voter in voters
    )
    if not ends:
        return
    majority_end = ends[len(ends) - voters.majority]
    if majority_end <= role.epoch_start_offset:
        return
    if role.high_watermark is None or majority_end > role.high_watermark:
        role.high_watermark = majority_end
        advance_high_watermark(core, majority_end)
        answer_parked(core, role)


def advance_high_watermark(core: RaftCore, offset: int) -> None:
    if offset > core.high_watermark:
        core.high_watermark = offset
        core.emit(HighWatermark(offset))


# ---------------------------------------------------------------- serving fetches


def on_fetch_request(core: RaftCore, request: FetchRequest, token: Any) -> None:
    """Answers INVALID_REQUEST, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER, BROKER_NOT_AVAILABLE,
    or records, a diverging epoch, a snapshot id; waits where there is nothing new."""
    if request.max_wait_ms < 0 or request.offset < 0 or not 0 <= request.last_epoch <= request.epoch:
        error: ErrorCode | None = ErrorCode.INVALID_REQUEST
    else:
        error = refusal_unless_leader(core, request.epoch, request.replica)
    if error:
        leader_id, endpoints = core.known_leader
        return core.reply(token, FetchResponse(error, core.epoch, leader_id, endpoints))
    role = core.role
    assert isinstance(role, Leader)
    position, where = core.log.locate(request.offset, request.last_epoch)
    if position is not Position.VALID:
        response = _response(core, role)
        if position is Position.DIVERGING:
            response = response._replace(diverging=where)
        else:
            response = response._replace(snapshot=where)
        return core.reply(token, response)
    _note_fetch(core, role, request)
    _release_earlier(core, role, request.replica)
    if request.max_wait_ms == 0 or _has_news(core, role, request):
        return _answer(core, role, request, token)
    role.parked[token] = Parked(request, core.now + request.max_wait_ms)
    return None


def refusal_unless_leader(core: RaftCore, epoch: int, replica: ReplicaKey) -> ErrorCode | None:
    """Whether a request to the leader of `epoch` is to be refused."""
    if epoch < core.epoch:
        return ErrorCode.FENCED_LEADER_EPOCH
    if epoch > core.epoch:
        return ErrorCode.UNKNOWN_LEADER_EPOCH
    if not isinstance(core.role, Leader):
        # Nobody asks knowingly, but a replica that looks for the leader asks everybody.
        return ErrorCode.NOT_LEADER_OR_FOLLOWER
    if core.shutting_down:
        return ErrorCode.BROKER_NOT_AVAILABLE
    return ErrorCode.INVALID_REQUEST if replica.id == core.key.id else None


def _response(core: RaftCore, role: Leader) -> FetchResponse:
    return FetchResponse(
        ErrorCode.NONE,
        role.epoch,
        *core.known_leader,
        UNKNOWN_HIGH_WATERMARK if role.high_watermark is None else role.high_watermark,
        core.log.start_offset,
    )


def _has_news(core: RaftCore, role: Leader, request: FetchRequest) -> bool:
    if core.log.end_offset > request.offset:
        return True
    high_watermark = role.high_watermark
    return (
        high_watermark is not None
        and request.high_watermark != NO_HIGH_WATERMARK_SUPPORT
        and high_watermark > request.high_watermark
    )


def _answer(core: RaftCore, role: Leader, request: FetchRequest, token: Any) -> None:
    if core.log.end_offset > request.offset:
        max_bytes = max(0, min(request.max_bytes, core.options.fetch_max_bytes))
        core.emit(ReplyWithRecords(token, _response(core, role), request.offset, max_bytes))
    else:
        core.reply(token, _response(core, role))


def _note_fetch(core: RaftCore, role: Leader, request: FetchRequest) -> None:
    """Account for a fetch: the replica has, on disk if it votes, everything below its fetch offset."""
    voters = core.log.voters
    if request.replica.id < 0 or not _has_room_for(core, role, request.replica):
        return
    progress = role.progress_of(request.replica, voters)
    leader_end = core.log.end_offset
    if request.offset >= leader_end:
        progress.last_caught_up = core.now
    elif 0 < progress.leader_end_at_last_fetch <= request.offset:
        progress.last_caught_up = max(progress.last_caught_up, progress.last_fetch)
    progress.leader_end_at_last_fetch = leader_end
    progress.last_fetch = core.now
    progress.end_offset = request.offset
    progress.acknowledged = True
    note_alive(core, role, request.replica)
    if request.replica in voters:
        update_high_watermark(core, role)


def _has_room_for(core: RaftCore, role: Leader, replica: ReplicaKey) -> bool:
    """Whether its progress can be remembered: there may be a thousand observers, and then those that are gone go."""
    if replica in core.log.voters or replica in role.observers or len(role.observers) < MAX_OBSERVERS:
        return True
    forget_observers(core, role)
    return len(role.observers) < MAX_OBSERVERS


def note_alive(core: RaftCore, role: Leader, replica: ReplicaKey) -> None:
    """A voter fetches: with a majority of them the leader goes on leading."""
    voters = core.log.voters
    if replica not in voters:
        return
    role.fetched_ids.add(replica.id)
    needed = voters.majority - (1 if core.key in voters else 0)
    if len(role.fetched_ids & voters.ids) >= needed:
        role.fetched_ids.clear()
        role.check_quorum_deadline = core.now + core.options.check_quorum_timeout_ms


def _release_earlier(core: RaftCore, role: Leader, replica: ReplicaKey) -> None:
    """A replica that asks again does not wait for its earlier answer; on the same connection that one comes first."""
    if replica.id >= 0:
        for token, parked in list(role.parked.items()):
            if parked.request.replica == replica:
                del role.parked[token]
                _answer(core, role, parked.request, token)


def answer_parked(core: RaftCore, role: Leader) -> None:
    """Answer the fetches that waited for what is there now."""
    for token, parked in list(role.parked.items()):
        if _has_news(core, role, parked.request):
            del role.parked[token]
            _answer(core, role, parked.request, token)


def expire_parked(core: RaftCore, role: Leader) -> None:
    for token, parked in list(role.parked.items()):
        if parked.deadline <= core.now:
            del role.parked[token]
            _answer(core, role, parked.request, token)


def forget_observers(core: RaftCore, role: Leader) -> None:
    """Drop observers that have not fetched for minutes."""
    for key, progress in list(role.observers.items()):
        if core.now - progress.last_fetch >= OBSERVER_SESSION_MS:
            del role.observers[key]


# ---------------------------------------------------------------- fetching


def fetch_request(core: RaftCore) -> FetchRequest:
    end = core.log.end
    return FetchRequest(
        epoch=core.epoch,
        replica=core.key,
        offset=end.offset,
        last_epoch=end.epoch,
        max_wait_ms=core.options.fetch_max_wait_ms,
        max_bytes=core.options.fetch_max_bytes,
        high_watermark=core.high_watermark if core.high_watermark > 0 else UNKNOWN_HIGH_WATERMARK,
    )


def may_fetch(core: RaftCore) -> bool:
    """The gate: a voter's fetch acknowledges its whole log, so all of it has to be on disk; a snapshot likewise."""
    if core.installing is not None:
        return False
    if core.is_voter and core.log.durable_offset < core.log.end_offset:
        request_flush(core)
        return False
    return True


def poll_follower(core: RaftCore, role: Follower) -> None:
    if core.is_voter and not core.shutting_down and core.now >= role.fetch_deadline:
        return core.become_prospective()
    if core.peers.any_in_flight or not may_fetch(core):
        return None
    if core.peers.is_pausing(role.leader_id, core.now):
        return core.fetch_from_anybody()
    if core.peers.is_ready(role.leader_id, core.now):
        if role.download is not None:
            request: Any = snapshot.fetch_snapshot_request(core, role.download)
        else:
            request = fetch_request(core)
        core.send(role.leader_id, role.leader_id, core.pick_endpoint(role.endpoints), request)
    return None


def on_fetch_response(core: RaftCore, response: FetchResponse, in_flight: InFlight) -> bool:
    handled = core.absorb(response)
    if handled is not None:
        _doubt_leader(core, response, in_flight)
        return False  # where it changed nothing, the same node is not asked again at once
    if response.error:
        return core.unexpected(response, in_flight)
    role = core.role
    if not isinstance(role, Follower) or role.leader_id != response.leader_id:
        return False
    if response.diverging is not None:
        good = _truncate(core, response.diverging)
    elif response.snapshot is not None:
        good = snapshot.begin_download(core, role, response.snapshot)
    else:
        good = _append_fetched(core, role, response)
    if good:
        role.fetch_deadline = core.now + core.options.fetch_timeout_ms
        role.has_fetched = True
        role.suspected = False
    return good


def _doubt_leader(core: RaftCore, response: FetchResponse, in_flight: InFlight) -> None:
    """The leader itself says that it does not lead this epoch: it resigned, or restarted."""
    role = core.role
    if (
        isinstance(role, Follower)
        and role.leader_id == in_flight.peer
        and role.epoch == response.epoch
        and response.error == ErrorCode.NOT_LEADER_OR_FOLLOWER
    ):
        core.give_up_on_leader(role)


def _truncate(core: RaftCore, diverging: OffsetAndEpoch) -> bool:
    offset = core.log.truncation_point(diverging)
    if offset < max(core.high_watermark, core.log.start_offset):
        core.complain(f"the leader wants the log cut at {offset}, below the high watermark {core.high_watermark}")
        return False
    if offset < core.log.end_offset:
        core.log.truncate(offset)
        core.emit(Truncate(offset))
    return True


def _append_fetched(core: RaftCore, role: Follower, response: FetchResponse) -> bool:
    log = core.log
    good = 0
    for batch in response.batches:
        if (
            batch.base_offset != log.end_offset
            or batch.last_offset < batch.base_offset
            or not log.last_epoch <= batch.epoch <= role.epoch
        ):
            core.complain(f"the leader sent {batch}, which does not follow {log.end}")
            break
        log.append(batch)
        good += 1
    if good:
        core.emit(AppendFetched(response.batches[:good], response.records))
        request_flush(core)
    advance_high_watermark(core, min(log.end_offset, response.high_watermark))
    return good == len(response.batches)
