"""Snapshots: taken, fetched in pieces, and the log that ends below them."""

from __future__ import annotations

from blumfeld.cluster.raft.events import (
    AbandonSnapshot,
    AdvanceLogStart,
    Answered,
    Clean,
    Complaint,
    InstallSnapshot,
    ResetLog,
    SnapshotInstalled,
    SnapshotRejected,
    WriteSnapshotPart,
)
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import (
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
)
from blumfeld.cluster.raft.roles import Follower
from blumfeld.protocol.errors import ErrorCode
from tests.cluster.raft.quorum import Node, Quorum, key_of


def cleaned(quorum: Quorum) -> tuple[Node, Node, Node, OffsetAndEpoch]:
    """Three nodes of which the last has missed what the leader has only in a snapshot now."""
    leader, follower, late = quorum.of(3).with_leader(1)
    quorum.kill(late)
    leader.append("a")
    leader.append("b")
    quorum.deliver_between(leader, follower)
    id_ = leader.take_snapshot()
    leader.step(Clean(id_))
    leader.append("c")
    quorum.deliver_between(leader, follower)
    return leader, follower, late, id_


def test_a_snapshot_lets_the_log_begin_later(quorum: Quorum) -> None:
    leader, _, _, id_ = cleaned(quorum)
    assert id_ == OffsetAndEpoch(5, 1)
    assert leader.did(AdvanceLogStart) == [AdvanceLogStart(5, (OffsetAndEpoch(0, 0),))]
    assert leader.core.log.start_offset == 5
    assert leader.values == ["c"]


def test_who_is_behind_the_logs_start_is_sent_to_the_snapshot(quorum: Quorum) -> None:
    leader, _, late, id_ = cleaned(quorum)
    response = leader.receive(FetchRequest(1, late.key, 3, 1, 0, 100))
    assert response == FetchResponse(
        ErrorCode.NONE, 1, 1, leader.core.endpoints, high_watermark=6, log_start_offset=5, snapshot=id_
    )


def test_a_snapshot_is_fetched_in_pieces_and_then_the_log(quorum: Quorum) -> None:
    leader, _, late, id_ = cleaned(quorum)
    late.forget()
    quorum.revive(late)
    quorum.deliver()
    assert [part.position for part in late.did(WriteSnapshotPart)] == [0, 4, 8]
    assert late.did(InstallSnapshot) == [InstallSnapshot(id_)]
    assert late.did(ResetLog) == [ResetLog(id_)]
    assert late.core.log.start_offset == 5
    assert late.core.high_watermark == leader.core.high_watermark
    assert late.values == ["c"]
    assert late.core.log.voters == leader.core.log.voters


def test_a_replica_without_anything_gets_the_snapshot_first(quorum: Quorum) -> None:
    leader, _, _ = quorum.of(3).with_leader(1)
    leader.append("a")
    quorum.deliver()
    id_ = leader.take_snapshot()
    assert leader.receive(FetchRequest(1, key_of(9), 0, 0, 0, 100)).snapshot == id_


def test_checkpoint_0_0_is_never_sent(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    assert leader.receive(FetchRequest(1, key_of(9), 0, 0, 0, 100)).batches
    request = FetchSnapshotRequest(1, key_of(9), OffsetAndEpoch(0, 0), 0, 100)
    assert leader.receive(request).error == ErrorCode.SNAPSHOT_NOT_FOUND


def test_refusals_of_snapshot_fetches(quorum: Quorum) -> None:
    leader, follower, late, id_ = cleaned(quorum)
    request = FetchSnapshotRequest(1, late.key, id_, 0, 100)
    assert leader.receive(request).error == ErrorCode.NONE
    assert len(leader.receive(request._replace(max_bytes=-5)).data) == 1
    assert leader.receive(request._replace(position=-1)).error == ErrorCode.POSITION_OUT_OF_RANGE
    assert leader.receive(request._replace(id=OffsetAndEpoch(4, 1))).error == ErrorCode.SNAPSHOT_NOT_FOUND
    assert leader.receive(request._replace(epoch=0)).error == ErrorCode.FENCED_LEADER_EPOCH
    assert leader.receive(request._replace(epoch=2)).error == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert follower.receive(request).error == ErrorCode.NOT_LEADER_OR_FOLLOWER


def downloading(quorum: Quorum) -> tuple[Node, Node, int]:
    """A node in the middle of a download, and the correlation id of its request."""
    leader, _, late, _ = cleaned(quorum)
    quorum.revive(late)
    quorum.deliver(late, to=leader)
    quorum.deliver(leader, to=late)
    quorum.deliver(late, to=leader)
    quorum.deliver(leader, to=late)
    assert late.as_a(Follower).download is not None
    (parcel,) = [p for p in quorum.parcels if p.source == late.id]
    assert isinstance(parcel.content, FetchSnapshotRequest)
    return leader, late, parcel.correlation_id


def test_a_snapshot_that_is_gone_meanwhile_is_asked_for_anew(quorum: Quorum) -> None:
    _, late, correlation_id = downloading(quorum)
    late.forget().step(Answered(correlation_id, FetchSnapshotResponse(ErrorCode.SNAPSHOT_NOT_FOUND, 1, 1)))
    assert late.as_a(Follower).download is None
    assert late.did(AbandonSnapshot)
    late.assert_sent(FetchRequest, offset=3)


def test_a_part_that_was_not_asked_for_ends_the_download(quorum: Quorum) -> None:
    _, late, correlation_id = downloading(quorum)
    mad = FetchSnapshotResponse(ErrorCode.NONE, 1, 1, (), OffsetAndEpoch(5, 1), size=10, position=0, data=b"x")
    late.forget().step(Answered(correlation_id, mad))
    assert late.did(Complaint)
    assert late.as_a(Follower).download is None


def test_a_new_leader_ends_the_download(quorum: Quorum) -> None:
    _, late, _ = downloading(quorum)
    late.forget().core.become_unattached(2)
    late.tick()
    assert late.did(AbandonSnapshot) == [AbandonSnapshot(OffsetAndEpoch(5, 1))]


def test_a_download_that_does_not_read_as_a_snapshot_is_tried_again(quorum: Quorum) -> None:
    leader, late, _ = downloading(quorum)
    late.core.installing = OffsetAndEpoch(5, 1)
    late.as_a(Follower).download = None
    late.forget().step(SnapshotRejected(OffsetAndEpoch(5, 1)))
    assert late.did(Complaint)
    quorum.lose(late)
    late.core.peers.reset()
    quorum.settle(200)
    assert late.values == leader.values


def test_nothing_is_fetched_while_a_snapshot_is_being_installed(quorum: Quorum) -> None:
    _, late, _ = downloading(quorum)
    quorum.lose(late)
    late.core.peers.reset()
    late.core.installing = OffsetAndEpoch(5, 1)
    late.forget().tick()
    late.assert_not_sent(FetchRequest)
    late.assert_not_sent(FetchSnapshotRequest)


def test_a_snapshot_that_the_log_has_outgrown_is_not_installed(quorum: Quorum) -> None:
    _, follower, _ = quorum.of(3).with_leader(1)
    follower.forget().step(SnapshotInstalled(OffsetAndEpoch(2, 1), None, 1))
    assert follower.did(ResetLog) == []


def test_a_leader_that_names_a_snapshot_below_what_is_committed_is_not_obeyed(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    follower.restart()
    follower.core.high_watermark = 3
    (parcel,) = [p for p in quorum.parcels if p.source == follower.id]
    mad = FetchResponse(ErrorCode.NONE, 1, leader.id, snapshot=OffsetAndEpoch(2, 1))
    follower.forget().step(Answered(parcel.correlation_id, mad))
    assert follower.did(Complaint)
    assert follower.as_a(Follower).download is None


def test_a_restart_begins_at_the_snapshot(quorum: Quorum) -> None:
    leader, _, _, id_ = cleaned(quorum)
    leader.restart()
    assert leader.core.log.start_offset == 5
    assert leader.core.high_watermark == id_.offset
    assert leader.core.log.voters.ids == {1, 2, 3}
