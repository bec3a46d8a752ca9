"""Snapshots: taken here, fetched from the leader, and the log that ends below them.

Owns FetchSnapshot on both sides and what snapshots do to the log's shape. The files are `checkpoint.py`'s, and what is
in them the state machine's.

Invariants
- A snapshot holds committed records only: its end is at or below the high watermark.
- The log starts at 0 or at the end of a snapshot that is on disk.
- Checkpoint 0-0 is never sent: the first leader writes what it says into the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blumfeld.cluster.raft import replication
from blumfeld.cluster.raft.events import (
    AbandonSnapshot,
    AdvanceLogStart,
    Clean,
    InstallSnapshot,
    ReplyWithSnapshot,
    ResetLog,
    SnapshotInstalled,
    SnapshotRejected,
    SnapshotTaken,
    WriteSnapshotPart,
)
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import FetchSnapshotRequest, FetchSnapshotResponse
from blumfeld.cluster.raft.outline import BOOTSTRAP_SNAPSHOT
from blumfeld.cluster.raft.roles import Download, Follower, Leader
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.raft.core import RaftCore
    from blumfeld.cluster.raft.peers import InFlight


# ---------------------------------------------------------------- taken here


def on_snapshot_taken(core: RaftCore, event: SnapshotTaken) -> None:
    latest = core.log.latest_snapshot
    if latest is None or latest.offset < event.id.offset:
        assert event.id.offset <= core.high_watermark
        core.log.add_snapshot(event.id)


def on_clean(core: RaftCore, event: Clean) -> None:
    """Let the log start at that snapshot. What is below is in it."""
    if event.id in core.log.snapshots and core.log.start_offset < event.id.offset:
        obsolete = core.log.advance_start(event.id)
        core.emit(AdvanceLogStart(event.id.offset, obsolete))


# ---------------------------------------------------------------- sent


def on_fetch_snapshot_request(core: RaftCore, request: FetchSnapshotRequest, token: Any) -> None:
    """Answers as a fetch does, SNAPSHOT_NOT_FOUND, POSITION_OUT_OF_RANGE, or bytes of the snapshot."""
    error = replication.refusal_unless_leader(core, request.epoch, request.replica)
    leader_id, endpoints = core.known_leader
    if error is None and (request.id == BOOTSTRAP_SNAPSHOT or request.id not in core.log.snapshots):
        error = ErrorCode.SNAPSHOT_NOT_FOUND
    if error is None and request.position < 0:
        error = ErrorCode.POSITION_OUT_OF_RANGE
    if error is not None:
        return core.reply(token, FetchSnapshotResponse(error, core.epoch, leader_id, endpoints))
    assert isinstance(core.role, Leader)
    replication.note_alive(core, core.role, request.replica)
    response = FetchSnapshotResponse(
        ErrorCode.NONE, core.epoch, leader_id, endpoints, request.id, position=request.position
    )
    max_bytes = max(1, min(request.max_bytes, core.options.fetch_max_bytes))
    return core.emit(ReplyWithSnapshot(token, response, request.id, request.position, max_bytes))


# ---------------------------------------------------------------- fetched


def begin_download(core: RaftCore, role: Follower, snapshot: OffsetAndEpoch) -> bool:
    """The leader's log begins after this one's end: fetch its snapshot instead."""
    if snapshot.offset < 0 or snapshot.epoch < 0 or snapshot.offset <= core.high_watermark:
        core.complain(f"the leader names snapshot {snapshot}, but {core.high_watermark} is committed here")
        return False
    role.download = Download(snapshot)
    return True


def fetch_snapshot_request(core: RaftCore, download: Download) -> FetchSnapshotRequest:
    return FetchSnapshotRequest(core.epoch, core.key, download.id, download.position, core.options.fetch_max_bytes)


def on_fetch_snapshot_response(core: RaftCore, response: FetchSnapshotResponse, in_flight: InFlight) -> bool:
    handled = core.absorb(response)
    if handled is not None:
        return handled
    role = core.role
    if not isinstance(role, Follower) or role.download is None:
        return False
    download = role.download
    if response.error in (ErrorCode.SNAPSHOT_NOT_FOUND, ErrorCode.POSITION_OUT_OF_RANGE):
        core.abandon_download(role)  # the leader has a newer one by now: ask again
        role.fetch_deadline = core.now + core.options.fetch_timeout_ms
        return True
    if response.error:
        return core.unexpected(response, in_flight)
    end = response.position + len(response.data)
    if (
        response.id != download.id
        or response.position != download.position
        or not response.position < end <= response.size
    ):
        core.complain(f"part {response.position}–{end} of {response.size} of {response.id} is not what was asked for")
        core.abandon_download(role)
        return False
    core.emit(WriteSnapshotPart(download.id, download.position, response.data))
    download.position = end
    if end == response.size:
        role.download = None
        core.installing = download.id
        core.emit(InstallSnapshot(download.id))
    role.fetch_deadline = core.now + core.options.fetch_timeout_ms
    role.has_fetched = True
    role.suspected = False
    return True


def on_snapshot_installed(core: RaftCore, event: SnapshotInstalled) -> None:
    """The downloaded snapshot is durable: it holds committed records, so it replaces a log that ends before it.

    Who leads by now does not matter.
    """
    core.installing = None
    log = core.log
    if event.id.epoch < log.last_epoch or (event.id.epoch == log.last_epoch and event.id.offset <= log.end_offset):
        core.emit(AbandonSnapshot(event.id))
        return
    log.reset(event.id, event.voters, event.kraft_version)
    core.emit(ResetLog(event.id))
    replication.advance_high_watermark(core, event.id.offset)


def on_snapshot_rejected(core: RaftCore, event: SnapshotRejected) -> None:
    core.installing = None
    core.complain(f"snapshot {event.id} from the leader does not read as one")
    if isinstance(core.role, Follower):
        core.peers.failed(core.role.leader_id, core.now)
