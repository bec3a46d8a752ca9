"""Replication: fetches, the durability gate, diverging logs, the high watermark."""

from __future__ import annotations

import pytest

from blumfeld.cluster.raft.events import Answered, AppendFetched, Complaint, HighWatermark, Truncate
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo, FetchRequest, FetchResponse
from blumfeld.cluster.raft.roles import Follower, Leader
from blumfeld.cluster.raft.voters import ReplicaKey
from blumfeld.protocol.errors import ErrorCode
from tests.cluster.raft.quorum import Node, Quorum, key_of


def fetch(replica: ReplicaKey, epoch: int, offset: int, last_epoch: int, **fields: int) -> FetchRequest:
    return FetchRequest(epoch, replica, offset, last_epoch, fields.pop("max_wait_ms", 500), 1 << 20, **fields)


def test_what_is_appended_reaches_everybody(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    leader.append("a", "b")
    leader.append("c")
    quorum.deliver()
    for node in (leader, follower, other):
        assert node.values == ["a", "b", "c"]
        assert node.committed == ["a", "b", "c"]


def test_a_quorum_of_one_commits_with_one_flush(quorum: Quorum) -> None:
    (only,) = quorum.of(1)
    only.holds_flushes = True
    only.append("a")
    only.append("b")
    assert only.committed == []
    only.flush()  # the one that began with a
    assert only.committed == ["a"]
    only.flush()
    assert only.committed == ["a", "b"]
    assert only.flushing is None


def test_appends_while_the_disk_is_busy_share_the_next_flush(quorum: Quorum) -> None:
    (only,) = quorum.of(1)
    only.holds_flushes = True
    for value in range(10):
        only.append(value)
    only.flush()
    only.flush()
    assert only.committed == list(range(10))
    assert only.flushing is None


def test_a_majority_of_disks_commits(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    leader.append("a")
    quorum.lose(to=other)
    quorum.lose(other)
    quorum.deliver_between(leader, follower)
    assert leader.committed == ["a"]


def test_the_leader_counts_its_own_log_only_when_it_is_on_disk(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    leader.holds_flushes = True
    leader.append("a")
    quorum.deliver_between(leader, follower)
    assert leader.committed == []
    leader.flush()
    assert leader.committed == ["a"]
    assert other.committed == []


def test_followers_commit_even_before_the_leaders_own_disk(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    leader.holds_flushes = True
    leader.append("a")
    quorum.deliver()
    assert leader.committed == ["a"]
    assert leader.flushing is not None


def test_a_follower_fetches_on_only_what_is_on_its_disk(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    follower.holds_flushes = True
    leader.append("a")
    quorum.deliver(leader, to=follower)
    assert follower.values == ["a"]
    follower.forget().tick()
    follower.assert_not_sent(FetchRequest)
    follower.flush()
    follower.assert_sent(FetchRequest, offset=4)


def test_a_voter_that_seeks_the_leader_acknowledges_no_more_than_its_disk_has(quorum: Quorum) -> None:
    leader, _, _ = quorum.of(3).with_leader(1)
    leader.holds_flushes = True
    leader.append("a")
    leader.receive(FetchRequest(2, key_of(2), 4, 1, 0, 1))  # somebody is in a later epoch …
    leader.core.become_unattached(2)  # … and so is this one now
    leader.forget().tick()
    leader.assert_not_sent(FetchRequest)
    leader.flush()
    leader.assert_sent(FetchRequest, epoch=2, offset=4)


def test_an_observer_needs_no_disk_and_does_not_count(quorum: Quorum) -> None:
    leader, follower, other, observer = quorum.of(3, observers=1).with_leader(1)
    quorum.settle(200)  # it finds the leader
    observer.holds_flushes = True
    leader.append("a")
    quorum.deliver_between(leader, observer)
    assert observer.values == ["a"]
    assert observer.flushing is None
    assert leader.committed == []
    assert follower.id + other.id == 5


def test_nothing_is_committed_before_a_record_of_the_leaders_own_epoch(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    leader.append("a")
    quorum.deliver_between(leader, follower)
    quorum.kill(leader)
    follower.time_out()
    quorum.deliver(follower, to=other)
    quorum.deliver(other, to=follower)
    quorum.deliver(follower, to=other)
    quorum.deliver(other, to=follower)
    assert follower.is_a(Leader)
    start = follower.as_a(Leader).epoch_start_offset
    assert start == 4
    follower.receive(fetch(other.key, 2, start, 1))  # other has everything of epoch 1, but nothing of epoch 2
    assert follower.as_a(Leader).high_watermark is None
    follower.receive(fetch(other.key, 2, start + 1, 2))
    assert follower.as_a(Leader).high_watermark == start + 1


def test_a_leader_tells_no_high_watermark_before_its_own(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    leader.as_a(Leader).high_watermark = None
    assert leader.receive(fetch(key_of(9), 1, 3, 1, max_wait_ms=0)).high_watermark == -1
    assert follower.id == 2


def test_logs_that_part_are_cut_where_they_part(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    leader.append("a")
    quorum.deliver()
    leader.append("lost 1")
    leader.append("lost 2", "lost 3")
    quorum.kill(leader)
    quorum.settle(400)
    quorum.leader.append("b")
    quorum.deliver()
    quorum.revive(leader)
    quorum.settle(200)
    assert [cut.offset for cut in leader.did(Truncate)] == [4]
    assert leader.values == follower.values == other.values == ["a", "b"]
    assert leader.committed == ["a", "b"]


def test_a_follower_is_never_cut_below_its_high_watermark(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    leader.append("a")
    quorum.deliver()
    follower.time_out()
    follower.core.become_follower(1, leader.id, leader.core.endpoints)
    follower.forget().tick()
    (parcel,) = [p for p in quorum.parcels if p.source == follower.id and isinstance(p.content, FetchRequest)]
    mad = FetchResponse(ErrorCode.NONE, 1, leader.id, diverging=OffsetAndEpoch(2, 1))
    follower.step(Answered(parcel.correlation_id, mad))
    assert follower.did(Truncate) == []
    assert follower.did(Complaint)
    assert follower.values == ["a"]


@pytest.mark.parametrize(
    "batch", [BatchInfo(9, 9, 1), BatchInfo(3, 3, 2), BatchInfo(3, 3, 0), BatchInfo(3, 2, 1), BatchInfo(2, 2, 1)]
)
def test_batches_that_do_not_follow_are_not_taken(quorum: Quorum, batch: BatchInfo) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    follower.restart()
    (parcel,) = [p for p in quorum.parcels if p.source == follower.id]
    mad = FetchResponse(ErrorCode.NONE, 1, leader.id, high_watermark=3, batches=(batch,), records=[None])
    follower.forget().step(Answered(parcel.correlation_id, mad))
    assert follower.did(AppendFetched) == []
    assert follower.did(Complaint)
    assert follower.core.log.end_offset == 3


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (fetch(key_of(2), 0, 0, 0), ErrorCode.FENCED_LEADER_EPOCH),
        (fetch(key_of(2), 2, 3, 1), ErrorCode.UNKNOWN_LEADER_EPOCH),
        (fetch(key_of(2), 1, -1, 0), ErrorCode.INVALID_REQUEST),
        (fetch(key_of(2), 1, 0, -1), ErrorCode.INVALID_REQUEST),
        (fetch(key_of(2), 1, 0, 2), ErrorCode.INVALID_REQUEST),
        (fetch(key_of(2), -1, 0, 0), ErrorCode.INVALID_REQUEST),
        (fetch(key_of(2), 1, 0, 0, max_wait_ms=-1), ErrorCode.INVALID_REQUEST),
        (fetch(key_of(1), 1, 3, 1), ErrorCode.INVALID_REQUEST),
    ],
)
def test_fetches_that_are_refused(quorum: Quorum, request_: FetchRequest, error: ErrorCode) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    response = leader.receive(request_)
    assert (response.error, response.epoch, response.leader_id) == (error, 1, 1)
    assert response.endpoints == leader.core.endpoints


def test_a_follower_names_the_leader_to_who_asks_it(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    response = follower.receive(fetch(key_of(9), 1, 0, 0))
    assert (response.error, response.leader_id) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, 1)
    assert response.endpoints == leader.core.endpoints


def test_a_fetch_waits_for_something_new(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    assert leader.receive(fetch(follower.key, 1, 3, 1, high_watermark=3)) is None
    leader.append("a")
    leader.assert_sent(FetchResponse, batches=(BatchInfo(3, 3, 1),))


def test_a_fetch_waits_no_longer_than_it_wants_to(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    assert leader.receive(fetch(follower.key, 1, 3, 1, max_wait_ms=100)) is None
    quorum.advance(100)
    leader.assert_sent(FetchResponse, error=ErrorCode.NONE, batches=())


def test_a_fetch_is_answered_early_for_a_new_high_watermark(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    assert leader.receive(fetch(follower.key, 1, 3, 1, high_watermark=2)).high_watermark == 3
    assert leader.receive(fetch(follower.key, 1, 3, 1)) is None  # an older version says nothing of it


def test_a_replica_that_asks_again_gets_its_earlier_answer_first(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    quorum.parcels.clear()
    assert len(leader.as_a(Leader).parked) == 2
    assert leader.receive(fetch(follower.key, 1, 3, 1, high_watermark=3)) is None
    assert len(leader.as_a(Leader).parked) == 2
    (parcel,) = quorum.parcels
    assert (parcel.source, parcel.target) == (leader.id, follower.id)


def test_waiting_fetches_are_let_go_when_the_leader_is_none_any_more(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    leader.receive(fetch(follower.key, 1, 3, 1))
    leader.forget().core.become_unattached(5)
    leader.tick()
    leader.assert_sent(FetchResponse, error=ErrorCode.NOT_LEADER_OR_FOLLOWER, epoch=5, leader_id=None)


def test_a_stranger_with_a_voters_id_does_not_count(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    leader.append("a")
    quorum.parcels.clear()
    for node_id in (2, 3):
        leader.receive(fetch(ReplicaKey(node_id, b"another directory"[:16]), 1, 4, 1))
    assert leader.committed == []


def test_a_consumer_like_fetch_is_nobodys_progress(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    leader.receive(fetch(ReplicaKey(-1), 1, 3, 1, max_wait_ms=0))
    assert leader.as_a(Leader).observers == {}


def test_a_thousand_observers_are_remembered_and_no_more(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    for number in range(1_100):
        leader.receive(fetch(ReplicaKey(1_000 + number), 1, 3, 1, max_wait_ms=0))
    assert len(leader.as_a(Leader).observers) == 1_000
    leader.as_a(Leader).check_quorum_deadline += 300_000
    quorum.now += 300_000
    leader.receive(fetch(ReplicaKey(7), 1, 3, 1, max_wait_ms=0))
    assert list(leader.as_a(Leader).observers) == [ReplicaKey(7)]


def test_the_high_watermark_never_falls(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    leader.append("a")
    quorum.deliver()
    leader.forget()
    for node in (follower, other):
        leader.receive(fetch(node.key, 1, 3, 1, max_wait_ms=0))  # their disks were replaced by older copies
    assert leader.core.high_watermark == 4
    assert leader.did(HighWatermark) == []


def _progress(leader: Node, node: Node) -> float:
    return leader.as_a(Leader).voters[node.id].last_caught_up


def test_the_leader_knows_when_a_replica_was_caught_up(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    quorum.now += 100
    leader.append("a")
    leader.receive(fetch(follower.key, 1, 3, 1, max_wait_ms=0))
    before = _progress(leader, follower)
    quorum.now += 100
    leader.append("b")
    leader.receive(fetch(follower.key, 1, 4, 1, max_wait_ms=0))  # as far as the log went at its last fetch
    assert _progress(leader, follower) == before + 100
    leader.receive(fetch(follower.key, 1, 5, 1, max_wait_ms=0))
    assert _progress(leader, follower) == quorum.now


def test_a_follower_takes_no_high_watermark_beyond_its_log(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    follower.restart()
    (parcel,) = [p for p in quorum.parcels if p.source == follower.id]
    follower.step(Answered(parcel.correlation_id, FetchResponse(ErrorCode.NONE, 1, leader.id, high_watermark=99)))
    assert follower.core.high_watermark == 3
    assert follower.is_a(Follower)
